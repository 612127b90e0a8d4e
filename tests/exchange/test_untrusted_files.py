"""Files from elsewhere: damaged, hostile, or of another model; each gets one clear error."""

from __future__ import annotations

import io
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from dpl_jax import load_clip
from dpl_jax.errors import ConfigError
from dpl_jax.exchange.alphas import read_alphas
from dpl_jax.exchange.state_dict import read_prompts
from tests.exchange.conftest import GOLDEN, stage2_tensors, supernet_tensors

CTX = "prompt_learner.ctx_img_lst"


class Bomb:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.fixture(scope="module")
def sizes():
    return load_clip(GOLDEN).sizes


def npy(array: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def with_shape(shape: str) -> bytes:
    """A file whose header claims a shape, with the numbers of (2, 3)."""
    return npy(np.ones((2, 3), np.float32)).replace(
        b"(2, 3), }" + b" " * len(shape), (shape + ", }").encode() + b" " * 6
    )


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"\x93NUMPY",
        npy(np.ones((2, 3), np.float32))[:-1],
        with_shape("(2, 4)"),
        with_shape("(999, 999999999999)"),
        with_shape("(-2, 3)"),
        with_shape("(2, " + "(" * 50),
        npy(np.ones((2, 3), np.int32)),
        npy(np.ones(6, np.float32)),
        npy(np.ones((2, 1), np.float32)),
        npy(np.ones((0, 3), np.float32)),
        npy(np.full((2, 3), np.nan, np.float32)),
        npy(np.full((2, 3), -np.inf, np.float32)),
        b"PK\x03\x04 an archive",
    ],
)
def test_alphas_that_are_none_are_refused_with_the_files_name(contents, tmp_path):
    for name in ("img", "txt"):
        (tmp_path / f"alpha_e1_{name}.npy").write_bytes(contents)
    with pytest.raises(ConfigError, match=r"alpha_e1_txt\.npy"):
        read_alphas(tmp_path, 1)


def test_nothing_is_ever_unpickled(sizes, tmp_path):
    bomb = np.array([[Bomb(tmp_path / "went off")] * 3] * 2)
    for name in ("img", "txt"):
        (tmp_path / f"alpha_e1_{name}.npy").write_bytes(npy(bomb, allow_pickle=True))
    with pytest.raises(ConfigError, match="plain numbers"):
        read_alphas(tmp_path, 1)
    (tmp_path / "model.pth.tar-40").write_bytes(pickle.dumps(Bomb(tmp_path / "went off")))
    with pytest.raises(ConfigError, match=r"is a pickle.*docs/export\.md"):
        read_prompts(tmp_path / "model.pth.tar-40", sizes)
    assert not (tmp_path / "went off").exists()


def safetensors_header(shape: list[int]) -> bytes:
    header = {f"{CTX}.0": {"dtype": "F32", "shape": shape, "data_offsets": [0, 8]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(8)


@pytest.mark.parametrize(
    "contents",
    [b"", b"PK\x03\x04", struct.pack("<Q", 2**60) + b"{}", safetensors_header([10**9, 10**9])],
)
def test_a_damaged_state_dict_is_refused_before_anything_is_read(contents, sizes, tmp_path):
    (tmp_path / "prompts.safetensors").write_bytes(contents)
    with pytest.raises(ConfigError, match="no safetensors file"):
        read_prompts(tmp_path / "prompts.safetensors", sizes)


def change(name, tensor):
    """A change of the tensors of a second stage: one added or replaced, or (None) taken away."""

    def changed(golden):
        tensors = stage2_tensors(golden)
        tensors.pop(name, None)
        return tensors if tensor is None else tensors | {name: tensor}

    return changed


MAPLE = {"prompt_learner.ctx": np.ones((2, 64), np.float32)}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (change(f"{CTX}.2", None), rf"missing: {CTX}\.2"),
        (change(f"{CTX}.4", np.ones((1, 128), np.float32)), rf"unknown: {CTX}\.4"),
        (change(f"{CTX}.1", np.ones((1, 64), np.float32)), r"wrong shape.*\(1, 64\)"),
        (change(f"{CTX}.1", np.ones((128,), np.float32)), r"wrong shape.*\(128,\)"),
        (change(f"{CTX}.1", np.ones((1001, 128), np.float32)), r"wrong shape.*\(1001, 128\)"),
        (change(f"{CTX}.1", np.ones((1, 128), np.int32)), "holds I32"),
        (change(f"{CTX}.1", np.full((1, 128), np.inf, np.float32)), "not finite"),
        (change(f"{CTX}.0.0", np.ones((1, 128), np.float32)), "missing"),
        (lambda golden: MAPLE, r"no prompts of the released trainers.*prompt_learner\.ctx"),
        (
            lambda golden: supernet_tensors(golden) | {f"{CTX}.3.3": np.ones((3, 128), "f4")},
            r"wrong shape.*3\.3 \(3, 128\)",
        ),
        (
            lambda golden: {n: t for n, t in supernet_tensors(golden).items() if "img" in n},
            r"missing: prompt_learner\.ctx_txt_lst\.0\.0",
        ),
    ],
)
def test_prompts_that_do_not_fit_the_clip_are_named(tensors, message, golden, sizes, tmp_path):
    save_file(tensors(golden), tmp_path / "prompts.safetensors")
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        read_prompts(tmp_path / "prompts.safetensors", sizes)
