"""Reads and writes CLIP weights in Hugging Face's safetensors layout; reads open_clip's too.

Frozen parameters are the nested dict that Linen makes of the two towers, layers stacked::

    {"image": {...}, "text": {...}, "logit_scale": ()}

Loading fails unless every stored tensor is used exactly once and every parameter is covered.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from numpy.typing import DTypeLike
from safetensors import SafetensorError
from safetensors.numpy import save_file

from dpl_jax.clip import open_clip
from dpl_jax.clip.config import ClipConfig
from dpl_jax.clip.open_clip import Source
from dpl_jax.clip.towers import image_tower, text_tower
from dpl_jax.errors import WeightsError, WeightsNotFoundError
from dpl_jax.files import limits
from dpl_jax.files.json import read_json
from dpl_jax.files.regular import open_regular
from dpl_jax.files.safetensors import open_tensors

Params = dict[str, Any]
WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
# Position numbers 0, 1, ..: buffers in old files, no parameters.
BUFFERS = frozenset(
    (
        "text_model.embeddings.position_ids",
        "vision_model.embeddings.position_ids",
        *open_clip.BUFFERS,
    )
)
FLOATS = ("F16", "BF16", "F32", "F64")
SHOWN = 1000  # names in a message


class Entry(NamedTuple):
    """Where a stored tensor goes: its path in the tree, its layer, and how its axes change."""

    path: tuple[str, ...]
    layer: int | None = None
    kind: str = "same"


@functools.lru_cache(maxsize=16)  # each tracing leaves entries in JAX's own caches
def abstract_params(sizes: ClipConfig) -> Params:
    """Shapes and dtypes of the frozen parameters, without computing them."""
    return jax.eval_shape(lambda: init_params(sizes, jax.random.key(0)))


def init_params(sizes: ClipConfig, key: jax.Array) -> Params:
    """Random parameters, as a start for pretraining and for tests.

    The logit scale starts at log(1 / 0.07) (Radford et al., 2021, section 2.5).
    """
    image_key, text_key = jax.random.split(key)
    side = sizes.vision.image_size
    image = image_tower(sizes).init(image_key, jnp.zeros((1, side, side, 3)))
    ids, end = jnp.zeros((1, 2), jnp.int32), jnp.zeros((1,), jnp.int32)
    text = text_tower(sizes).init(text_key, ids, end)
    scale = jnp.asarray(math.log(1 / 0.07), jnp.float32)
    return {"image": image["params"], "text": text["params"], "logit_scale": scale}


def load_params(folder: Path, sizes: ClipConfig) -> Params:
    """Loads the weights in ``folder`` as float32.

    Raises:
      WeightsNotFoundError: when there is no safetensors file.
      WeightsError: naming all that are missing, unknown, of a wrong shape or not finite.
    """
    entries = layout(sizes)
    expected = {path: leaf.shape for path, leaf in flatten_dict(abstract_params(sizes)).items()}
    leaves: dict[tuple[str, ...], Any] = {}
    wrong = []
    with _opened_tensors(folder) as stored:
        sources = _sources(folder, entries, stored)
        needed_names = {source.name for source in sources.values()}
        _check_names(folder, set(stored) - BUFFERS, needed_names)
        for name, (path, layer, kind) in entries.items():
            shape = expected[path] if layer is None else expected[path][1:]
            source = sources[name]
            found, needed = _stored_shape(source, stored), _to_stored_shape(shape, kind)
            if found != needed:
                wrong.append(f"{source.name}: {found}, expected {needed}")
                continue
            values = np.asarray(stored[source.name].get_tensor(source.name), np.float32)
            tensor = _to_flax(source.take(values), kind)
            if not np.isfinite(tensor).all():
                wrong.append(f"{source.name}: not finite")
            elif layer is None:
                leaves[path] = tensor
            else:
                leaves.setdefault(path, []).append(tensor)
    if wrong:
        raise WeightsError(
            f"{folder}: the weights are damaged, or config.json is not that of these weights:\n  "
            + "\n  ".join(wrong)
        )
    arrays = {k: np.stack(v) if isinstance(v, list) else v for k, v in leaves.items()}
    return jax.tree.map(jnp.asarray, unflatten_dict(arrays))


def save_params(
    folder: Path, params: Params, sizes: ClipConfig, dtype: DTypeLike = np.float32
) -> None:
    """Writes ``params`` as ``model.safetensors``; the inverse of :func:`load_params`."""
    leaves = flatten_dict(params)
    tensors = {}
    for name, (path, layer, kind) in layout(sizes).items():
        leaf = np.asarray(leaves[path], np.float32)
        stored = _to_stored(leaf if layer is None else leaf[layer], kind, sizes)
        tensors[name] = np.array(stored, dtype, order="C")
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def layout(sizes: ClipConfig) -> dict[str, Entry]:
    """For every tensor of a Hugging Face CLIPModel, the place of its values in our tree."""
    entries = {
        "logit_scale": Entry(("logit_scale",)),
        "text_projection.weight": Entry(("text", "projection", "kernel"), kind="dense"),
        "visual_projection.weight": Entry(("image", "projection", "kernel"), kind="dense"),
        **_embeddings(),
        **_norm("vision_model.pre_layrnorm", ("image", "pre_layernorm")),
        **_norm("vision_model.post_layernorm", ("image", "post_layernorm")),
        **_norm("text_model.final_layer_norm", ("text", "final_layer_norm")),
    }
    for tower, model in (("image", "vision_model"), ("text", "text_model")):
        for layer in range(sizes.layers[tower]):
            entries |= _block(f"{model}.encoder.layers.{layer}", tower, layer)
    return entries


def _embeddings() -> dict[str, Entry]:
    image, text = "vision_model.embeddings", "text_model.embeddings"
    return {
        f"{image}.class_embedding": Entry(("image", "class_embedding")),
        f"{image}.patch_embedding.weight": Entry(
            ("image", "patch_embedding", "kernel"), kind="patches"
        ),
        f"{image}.position_embedding.weight": Entry(("image", "position_embedding")),
        f"{text}.token_embedding.weight": Entry(("text", "token_embedding", "embedding")),
        f"{text}.position_embedding.weight": Entry(("text", "position_embedding")),
    }


def _block(prefix: str, tower: str, layer: int) -> dict[str, Entry]:
    path = (tower, "encoder", "layers")
    entries = {
        **_norm(f"{prefix}.layer_norm1", (*path, "layer_norm1"), layer),
        **_norm(f"{prefix}.layer_norm2", (*path, "layer_norm2"), layer),
        **_dense(f"{prefix}.mlp.fc1", (*path, "fc1"), layer),
        **_dense(f"{prefix}.mlp.fc2", (*path, "fc2"), layer),
    }
    for stored, ours in (("q", "query"), ("k", "key"), ("v", "value"), ("out", "out")):
        entries |= _dense(f"{prefix}.self_attn.{stored}_proj", (*path, "attention", ours), layer)
    return entries


def _norm(name: str, path: tuple[str, ...], layer: int | None = None) -> dict[str, Entry]:
    return {
        f"{name}.weight": Entry((*path, "scale"), layer),
        f"{name}.bias": Entry((*path, "bias"), layer),
    }


def _dense(name: str, path: tuple[str, ...], layer: int) -> dict[str, Entry]:
    return {
        f"{name}.weight": Entry((*path, "kernel"), layer, "dense"),
        f"{name}.bias": Entry((*path, "bias"), layer),
    }


def _to_flax(tensor: np.ndarray, kind: str) -> np.ndarray:
    if kind == "dense" and tensor.ndim == 2:
        return tensor.T  # (in, out)
    if kind == "patches" and tensor.ndim == 4:
        return tensor.transpose(2, 3, 1, 0).reshape(-1, tensor.shape[0])  # (p * p * 3, D)
    return tensor


def _to_stored(leaf: np.ndarray, kind: str, sizes: ClipConfig) -> np.ndarray:
    if kind == "dense":
        return leaf.T  # (out, in)
    if kind == "patches":
        patch = sizes.vision.patch_size
        return leaf.reshape(patch, patch, -1, leaf.shape[1]).transpose(3, 2, 0, 1)  # (D, 3, p, p)
    return leaf


def _to_stored_shape(shape: tuple[int, ...], kind: str) -> tuple[int, ...]:
    if kind == "dense":
        return shape[::-1]
    if kind == "patches":
        patch = math.isqrt(shape[0] // 3)
        return (shape[1], 3, patch, patch)
    return shape


def _check_names(folder: Path, stored: set[str], expected: set[str]) -> None:
    problems = [f"missing: {name}" for name in sorted(expected - stored)]
    problems += [f"unknown: {name}" for name in sorted(stored - expected)]
    if len(problems) > SHOWN:
        problems = [*problems[:SHOWN], f"... {len(problems)} in all"]
    if problems:
        raise WeightsError(
            f"{folder}: the weights do not fit the CLIP that config.json describes; is it the "
            "config.json of these weights?\n  " + "\n  ".join(problems)
        )


@contextlib.contextmanager
def _opened_tensors(folder: Path) -> Iterator[Mapping[str, Any]]:
    """The open file of each tensor by its name: one file, or the several that an index lists.

    Raises:
      WeightsNotFoundError: when there is none.
      WeightsError: when one cannot be read, also while the files are open.
    """
    try:
        with contextlib.ExitStack() as opened:
            tensors: dict[str, Any] = {}
            for path in weight_files(folder):
                file = opened.enter_context(open_tensors(path, "flax"))
                names = file.keys()
                if twice := sorted(tensors.keys() & names):
                    raise ValueError(f"{twice[0]} is in two files")
                tensors |= dict.fromkeys(names, file)
            yield tensors
    except WeightsError:
        raise
    except (SafetensorError, ValueError, OSError) as error:
        raise WeightsError(
            f"{folder}: the safetensors weights cannot be read ({error}); download them again."
        ) from error


def _sources(
    folder: Path, entries: Mapping[str, Entry], stored: Mapping[str, Any]
) -> dict[str, Source]:
    """Where each tensor of the layout lies in the files."""
    if open_clip.is_open_clip(folder):
        return open_clip.sources(entries.keys(), stored.keys())
    return {name: Source(name) for name in entries}


def _stored_shape(source: Source, stored: Mapping[str, Any]) -> tuple[int, ...] | str:
    """The shape by the header, or what the tensor holds instead of floats."""
    part = stored[source.name].get_slice(source.name)
    kind: str = part.get_dtype()
    return source.shape(tuple(part.get_shape())) if kind in FLOATS else f"of type {kind}"


@functools.lru_cache(maxsize=8)
def weights_sha256(folder: str) -> str:
    """SHA-256 (hexadecimal) of a CLIP's safetensors files, in the order of their names."""
    digest = hashlib.sha256()
    for path in weight_files(Path(folder)):
        with open_regular(path) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def check_sha256(folder: Path, sha256: str, source: str) -> None:
    """Checks that a CLIP's weights are those that are expected, before anything of them is read.

    Args:
      folder: where they lie.
      sha256: what :func:`weights_sha256` must give, in upper or lower case; "" for anything.
      source: the folder or hub id that was asked for.

    Raises:
      WeightsError: when they are others; it names both.
    """
    if sha256 and (found := weights_sha256(str(folder))) != sha256.lower():
        raise WeightsError(
            f"The weights of {source} are not those that are expected: their SHA-256 is {found}, "
            f"and clip.sha256 is {sha256!r:.100}. Files of another commit: pin the right one with "
            f"--config.clip.revision. Damaged or exchanged ones: download {folder} again."
        )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that a CLIP's weights lie in, by name.

    Raises:
      WeightsNotFoundError: when there are none.
      ValueError, OSError: for an index that is damaged.
    """
    if open_clip.is_open_clip(folder):
        return [open_clip.weight_file(folder)]
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if (folder / WEIGHTS_INDEX).exists():
        return _indexed_files(folder)
    raise WeightsNotFoundError(
        f"{folder} holds no {WEIGHTS} (files there: {_listing(folder)}). dpl_jax reads only "
        "safetensors, because other formats can run code; most hub repositories have them, some "
        "only on the revision refs/pr/1 or similar."
    )


def _indexed_files(folder: Path) -> list[Path]:
    """The files that the index names; they have to lie beside it."""
    index = read_json(folder / WEIGHTS_INDEX)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict):
        raise ValueError(f"{WEIGHTS_INDEX} has no weight_map")
    names = sorted({str(name) for name in places.values()})
    if len(names) > limits.SHARDS:
        raise ValueError(f"the index names {len(names)} files, more than {limits.SHARDS}")
    for name in names:
        if Path(name).name != name or not name.isprintable():
            raise ValueError(f"the index names {name!r:.100}, which is not a file of this folder")
    return [folder / name for name in names]


def _listing(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:20]) or "none"
