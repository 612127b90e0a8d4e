"""Files that block, explode, claim too much, or lead elsewhere: each gets one error."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from scipy.io import savemat

import dpl_jax
from dpl_jax.clip.config import from_hugging_face
from dpl_jax.clip.model import load_clip
from dpl_jax.clip.weights import WEIGHTS
from dpl_jax.config import get_config
from dpl_jax.data.coop.layouts import read_coop
from dpl_jax.data.coop.matlab import read_row
from dpl_jax.data.folder import read_folder
from dpl_jax.data.images import read_image
from dpl_jax.data.split import Item
from dpl_jax.data.tfds_source import _check_features
from dpl_jax.errors import (
    ConfigError,
    DataError,
    RunFolderError,
    UnreadableImageError,
    WeightsError,
)
from dpl_jax.files.json import parse_json, read_json, write_json
from dpl_jax.prompts.lengths_file import read_lengths
from dpl_jax.report.contents import read_contents
from dpl_jax.runs.links import refuse_links
from dpl_jax.runs.lock import lock_folder
from dpl_jax.runs.predictions import load_predictions
from dpl_jax.studies.aggregate.records import NoResultsError, read_records
from tests.support.small_clip import random_tensors, small_config, write_clip

PACKAGE = Path(dpl_jax.__file__).parent
RUNS_CODE = r"\bpickle\.|import pickle|allow_pickle=True|\beval\(|\bexec\(|yaml\.load|torch\.load"


def test_nothing_in_the_package_can_run_code_from_a_file():
    """A config file is Python by design: exec_module in config_files alone."""
    for path in PACKAGE.rglob("*.py"):
        assert not re.search(RUNS_CODE, path.read_text(encoding="utf-8")), path


def read(path: Path) -> PIL.Image.Image:
    return read_image(Item(path, 0, "", path.name))


def test_a_named_pipe_or_a_device_in_an_image_folder_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "circle.jpg").symlink_to(tmp_path / "circle.jpg")
    for name in ("pipe", "zero", "circle"):
        with pytest.raises(UnreadableImageError, match=rf"{name}\.jpg"):
            read(tmp_path / f"{name}.jpg")


def test_a_folder_with_circles_and_odd_names_is_listed(tmp_path):
    for name in ("ant", "b\nee", "c\x1b[0m"):
        (tmp_path / name).mkdir()
        for number in range(4):
            file = tmp_path / name / os.fsdecode(b"%d\xff.png" % number)
            PIL.Image.new("RGB", (4, 4)).save(file)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    dataset = read_folder(str(tmp_path))
    assert set(dataset.classnames) == {"ant", "b\nee", "c\x1b[0m"}
    for names in (list(dataset.classnames), [item.name for item in dataset.train]):
        write_json(tmp_path / "x.json", names)
        assert read_json(tmp_path / "x.json") == names


@pytest.mark.parametrize("kind", ["EPS", "PDF", "ICO"])
def test_no_other_decoders_than_those_of_photos_are_tried(tmp_path, kind):
    PIL.Image.new("RGB", (16, 16)).save(tmp_path / "x.jpg", kind)
    with pytest.raises(UnreadableImageError, match="not an image"):
        read(tmp_path / "x.jpg")


def bomb_png(width: int, height: int, bits: int, rows: int) -> bytes:
    """A small PNG file of many black pixels, of which it has the first rows."""
    packed = zlib.compressobj(9)
    data = b"".join(packed.compress(bytes(1 + width * bits // 8)) for _ in range(rows))
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data + packed.flush()), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_sixteen_bits_are_scaled_in_little_memory(tmp_path):
    """Of 4000 x 4000 pixels: the image in Pillow, ours, and no copy of 8 bytes a pixel."""
    (tmp_path / "x.png").write_bytes(bomb_png(4000, 4000, 16, rows=4000))
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from dpl_jax.data.images import read_image; from dpl_jax.data.split import Item\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "read_image(Item(Path(sys.argv[1]), 0, '', ''))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "x.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 16e6 * (4 + 4 + 1 + 4 + 4)


def test_more_pixels_than_the_limit_are_not_decoded(tmp_path):
    (tmp_path / "x.png").write_bytes(bomb_png(60000, 60000, 8, rows=1))
    with pytest.raises(UnreadableImageError, match="than the limit"):
        read(tmp_path / "x.png")


def npz(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, contents in members:
            archive.writestr(name, contents)
    return file.getvalue()


def npy(shape: str, dtype: str = "<f4", contents: bytes = b"") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(10 + len(text) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + contents


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (npz(("labels.npy", npy("(10**6,)"))), "damaged header"),
        (npz(("labels.npy", npy("(1000000000000,)"))), "the shape"),
        (npz(("labels.npy", npy("(3,)", "|O", bytes(24)))), "no pickle is read"),
        (npz(("x.npy", bytes(10**7)), compression=zipfile.ZIP_DEFLATED), "compressed"),
        (npz(*((f"{n}.npy", b"") for n in range(101))), "too many"),
        (npz(("x.npy", npy("(1,)", contents=bytes(4)))) + b"tail", "cut off"),
    ],
)
def test_an_archive_that_claims_too_much_is_refused_from_its_header(tmp_path, contents, message):
    (tmp_path / "test.npz").write_bytes(contents)
    with pytest.raises(RunFolderError, match=message):
        load_predictions(tmp_path / "test.npz")


def test_a_compressed_matlab_file_that_explodes_is_refused(tmp_path):
    file = io.BytesIO()
    savemat(file, {"labels": np.ones((1, 3))})
    packed = zlib.compress(bytes(300 << 20), 9)
    element = struct.pack("<II", 15, len(packed)) + packed
    (tmp_path / "imagelabels.mat").write_bytes(file.getvalue()[:128] + element)
    with pytest.raises(DataError, match="256 MiB when decompressed"):
        read_row(tmp_path / "imagelabels.mat", "labels")


def test_json_of_too_many_values_or_too_large_numbers_is_refused():
    with pytest.raises(ValueError, match="more than 12000000 values"):
        parse_json(b"[" + b"[]," * 6_000_001 + b"[]]")
    with pytest.raises(ValueError, match="too large for a number"):
        parse_json('{"accuracy": 1e999}')


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd"])
def test_an_annotation_list_cannot_lead_out_of_the_image_folder(tmp_path, name):
    folder = tmp_path / "oxford_pets"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    lines = "".join(f"{name}_{n} 1 1 1\n" for n in range(5))
    for split in ("trainval", "test"):
        (folder / "annotations" / f"{split}.txt").write_text(lines)
    with pytest.raises(DataError, match="outside the image folder"):
        read_coop("oxford_pets", str(tmp_path))


def test_features_of_tfds_cannot_have_a_module_imported(tmp_path):
    inner = {"pythonClassName": "antigravity.Feature"}
    outer = {"pythonClassName": "tensorflow_datasets.core.features.FeaturesDict", "features": inner}
    (tmp_path / "features.json").write_text(json.dumps(outer))
    with pytest.raises(DataError, match="antigravity"):
        _check_features(tmp_path / "features.json")


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 10**12},
        {"num_attention_heads": 0},
        {"num_hidden_layers": True},
        {"layer_norm_eps": -1.0},
        {"vocab_size": "512"},
        {"intermediate_size": None},
    ],
)
def test_absurd_sizes_of_a_clip_are_refused(change):
    with pytest.raises(WeightsError, match=next(iter(change))):
        from_hugging_face(small_config(text=change))


def test_a_safetensors_header_that_claims_too_much_is_not_read(tmp_path):
    sizes = small_config()
    write_clip(tmp_path, sizes, random_tensors(sizes))
    (tmp_path / WEIGHTS).write_bytes(struct.pack("<Q", 64 << 20) + b"{}")
    with pytest.raises(WeightsError, match="a header of"):
        load_clip(tmp_path)


def test_ids_that_the_text_tower_does_not_have_are_refused(tmp_path):
    sizes = small_config()
    write_clip(tmp_path, sizes, random_tensors(sizes))
    words = json.loads((tmp_path / "vocab.json").read_text())
    beyond = {word: 900 if word == "a</w>" else number for word, number in words.items()}
    (tmp_path / "vocab.json").write_text(json.dumps(beyond))
    with pytest.raises(WeightsError, match=r"ids up to 900.*vocab_size"):
        load_clip(tmp_path).tokenize(["a photo"])


def test_nothing_is_written_through_links_out_of_a_run(tmp_path):
    outside, run = tmp_path / "outside", tmp_path / "run"
    outside.mkdir()
    run.mkdir()
    (run / "checkpoints").mkdir()
    (run / "inside").symlink_to(run / "checkpoints")
    refuse_links(run)
    for name in ("plots", "checkpoints/1"):
        (run / name).symlink_to(outside)
        with pytest.raises(RunFolderError, match="leads out of the run folder"):
            refuse_links(run)
        (run / name).unlink()


def test_a_lock_that_is_a_link_or_a_pipe_leaves_the_other_file_alone(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises((OSError, RunFolderError)):
        lock_folder(tmp_path)
    (tmp_path / "lock").unlink()
    os.mkfifo(tmp_path / "lock")
    with pytest.raises((OSError, RunFolderError)):
        lock_folder(tmp_path)
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_pipe_in_the_place_of_a_config_is_no_run(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(NoResultsError):
        read_records(tmp_path)


def test_a_damaged_matlab_file_does_not_end_the_process(tmp_path):
    """SciPy's compiled reader read beyond its memory for some of these."""
    file = io.BytesIO()
    savemat(file, {"labels": np.ones((1, 9)), "names": np.array([["ant", "bee"]], object)})
    path = tmp_path / "labels.mat"
    for place in range(128, len(file.getvalue())):
        changed = bytearray(file.getvalue())
        changed[place] ^= 0xFF
        path.write_bytes(changed)
        with contextlib.suppress(DataError):
            assert isinstance(read_row(path, "labels"), list)
    path.write_bytes(file.getvalue())
    assert (read_row(path, "labels"), read_row(path, "names")) == ([1.0] * 9, ["ant", "bee"])


