"""Checkpoints of a run: saved in the background, verified when they are read. All Orbax is here.

A checkpoint is an Orbax folder ``checkpoints/STEP`` of nested dicts. Orbax does not notice a
flipped byte in an array, so a manifest with checksums lies in the checkpoint's metadata.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from dpl_jax.errors import CheckpointError
from dpl_jax.files.json import to_json
from dpl_jax.files.limits import CHECKPOINT_JSON_BYTES
from dpl_jax.runs.checkpoint_files import (
    STATE,
    check_files,
    check_store,
    check_tree,
    manifest_bytes,
    read_manifest,
)
from dpl_jax.runs.manifest import (
    Arrays,
    check_arrays,
    empty_arrays,
    fit,
    make_manifest,
    named_leaves,
    nest,
)
from dpl_jax.runtime.processes import is_first, is_multiprocess, only_first

LOG = logging.getLogger(__name__)

ORBAX_SOURCES = os.path.join("orbax", "checkpoint", "")
# Orbax writes every array twice for a moment (one file per process, then merged).
COPIES = 2
OVERHEAD_BYTES = 1 << 20


class Restored(NamedTuple):
    """What a checkpoint holds."""

    step: int
    tree: Any
    metadata: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, the newest ``keep`` of them. Use it as a context manager."""

    def __init__(self, folder: str | os.PathLike[str], keep: int = 2) -> None:
        """Opens (and creates) the folder, and removes what an interrupted save has left.

        Raises:
          CheckpointError: when the folder cannot be written.
        """
        self.folder, self._keep = Path(folder).resolve(), keep
        self._orbax: ocp.training.Checkpointer | None = None
        self._pending: tuple[int, ocp.AsyncResponse[bool]] | None = None
        self._saved: set[int] = set()
        if not is_first():
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            raise CheckpointError(
                f"The checkpoint folder {self.folder} cannot be written ({error.strerror}). "
                "Make it writable, or choose another folder with --workdir."
            ) from error
        self._remove_leftovers()

    def save(self, step: int, tree: Any, metadata: Mapping[str, Any]) -> None:
        """Starts saving ``tree`` (of arrays) and ``metadata`` (JSON values) in the background.

        Of several processes all have to call this, and to see the folder; Orbax shares the work.
        The arrays are copied before this returns, so they may be donated at once. A step that
        this object has saved or restored before is not saved again.

        Raises:
          CheckpointError: when this save, or an earlier one in the background, failed; the
            checkpoints before it are untouched.
        """
        self.wait()
        if step in self._saved:
            return
        arrays = _to_host(tree)
        manifest = make_manifest(step, arrays, to_json(metadata))
        # Orbax refuses empty arrays; the manifest is all that they need.
        filled = nest({name: array for name, array in arrays.items() if array.size})
        try:
            self._check_space(arrays)
            if manifest_bytes(manifest) > CHECKPOINT_JSON_BYTES:
                raise ValueError(f"its metadata take more than {CHECKPOINT_JSON_BYTES >> 20} MiB")
            response = self._checkpointer().save_async(
                step,
                filled,
                checkpointable_name=STATE,
                force=True,
                custom_metadata={"dpl_jax": manifest},
            )
        except Exception as error:
            raise self._give_up(step, error) from error
        if response is not None:
            self._pending = (step, response)
        if is_multiprocess():
            self.wait()  # what processes say to each other in the background gets in the way

    def restore_latest(self, target: Any) -> Restored | None:
        """Restores the newest good checkpoint into the structure and shardings of ``target``.

        Damaged ones are skipped with a warning and renamed to ``STEP.damaged``. Of several
        processes all have to call this, and to see the folder.

        Args:
          target: a tree of jax.Array, jax.ShapeDtypeStruct or np.ndarray.

        Returns:
          None when the folder has no checkpoint.

        Raises:
          CheckpointError: when none is good, or when the newest good one does not fit ``target``.
        """
        self.wait()
        stored = _newest_good(self.folder)
        step_of_first = only_first(lambda: None if stored is None else stored[0])
        if step_of_first != (None if stored is None else stored[0]):
            raise CheckpointError(
                f"This process does not see the same checkpoints in {self.folder} as process 0. "
                "All have to see the folder of the run."
            )
        if stored is None:
            return None
        step, arrays, metadata = stored
        tree = fit(arrays, target, self.folder / str(step))
        self._set_aside(newer_than=step)
        self._remove_old()
        self._saved = {step}
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
            raise self._give_up(step, error) from error
        self._saved.add(step)

    def close(self) -> None:
        """Waits for the save in the background and ends Orbax's threads.

        Raises:
          CheckpointError: as :meth:`wait`.
        """
        try:
            self.wait()
        finally:
            if self._orbax is not None:
                self._orbax.close()
                self._orbax = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except CheckpointError as failure:
            if error is None:
                raise
            LOG.warning("%s", failure)  # the error that ended the block matters more

    def _checkpointer(self) -> ocp.training.Checkpointer:
        """Orbax's writer, made at the first save: it reads the checkpoints that are there."""
        if self._orbax is None:
            context = ocp.Context()
            # With directories made in the background, a failure there blocks for minutes.
            context.asynchronous.create_directories_asynchronously = False
            # Trained numbers hardly shrink, and a flipped byte stays one number, found by its sum.
            context.array.saving.use_compression = False
            self._orbax = ocp.training.Checkpointer(
                self.folder,
                context=context,
                preservation_policy=ocp.training.preservation_policies.LatestN(self._keep),
            )
        return self._orbax

    def _check_space(self, arrays: Arrays) -> None:
        """A full disk found out beforehand costs nothing; found out by Orbax, threads remain."""
        needed = COPIES * sum(array.nbytes for array in arrays.values()) + OVERHEAD_BYTES
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise OSError(f"{needed >> 10} KiB needed, {free >> 10} KiB free on the disk")

    def _set_aside(self, newer_than: int) -> None:
        damaged = [step for step in _steps(self.folder) if step > newer_than]
        for step in damaged if is_first() else []:
            aside = self.folder / f"{step}.damaged"
            shutil.rmtree(aside, ignore_errors=True)
            (self.folder / str(step)).rename(aside)

    def _remove_old(self) -> None:
        """Ends the removal of old checkpoints, which a kill may have left half done."""
        for step in _steps(self.folder)[: -self._keep] if is_first() else []:
            shutil.rmtree(self.folder / str(step), ignore_errors=True)

    def _give_up(self, step: int, error: Exception) -> CheckpointError:
        """Ends Orbax after a failed save, which it would otherwise report again and again."""
        orbax, self._orbax = self._orbax, None
        if orbax is not None:
            with contextlib.suppress(Exception):
                orbax.close()
        kept = "Those before it are untouched"
        with contextlib.suppress(OSError):
            self._remove_leftovers()
            kept = (
                f"That of step {_steps(self.folder)[-1]} is whole" if _steps(self.folder) else kept
            )
        return CheckpointError(
            f"The checkpoint of step {step} could not be saved to {self.folder} ({_short(error)}). "
            f"{kept}. Make room or make the folder writable, then start the same command again."
        )

    def _remove_leftovers(self) -> None:
        """Removes the temporary folders of saves that never ended."""
        if not is_first():
            return
        for leftover in self.folder.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(leftover, ignore_errors=True)


