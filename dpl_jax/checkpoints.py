"""Checkpoints of a run: saved in the background, verified when they are read. All Orbax is here.

A checkpoint is an Orbax folder ``checkpoints/STEP``. Its metadata holds a manifest with the type,
shape and SHA-256 of every array, because Orbax does not notice a flipped byte in an array.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from dpl_jax.errors import CheckpointError
from dpl_jax.json_files import to_json

LOG = logging.getLogger(__name__)

# A run's state is a few megabytes; a folder that claims more is no checkpoint of dpl_jax.
MAX_BYTES = 16 << 30


class Restored(NamedTuple):
    """What a checkpoint holds."""

    step: int
    tree: Any
    metadata: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, the newest ``keep`` of them. Use it as a context manager."""

    def __init__(self, folder: str | os.PathLike[str], keep: int = 2) -> None:
        """Opens (and creates) the folder, removing what an interrupted save has left.

        Raises:
          CheckpointError: when the folder cannot be written.
        """
        self.folder = Path(folder).resolve()
        self._pending: tuple[int, ocp.AsyncResponse[bool]] | None = None
        self._saved: set[int] = set()
        try:
            self._orbax = ocp.training.Checkpointer(
                self.folder,
                preservation_policy=ocp.training.preservation_policies.LatestN(keep),
                cleanup_tmp_directories=True,
                lightweight_initialize=True,
            )
        except OSError as error:
            raise CheckpointError(
                f"The checkpoint folder {self.folder} cannot be written ({error}). "
                "Make it writable, or choose another folder with --workdir."
            ) from error

    def save(self, step: int, tree: Any, metadata: Mapping[str, Any]) -> None:
        """Starts saving ``tree`` (of arrays) and ``metadata`` (JSON values) in the background.

        The arrays are copied before this returns, so they may be donated at once. A step that
        this object has saved or restored already is not saved again.

        Raises:
          CheckpointError: when this save, or an earlier one in the background, failed.
        """
        self.wait()
        if step in self._saved:
            return
        arrays = _to_host(tree)
        manifest = _manifest(step, arrays, to_json(metadata))
        filled = {name: array for name, array in arrays.items() if array.size}
        try:
            response = self._orbax.save_async(
                step, _nest(filled), force=True, custom_metadata={"dpl_jax": manifest}
            )
        except Exception as error:
            raise self._save_error(step, error) from error
        if response is not None:
            self._pending = (step, response)

    def restore_latest(self, target: Any) -> Restored | None:
        """Restores the newest good checkpoint into the structure and shardings of ``target``.

        Damaged ones are skipped with a warning and renamed to ``STEP.damaged``.

        Args:
          target: a tree of jax.Array, jax.ShapeDtypeStruct or np.ndarray.

        Returns:
          None when the folder has no checkpoint.

        Raises:
          CheckpointError: when none is good, or when the newest good one does not fit ``target``.
        """
        self.wait()
        found = _newest_good(self.folder)
        if found is None:
            return None
        step, arrays, metadata = found
        tree = _fit(arrays, target, self.folder / str(step))
        self._set_aside(newer_than=step)
        self._saved.add(step)
        return Restored(step, tree, metadata)

    def wait(self) -> None:
        """Waits until the save in the background, if any, is on disk.

        Raises:
          CheckpointError: when it failed; the checkpoints before it are untouched.
        """
        if self._pending is None:
            return
        (step, response), self._pending = self._pending, None
        try:
            response.result()
        except Exception as error:
            raise self._save_error(step, error) from error
        self._saved.add(step)

    def close(self) -> None:
        """Waits for the save in the background and ends Orbax's threads.

        Raises:
          CheckpointError: as :meth:`wait`.
        """
        try:
            self.wait()
        finally:
            self._orbax.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _set_aside(self, newer_than: int) -> None:
        damaged = [step for step in _steps(self.folder) if step > newer_than]
        for step in damaged if jax.process_index() == 0 else []:
            (self.folder / str(step)).rename(self.folder / f"{step}.damaged")
        if damaged:
            self._orbax.reload()

    def _save_error(self, step: int, error: Exception) -> CheckpointError:
        whole = [other for other in _steps(self.folder) if other != step]
        kept = f"That of step {whole[-1]} is whole" if whole else "There is no earlier one"
        return CheckpointError(
            f"The checkpoint of step {step} could not be saved to {self.folder} ({error}). {kept}. "
            "Make room or make the folder writable, then start the same command again."
        )


def load(path: str | os.PathLike[str]) -> Restored:
    """Reads the newest good checkpoint as nested dicts of NumPy arrays; it writes nothing.

    Args:
      path: a run folder, its ``checkpoints`` folder, or one checkpoint.

    Raises:
      CheckpointError: when there is no good checkpoint.
    """
    step, arrays, metadata = _find(path)
    return Restored(step, _nest(arrays), metadata)


def restore(path: str | os.PathLike[str], target: Any) -> Restored:
    """As :func:`load`, into the structure and shardings of ``target``.

    Raises:
      CheckpointError: when there is no good checkpoint, or it does not fit ``target``.
    """
    step, arrays, metadata = _find(path)
    return Restored(step, _fit(arrays, target, Path(path)), metadata)


def _find(path: str | os.PathLike[str]) -> tuple[int, dict[str, np.ndarray], dict[str, Any]]:
    folder = Path(path).resolve()
    if folder.name.isdecimal() and folder.is_dir():
        try:
            return _read(folder)
        except Exception as error:
            raise CheckpointError(f"The checkpoint {folder} is damaged ({error}).") from error
    folder = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    found = _newest_good(folder)
    if found is None:
        raise CheckpointError(f"There is no checkpoint in {folder}. Run the search or train first.")
    return found


