"""A run on disk: one folder, one config, one process at a time.

    RUN/config.json  metrics.jsonl  results.json  configuration.json  checkpoints/  tensorboard/

A folder that already holds ``config.json`` is resumed, with the same config only.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import logging
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from ml_collections import ConfigDict

from dpl_jax.config import flatten, get_config
from dpl_jax.data.templates import TEMPLATES
from dpl_jax.errors import RunFolderError, WriteError
from dpl_jax.files.json import read_json, remove_leftovers, to_json, write_json
from dpl_jax.runs.links import refuse_links
from dpl_jax.runs.lock import lock_folder
from dpl_jax.runs.more_epochs import check_extension, set_aside_results
from dpl_jax.runtime.processes import only_first
from dpl_jax.runtime.times import timestamp

LOG = logging.getLogger(__name__)

# Settings that change how a run is carried out, never its result; a name covers all below it.
HARMLESS = (
    "progress",
    "clip.sha256",
    "checkpoint",
    "data.cache_dir",
    "data.device_memory_mb",
    "data.workers",
    "devices",
    "evaluate",
    "memory",
    "report",
    "tensorboard",
    "wandb",
)
# Settings that runs of older versions do not have, and what those ran with.
NEW_FIELDS = {"data.labels": "", "clip.sha256": ""}
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "dpl_jax")


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The folder of a run, locked for this process until :meth:`close` (or the process's end)."""

    path: Path
    resumed: bool  # the folder held a config before, so there may be something to go on from
    lock: TextIO | None  # None in all but the first of several processes, which write nothing

    @property
    def writes(self) -> bool:
        """Whether this process writes the folder; of several, only the first does."""
        return self.lock is not None

    @property
    def root(self) -> Path:
        """The folder that was opened; ``path`` may be a part of it, such as a group of members."""
        return self.path if self.lock is None else Path(self.lock.name).parent

    @property
    def results(self) -> Path:
        """Where the final numbers go, for programs to read."""
        return self.path / "results.json"

    @property
    def configuration(self) -> Path:
        """Where a search puts the lengths that it chose, with their confidences."""
        return self.path / "configuration.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line, written while the run goes on."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of the Orbax checkpoints."""
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    def close(self) -> None:
        """Gives the folder free for other processes."""
        if self.lock is not None:
            self.lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_run(
    workdir: str | os.PathLike[str] | None,
    kind: str,
    config: ConfigDict,
    *,
    name: str = "run",
    root: str | os.PathLike[str] = "runs",
    harmless: tuple[str, ...] = (),
    extends: str = "",
) -> RunFolder:
    """Creates a run folder, or opens an existing one to resume it, and locks it.

    Of several processes the first does so, and the others learn of it.

    Args:
      workdir: the folder; None makes a new ``root/name-kind-date-time``.
      kind: "search", "train", ...; a folder is resumed by the same kind of job only.
      config: the whole config, saved as ``config.json``.
      name: what the run is about, such as ``digits-16shot-seed1``.
      root: where named folders are made.
      harmless: further config fields (dotted) that may differ on resume, besides ``HARMLESS``.
      extends: the part of the config, "search" or "train", whose ``epochs`` may have grown where
        :mod:`dpl_jax.runs.more_epochs` allows it; the results before are set aside.

    Raises:
      RunFolderError: when the folder cannot be written, another process uses it, it belongs to
        another kind of job, its config differs in a field that changes the result, or a link in it
        leads elsewhere.
    """
    opened: list[RunFolder] = []

    def open_here() -> list[Any]:
        named = Path(root), f"{name}-{kind}"
        opened.append(_open(workdir, *named, kind, config, harmless, extends))
        return [str(opened[0].path), opened[0].resumed]

    path, resumed = only_first(open_here)
    return opened[0] if opened else RunFolder(Path(path), resumed, lock=None)


def _open(
    workdir: str | os.PathLike[str] | None,
    root: Path,
    name: str,
    kind: str,
    config: ConfigDict,
    harmless: tuple[str, ...],
    extends: str,
) -> RunFolder:
    """Opens ``workdir``, or a new folder in ``root``."""
    path = Path(workdir) if workdir is not None else None
    try:
        path = _named_folder(root, name) if path is None else path
        path.mkdir(parents=True, exist_ok=True)
        refuse_links(path)
        lock = lock_folder(path)
        try:
            remove_leftovers(path)
            resumed = (path / "config.json").exists()
            _save_config(path, kind, config, harmless, extends)
        except BaseException:
            lock.close()
            raise
    except WriteError:
        raise
    except OSError as error:
        raise RunFolderError(
            f"The run folder {path or root} cannot be written ({error.strerror or error}). "
            "Choose another folder with --workdir."
        ) from error
    return RunFolder(path=path, resumed=resumed, lock=lock)


def read_config(run: str | os.PathLike[str], kind: str | None = None) -> ConfigDict:
    """Reads the config that a run was started with.

    Raises:
      RunFolderError: when ``run`` is no run folder, (with ``kind``) one of another kind, or it
        has a setting that cannot be.
    """
    saved, where = _read_saved(Path(run), kind), Path(run) / "config.json"
    try:
        config = ConfigDict(saved["config"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunFolderError(f"{where} holds a setting that cannot be ({error!s:.200}).") from error
    return config


def read_whole_config(run: str | os.PathLike[str]) -> ConfigDict:
    """As :func:`read_config`, of a run that may be a stranger's: every setting has its type.

    A setting that an older version did not have may be missing, but not what names a run.

    Raises:
      RunFolderError: when ``run`` is no run folder, or a setting of it cannot be.
    """
    config, where = read_config(run), Path(run) / "config.json"
    fields = flatten(to_json(config.to_dict()))
    for name, default in flatten(to_json(get_config().to_dict())).items():
        kinds = (float, int) if isinstance(default, float) else (type(default),)
        needed = name == "seed" or name.startswith(("data.", "clip."))
        needed = needed and name not in NEW_FIELDS
        if (name in fields or needed) and type(fields.get(name)) not in kinds:
            raise RunFolderError(
                f"{where}: {name} is {fields.get(name)!r:.100}, not {kinds[0].__name__}."
            )
    if (name := config.data.name) not in TEMPLATES:
        raise RunFolderError(f"{where}: data.name is {name!r:.100}, which is not a known dataset.")
    return config


def check_same_config(
    path: Path, kind: str, config: ConfigDict, harmless: tuple[str, ...] = (), extends: str = ""
) -> dict[str, Any]:
    """Checks that the run in ``path`` may go on with ``config``; see :func:`open_run`.

    Returns:
      what its config.json holds.

    Raises:
      RunFolderError: when it may not, or there is no run.
    """
    saved = _read_saved(path, kind)
    differences = config_differences(saved["config"], config.to_dict())
    refused = {
        name: pair
        for name, pair in differences.items()
        if not within(name, HARMLESS + harmless) and not _is_of_before(name, *pair)
    }
    why, extended = "", f"{extends}.epochs"
    if extends and extended in refused and _are_counts(refused[extended]):
        why = check_extension(config.to_dict(), extends, *refused[extended])
        refused = refused if why else {key: refused[key] for key in refused if key != extended}
    if refused:
        lines = "".join(
            f"\n  {name}: {old!r} in the folder, {now!r} now"
            for name, (old, now) in refused.items()
        )
        raise RunFolderError(
            f"{path} holds a run with another config:{lines}\n"
            f"{why}Resume with the same config, or choose another folder with --workdir."
        )
    return saved


def _is_of_before(name: str, saved: Any, now: Any) -> bool:
    """Whether a run of an older version lacks a field, and had what is its value now."""
    return name in NEW_FIELDS and saved is None and now == NEW_FIELDS[name]


def _are_counts(values: tuple[Any, ...]) -> bool:
    return all(type(value) is int for value in values)


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"  # dpl_jax run from a checkout
    return found


def config_differences(
    saved: Mapping[str, Any], new: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """The fields (dotted names) whose values differ, as ``{name: (saved, new)}``.

    A field that one side lacks counts as None there.
    """
    old_fields, new_fields = flatten(to_json(saved)), flatten(to_json(new))
    return {
        name: (old_fields.get(name), new_fields.get(name))
        for name in sorted(old_fields.keys() | new_fields.keys())
        if old_fields.get(name) != new_fields.get(name)
    }


def _named_folder(root: Path, name: str) -> Path:
    """Makes a new folder ``root/name-date-time``; a number tells those of one second apart."""
    stamp = timestamp()
    root.mkdir(parents=True, exist_ok=True)
    tries = 0
    while True:
        tries += 1
        path = root / (f"{name}-{stamp}" if tries == 1 else f"{name}-{stamp}-{tries}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path


def _save_config(
    path: Path, kind: str, config: ConfigDict, harmless: tuple[str, ...], extends: str
) -> None:
    """Writes config.json; one that is there already must describe the same run."""
    new = {"kind": kind, "config": to_json(config.to_dict()), "versions": versions()}
    if not (path / "config.json").exists():
        write_json(path / "config.json", new | {"changes": []})
        return
    saved = check_same_config(path, kind, config, harmless, extends)
    differences = config_differences(saved["config"], new["config"])
    if extends and (extended := f"{extends}.epochs") in differences:
        set_aside_results(path, kind, epochs=differences[extended][0])
    versions_before = saved.get("versions")
    if versions_before != new["versions"]:
        LOG.warning("%s was started with other versions of its packages: see config.json.", path)
    if differences or versions_before != new["versions"]:
        change = {"fields": differences, "versions": versions_before}
        write_json(path / "config.json", new | {"changes": [*saved.get("changes", ()), change]})


def _read_saved(path: Path, kind: str | None) -> dict[str, Any]:
    try:
        saved = read_json(path / "config.json")
    except FileNotFoundError as error:
        raise RunFolderError(
            f"{path} is no run folder: it has no config.json. "
            "Give the folder that a search or a training printed."
        ) from error
    except ValueError as error:
        raise RunFolderError(f"{error} The run cannot be resumed from this folder.") from error
    if not isinstance(saved, dict) or not isinstance(saved.get("config"), dict):
        raise RunFolderError(f"{path / 'config.json'} is not the config of a run.")
    if kind is not None and saved.get("kind") != kind:
        raise RunFolderError(
            f"{path} holds a run of kind {saved.get('kind')!r}, not {kind!r}. "
            "Give the folder of the right run, or choose another one with --workdir."
        )
    return saved


def within(name: str, fields: tuple[str, ...]) -> bool:
    """Whether a field (dotted) is one of ``fields``, or below one."""
    return any(name == field or name.startswith(field + ".") for field in fields)