def test_a_line_of_three_words_in_a_list_of_classes_is_named(tmp_path):
    lists = tmp_path / "ucf101" / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (tmp_path / "ucf101" / "UCF-101-midframes").mkdir()
    (lists / "classInd.txt").write_text("1 Apply Eye\n")
    with pytest.raises(DataError, match=r"classInd\.txt, line 1"):
        read_coop("ucf101", str(tmp_path))


@pytest.mark.parametrize("image", [[[1], 2, 3], [10**12, 0, 0], [True, 0, 0], "123"])
def test_lengths_that_are_none_or_take_all_memory_are_refused(tmp_path, image):
    (tmp_path / "x.json").write_text(json.dumps({"image": image, "text": [0, 0]}))
    with pytest.raises(ConfigError, match="3 whole numbers"):
        read_lengths(tmp_path / "x.json", from_hugging_face(small_config()))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"a.b": 1}, "cannot be"), ({"seed": "one"}, "seed is 'one'"), ({"data": {}}, r"data\.\w+")],
)
def test_a_strangers_config_has_settings_of_the_right_types(tmp_path, change, message):
    config = json.loads(json.dumps(get_config().to_dict())) | change
    (tmp_path / "config.json").write_text(json.dumps({"kind": "train", "config": config}))
    with pytest.raises(RunFolderError, match=message):
        read_contents(tmp_path)


def test_a_run_of_no_kind_has_no_report(tmp_path):
    config = json.loads(json.dumps(get_config().to_dict()))
    (tmp_path / "config.json").write_text(json.dumps({"kind": [], "config": config}))
    with pytest.raises(RunFolderError, match="kind"):
        read_contents(tmp_path)