def _newest_good(
    folder: Path,
) -> tuple[int, dict[str, np.ndarray], dict[str, Any]] | None:
    reasons = []
    for step in reversed(_steps(folder)):
        try:
            return _read(folder / str(step))
        except Exception as error:  # damage shows up as nearly any exception of the readers
            reasons.append(f"step {step}: {error}")
            LOG.warning("The checkpoint %s is damaged and skipped (%s).", folder / str(step), error)
    if not reasons:
        return None
    raise CheckpointError(
        f"No checkpoint in {folder} is good ({'; '.join(reasons)}). "
        "Start again in another folder with --workdir."
    )


def _read(path: Path) -> tuple[int, dict[str, np.ndarray], dict[str, Any]]:
    """Reads and verifies one checkpoint.

    Raises:
      ValueError (or whatever Orbax raises): when anything in it is damaged.
    """
    custom = ocp.metadata(path).custom_metadata
    manifest = custom.get("dpl_jax") if isinstance(custom, dict) else None
    if not isinstance(manifest, dict) or manifest.pop("sha256", None) != _digest(manifest):
        raise ValueError("its manifest is damaged or missing")
    if manifest["step"] != int(path.name):
        raise ValueError(f"it is the checkpoint of step {manifest['step']}, renamed")
    wanted = {
        name: np.zeros(leaf["shape"], leaf["dtype"]) for name, leaf in manifest["leaves"].items()
    }
    filled = {name: leaf for name, leaf in wanted.items() if leaf.size}
    loaded = ocp.load(path, _nest(filled)) if filled else {}
    arrays = wanted | _flatten(loaded)
    for name, leaf in manifest["leaves"].items():
        if _leaf_record(arrays[name]) != leaf:
            raise ValueError(f"the array {name} does not have the checksum it was saved with")
    return manifest["step"], arrays, manifest["metadata"]


def _fit(arrays: Mapping[str, np.ndarray], target: Any, path: Path) -> Any:
    """Puts named arrays into ``target``'s structure, types and shardings."""
    leaves, structure = _named_leaves(target)
    problems = [f"{name} is missing" for name in leaves if name not in arrays]
    problems += [f"{name} is not part of this run" for name in arrays if name not in leaves]
    problems += [
        f"{name} is {_describe(arrays[name])}, this run needs {_describe(leaf)}"
        for name, leaf in leaves.items()
        if name in arrays and _describe(arrays[name]) != _describe(leaf)
    ]
    if problems:
        listed = "\n  ".join(problems[:10] + ["..."] * (len(problems) > 10))
        raise CheckpointError(
            f"The checkpoint {path} does not fit this run:\n  {listed}\n"
            "Resume with the config and weights it was made with, "
            "or choose another folder with --workdir."
        )
    return structure.unflatten([_place(arrays[name], leaf) for name, leaf in leaves.items()])


def _place(array: np.ndarray, target: Any) -> Any:
    if isinstance(target, np.ndarray):
        return array
    sharding = target.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def _to_host(tree: Any) -> dict[str, np.ndarray]:
    """Copies every leaf to the host, whole also where several hosts share an array."""
    leaves, _ = _named_leaves(tree)
    gathered = {
        name: multihost_utils.process_allgather(leaf, tiled=True) if _is_remote(leaf) else leaf
        for name, leaf in leaves.items()
    }
    # On the CPU device_get gives a view of the device's buffer, which the next step is donated.
    return {name: np.array(leaf) for name, leaf in jax.device_get(gathered).items()}


def _is_remote(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and not (
        leaf.is_fully_addressable or leaf.is_fully_replicated
    )


def _named_leaves(tree: Any) -> tuple[dict[str, Any], jax.tree_util.PyTreeDef]:
    pairs, structure = jax.tree_util.tree_flatten_with_path(tree)
    leaves = {}
    for path, leaf in pairs:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name in leaves:
            raise ValueError(f"Two leaves of the tree are both named {name}.")
        if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct | np.ndarray):
            raise ValueError(
                f"{name} is a {type(leaf).__name__}, not an array; put it into the metadata."
            )
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise ValueError(f"{name} is a typed PRNG key; give its jax.random.key_data.")
        leaves[name] = leaf
    return leaves, structure


def _nest(leaves: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return tree


def _flatten(tree: Any) -> dict[str, np.ndarray]:
    return {name: np.asarray(leaf) for name, leaf in _named_leaves(tree)[0].items()}


def _manifest(step: int, arrays: Mapping[str, np.ndarray], metadata: Any) -> dict[str, Any]:
    leaves = {name: _leaf_record(array) for name, array in arrays.items()}
    manifest = {"step": step, "metadata": metadata, "leaves": leaves}
    return manifest | {"sha256": _digest(manifest)}


def _leaf_record(array: np.ndarray) -> dict[str, Any]:
    digest = hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data).hexdigest()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": digest}


def _digest(manifest: Mapping[str, Any]) -> str:
    text = json.dumps(manifest, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _describe(leaf: Any) -> str:
    return f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"


def _steps(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


class _QuietOrbax(logging.Filter):
    """Drops Orbax's notices (dozens a save) from the absl log, never its errors."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR or "orbax" not in record.pathname


logging.getLogger("absl").addFilter(_QuietOrbax())