def _alone() -> ocp.Context:
    """Orbax's settings for reading: each process for itself, as if it were the only one."""
    context = ocp.Context()
    if jax.process_count() > 1:
        process = jax.process_index()
        context.multiprocessing.primary_host = process
        context.multiprocessing.active_processes = {process}
        context.multiprocessing.barrier_sync_key_prefix = f"process_{process}"
    return context


def load(path: str | os.PathLike[str]) -> Restored:
    """Reads the newest good checkpoint as nested dicts of NumPy arrays; it writes nothing.

    Args:
      path: a run folder, its ``checkpoints`` folder, or one checkpoint.

    Raises:
      CheckpointError: when there is no good checkpoint.
    """
    step, arrays, metadata = _find(path)
    return Restored(step, nest(arrays), metadata)


def _find(path: str | os.PathLike[str]) -> tuple[int, Arrays, dict[str, Any]]:
    folder = Path(path).resolve()
    folder = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    if folder.name.isdecimal() and folder.is_dir():
        try:
            return _read(folder)
        except Exception as error:
            raise CheckpointError(
                f"The checkpoint {folder} is damaged ({_short(error)})."
            ) from error
    stored = _newest_good(folder)
    if stored is None:
        raise CheckpointError(
            f"There is no checkpoint in {folder}. Give the folder of a run that has saved one."
        )
    return stored


def _newest_good(folder: Path) -> tuple[int, Arrays, dict[str, Any]] | None:
    reasons = []
    for step in reversed(_steps(folder)):
        try:
            return _read(folder / str(step))
        except Exception as error:  # damage shows up as nearly any exception of the readers
            reasons.append(f"step {step}: {_short(error)}")
            LOG.warning(
                "Checkpoint %s is damaged: skipped (%s).", folder / str(step), _short(error)
            )
    if not reasons:
        return None
    raise CheckpointError(
        f"No checkpoint in {folder} is good ({'; '.join(reasons)}). "
        "Start again in another folder with --workdir."
    )


def _read(path: Path) -> tuple[int, Arrays, dict[str, Any]]:
    """Reads and verifies one checkpoint; raises whatever the damage leads to."""
    step = int(path.name)
    check_files(path)
    manifest = read_manifest(path, step)
    check_tree(path, manifest)
    stored = check_store(path)
    arrays = empty_arrays(manifest, stored)
    filled = {name: array for name, array in arrays.items() if array.size}
    if filled:
        with _alone():
            loaded, _ = named_leaves(ocp.load(path, nest(filled), checkpointable_name=STATE))
        arrays |= {name: np.asarray(leaf) for name, leaf in loaded.items()}
    check_arrays(manifest, arrays)
    return step, arrays, manifest["metadata"]


def _to_host(tree: Any) -> Arrays:
    """Copies every leaf to the host, whole also where several hosts share an array."""
    leaves, _ = named_leaves(tree)
    gathered = {
        name: multihost_utils.process_allgather(leaf, tiled=True) if _is_shared(leaf) else leaf
        for name, leaf in leaves.items()
    }
    # On the CPU device_get gives a view of a buffer that the next step is donated.
    return {name: np.array(leaf) for name, leaf in jax.device_get(gathered).items()}


def _is_shared(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and not (
        leaf.is_fully_addressable or leaf.is_fully_replicated
    )


def _steps(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


def _short(error: Exception) -> str:
    """An error's message without the store's specification, which fills pages."""
    text = str(error).split(" [tensorstore_spec")[0] or type(error).__name__
    return text if len(text) <= 300 else text[:150] + " ... " + text[-150:]


class _QuietOrbax(logging.Filter):
    """Drops Orbax's records from the absl log; its failures reach the caller as exceptions."""

    def filter(self, record: logging.LogRecord) -> bool:
        return ORBAX_SOURCES not in record.pathname


logging.getLogger("absl").addFilter(_QuietOrbax())
