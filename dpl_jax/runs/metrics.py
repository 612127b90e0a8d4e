"""metrics.jsonl: one strict JSON object a line and step; the same for TensorBoard and W&B."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ml_collections import ConfigDict

from dpl_jax.errors import RunFolderError
from dpl_jax.files import limits
from dpl_jax.files.json import (
    check_count,
    explained_writes,
    parse_json,
    to_json,
    write_file,
    write_text,
)
from dpl_jax.files.places import without_places
from dpl_jax.files.regular import read_bytes
from dpl_jax.runs.folder import RunFolder

LOG = logging.getLogger(__name__)
Row: TypeAlias = Mapping[str, Any]


def append_metrics(run: RunFolder, rows: Iterable[Row]) -> None:
    """Appends rows, each with its "step", to ``metrics.jsonl``; non-finite numbers become null.

    Raises:
      WriteError: when the disk is full; the half of a line that it may have taken counts for
        nothing, and goes when the run goes on.
    """
    lines = "".join(map(_line, rows))
    with (
        explained_writes(run.metrics),
        run.metrics.open("a", encoding="utf-8", newline="\n") as file,
    ):
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def read_metrics(run: RunFolder | str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Reads all rows; a last line that was being written when the run was killed is left out.

    Raises:
      RunFolderError: when another line is no JSON object.
    """
    path = run.metrics if isinstance(run, RunFolder) else Path(run) / "metrics.jsonl"
    rows = []
    for number, line in enumerate(_lines(path), start=1):
        if (row := _parse(line)) is None:
            raise RunFolderError(
                f"{path}, line {number}, is no JSON object with a step. Started again, the run's "
                "command leaves such lines out and keeps the file beside it."
            )
        rows.append(row)
    return rows


def truncate_metrics(run: RunFolder, steps: Sequence[int], last: Row | None = None) -> None:
    """Keeps the rows of ``steps``, which a checkpoint covers; a resumed run writes those after.

    Where one of them is missing or damaged there is a warning, and the file stays as it was under
    ``metrics.jsonl.damaged``.

    Args:
      run: the run.
      steps: the last step of each epoch that is done.
      last: the row of the last of them, put back if it is missing.
    """
    found = {row["step"]: line for line in _lines(run.metrics) if (row := _parse(line))}
    if last is not None:
        found.setdefault(last["step"], _line(last).encode())
    missing = [step for step in steps if step not in found]
    if missing:
        aside = run.metrics.with_name("metrics.jsonl.damaged")
        LOG.warning(
            "%s has no good line of step %s; as it was, it is kept as %s.",
            run.metrics,
            ", ".join(map(str, missing)),
            aside.name,
        )
        with contextlib.suppress(FileNotFoundError):
            run.metrics.replace(aside)
    if steps or run.metrics.exists():
        with write_file(run.metrics) as file:
            file.write(b"".join(found[step] for step in steps if step in found))


def json_row(row: Row) -> dict[str, Any]:
    """A row as it is in ``metrics.jsonl``."""
    return {name: _finite(to_json(value)) for name, value in row.items()}


@contextlib.contextmanager
def tensorboard_events(run: RunFolder, enabled: bool, step: int) -> Iterator[Callable[[Row], None]]:
    """Yields a function that writes the numbers of a row as TensorBoard events.

    Args:
      run: the run; the files go to its ``tensorboard`` folder.
      enabled: False to write nothing.
      step: the last step done before; later events, of a killed run, are hidden.
    """
    if not enabled:
        yield lambda row: None
        return
    # Imported here because it takes a second that most runs need not wait.
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.summary import scalar

    with explained_writes(run.tensorboard):
        run.tensorboard.mkdir(exist_ok=True)
        # Not through a SummaryWriter: the thread that it writes in dies of a full disk unnoticed.
        writer = EventsWriter(str(run.tensorboard / "events"), f".after-{step}")

    def write_events(*events: Any) -> None:
        with explained_writes(run.tensorboard):
            for event in events:
                event.wall_time = time.time()
                writer.write_event(event)
            writer.flush()

    def write(row: Row) -> None:
        numbers = {name: to_json(value) for name, value in row.items() if name != "step"}
        write_events(
            *(
                Event(step=row["step"], summary=scalar(name, value))
                for name, value in numbers.items()
                if isinstance(value, int | float)
            )
        )

    try:
        # Tells that events of this step and later ones, in other files, are out of date.
        write_events(Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))
        yield write
    finally:
        with contextlib.suppress(OSError):  # closing tries again what has failed
            writer.close()


@contextlib.contextmanager
def wandb_rows(run: RunFolder, config: ConfigDict, kind: str) -> Iterator[Callable[[Row], None]]:
    """Yields a function that logs a row to Weights & Biases, as it is in ``metrics.jsonl``.

    A resumed run goes on in the same W&B run, whose id is kept in the run's folder. Rows that were
    logged before are the same again, and W&B leaves them out.

    Args:
      run: the run; W&B's own files go to its ``wandb`` folder.
      config: ``config.wandb`` is the project, "" to log nothing; the whole config is recorded.
      kind: what the run does, such as "search".
    """
    if not config.wandb:
        yield lambda row: None
        return
    import wandb  # an optional package, see dpl_jax.config.check_config

    folder = run.path / "wandb"
    folder.mkdir(exist_ok=True)
    logged = wandb.init(
        project=config.wandb,
        name=run.path.name,
        job_type=kind,
        id=_run_id(folder / "id.txt"),
        resume="allow",
        dir=run.path,
        config=without_places(to_json(config.to_dict())),
    )
    try:
        yield lambda row: logged.log(json_row(row), step=int(row["step"]))
    except BaseException:
        logged.finish(exit_code=1)
        raise
    logged.finish()


def _run_id(path: Path) -> str:
    """The id of a run at W&B, made when there is none; it becomes part of addresses and of paths.

    Raises:
      RunFolderError: when the file holds something else.
    """
    if not path.is_file():
        write_text(path, uuid.uuid4().hex)
    try:
        found = read_bytes(path, limits.NAME_BYTES).decode("ascii", "replace")
    except (OSError, ValueError) as error:
        found = str(error)
    if not re.fullmatch("[0-9a-f]{32}", found):
        raise RunFolderError(
            f"{path} holds {found!r:.60}, which is not the id of a run. Remove it, and the rows "
            "go to a new run of W&B."
        )
    return found


def _line(row: Row) -> str:
    return json.dumps(json_row(row), allow_nan=False) + "\n"


def _lines(path: Path) -> list[bytes]:
    """The whole lines of a file, with their ends; none when there is no file."""
    if not path.exists():
        return []
    try:
        contents = read_bytes(path, limits.JSON_BYTES)
        check_count(contents)
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} cannot be read: {error}.") from error
    return [line + b"\n" for line in contents.split(b"\n")[:-1]]


def _parse(line: bytes) -> dict[str, Any] | None:
    """The row of a line, or None for a damaged one."""
    try:
        row = parse_json(line)
    except ValueError:
        return None
    whole = isinstance(row, dict) and isinstance(row.get("step"), int)
    return row if whole else None


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
