"""Naming, checksums and fitting of the arrays in a checkpoint, whatever stores them.

The manifest of a checkpoint names every array with its type, shape and SHA-256, and is itself
covered by one; so every flipped byte that matters is noticed when it is read.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dpl_jax.errors import CheckpointError
from dpl_jax.files.limits import CHECKPOINT_ZEROS_BYTES

Arrays = dict[str, np.ndarray]


def named_leaves(tree: Any) -> tuple[dict[str, Any], jax.tree_util.PyTreeDef]:
    """The leaves of a tree by name, such as ``opt/mu/image``, and the structure around them.

    Raises:
      ValueError: for a leaf that is no array of numbers.
    """
    pairs, structure = jax.tree_util.tree_flatten_with_path(tree)
    leaves: dict[str, Any] = {}
    for path, leaf in pairs:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct | np.ndarray):
            raise ValueError(
                f"{name} is a {type(leaf).__name__}, not an array; put it into the metadata."
            )
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise ValueError(f"{name} is a typed PRNG key; give its jax.random.key_data.")
        if not _storable(leaf.dtype):
            raise ValueError(f"{name} is of type {leaf.dtype}, not of numbers.")
        if name in leaves:
            raise ValueError(f"Two leaves are both named {name}; rename one.")
        leaves[name] = leaf
    return leaves, structure


def nest(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts from names with slashes."""
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return tree


def make_manifest(step: int, arrays: Arrays, metadata: Any) -> dict[str, Any]:
    """The manifest of a checkpoint, as JSON values.

    Raises:
      ValueError: when ``metadata`` holds a number that is not finite.
    """
    leaves = {name: _record(array) for name, array in arrays.items()}
    manifest = {"step": step, "metadata": metadata, "leaves": leaves}
    return manifest | {"sha256": _digest(manifest)}


def check_manifest(manifest: Any, step: int) -> dict[str, Any]:
    """Returns ``manifest`` if it is whole and that of ``step``.

    Raises:
      ValueError: when it is not.
    """
    if not isinstance(manifest, dict):
        raise ValueError("its manifest is missing")
    body = {key: value for key, value in manifest.items() if key != "sha256"}
    if manifest.get("sha256") != _digest(body):
        raise ValueError("its manifest is damaged")
    if manifest["step"] != step:
        raise ValueError(f"it is that of step {manifest['step']}, renamed")
    return manifest


def empty_arrays(manifest: Mapping[str, Any], stored: int) -> Arrays:
    """Arrays of the types and shapes in a manifest, to be read into.

    Args:
      manifest: of a checkpoint.
      stored: bytes that its arrays take on disk.

    Raises:
      ValueError: for a type that no checkpoint of dpl_jax has, or more numbers than are stored.
    """
    arrays: Arrays = {}
    total, most = 0, stored + CHECKPOINT_ZEROS_BYTES
    for name, record in manifest["leaves"].items():
        dtype, shape = np.dtype(record["dtype"]), tuple(record["shape"])
        total += math.prod(shape) * dtype.itemsize
        if not _storable(dtype) or total > most:
            raise ValueError(f"the array {name} ({dtype}{list(shape)}) is none of dpl_jax's")
        arrays[name] = np.zeros(shape, dtype)
    return arrays


def block_bytes(array: Any) -> int:
    """Bytes of the largest block that the description of a stored array (zarr 3) names."""
    item = np.dtype(array["data_type"]).itemsize
    grids = [array["chunk_grid"], *array["codecs"]]
    shapes = [grid.get("configuration", {}).get("chunk_shape", ()) for grid in grids]
    return max(math.prod(shape) for shape in shapes) * item


def check_arrays(manifest: Mapping[str, Any], arrays: Arrays) -> None:
    """Compares arrays with their checksums.

    Raises:
      ValueError: for the first that differs, naming it.
    """
    for name, record in manifest["leaves"].items():
        if _record(arrays[name]) != record:
            raise ValueError(f"the array {name} does not have the checksum that it was saved with")


def fit(arrays: Arrays, target: Any, source: Any) -> Any:
    """Puts named arrays into the structure and shardings of ``target``.

    Args:
      arrays: as read from a checkpoint.
      target: a tree of jax.Array, jax.ShapeDtypeStruct or np.ndarray.
      source: where the arrays come from, for the error message.

    Raises:
      CheckpointError: listing every array that is missing, left over, or of another shape or type.
    """
    leaves, structure = named_leaves(target)
    problems = [f"{name} is missing" for name in leaves if name not in arrays]
    problems += [f"{name} is not part of this run" for name in arrays if name not in leaves]
    problems += [
        f"{name} is {_describe(arrays[name])}, this run needs {_describe(leaf)}"
        for name, leaf in leaves.items()
        if name in arrays and _describe(arrays[name]) != _describe(leaf)
    ]
    if problems:
        listed = "\n  ".join(problems[:10] + [f"... {len(problems)} in all"] * (len(problems) > 10))
        raise CheckpointError(
            f"The checkpoint {source} does not fit this run:\n  {listed}\n"
            "Resume with the config and the weights that it was made with, "
            "or choose another folder with --workdir."
        )
    return structure.unflatten([_place(arrays[name], leaf) for name, leaf in leaves.items()])


def _place(array: np.ndarray, target: Any) -> Any:
    if isinstance(target, np.ndarray):
        return array
    # An uncommitted array may be combined with arrays on any devices; it has to stay so.
    if target.sharding is None or not getattr(target, "committed", True):
        return jax.device_put(array)
    return jax.make_array_from_callback(array.shape, target.sharding, lambda index: array[index])


def _storable(dtype: np.dtype) -> bool:
    return np.dtype(dtype).kind in "biufc" or dtype == jnp.bfloat16


def _record(array: np.ndarray) -> dict[str, Any]:
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": digest}


def _digest(manifest: Mapping[str, Any]) -> str:
    text = json.dumps(manifest, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _describe(leaf: Any) -> str:
    return f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
