"""metrics.jsonl: one strict JSON object a line and step; the same for TensorBoard and W&B."""

from __future__ import annotations

import contextlib
import json
import math
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dpl_jax.json_files import parse_json, to_json, write_text
from dpl_jax.run_folder import RunFolder


def append_metrics(run: RunFolder, rows: Iterable[Mapping[str, Any]]) -> None:
    """Appends rows, each with its "step", to ``metrics.jsonl``; non-finite numbers become null."""
    lines = "".join(json.dumps(_finite(to_json(row)), allow_nan=False) + "\n" for row in rows)
    with run.metrics.open("a", encoding="utf-8", newline="\n") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def read_metrics(run: RunFolder | str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Reads all rows; a last line that was being written when the run was killed is left out.

    Raises:
      ValueError: when another line is no JSON object.
    """
    path = run.metrics if isinstance(run, RunFolder) else Path(run) / "metrics.jsonl"
    return [row for _, row in _lines(path)]


def truncate_metrics(run: RunFolder, step: int) -> None:
    """Drops the rows after ``step``, which a resumed run is going to write again."""
    if not run.metrics.exists():
        return
    kept = [line for line, row in _lines(run.metrics) if row["step"] <= step]
    write_text(run.metrics, "".join(kept))


@contextlib.contextmanager
def tensorboard_events(
    run: RunFolder, enabled: bool, step: int
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
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
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(run.tensorboard), purge_step=step + 1) as writer:

        def write(row: Mapping[str, Any]) -> None:
            numbers = {name: to_json(value) for name, value in row.items() if name != "step"}
            for name, value in numbers.items():
                if isinstance(value, int | float):
                    writer.add_scalar(name, value, row["step"])

        yield write


@contextlib.contextmanager
def wandb_rows(
    run: RunFolder, config: ConfigDict, kind: str
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
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
    if not (folder / "id.txt").is_file():
        write_text(folder / "id.txt", uuid.uuid4().hex)
    logged = wandb.init(
        project=config.wandb,
        name=run.path.name,
        job_type=kind,
        id=(folder / "id.txt").read_text(encoding="utf-8"),
        resume="allow",
        dir=run.path,
        config=to_json(config.to_dict()),
    )
    try:
        yield lambda row: logged.log(_finite(to_json(row)), step=int(row["step"]))
    except BaseException:
        logged.finish(exit_code=1)
        raise
    logged.finish()


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            row = parse_json(line)
            row["step"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}, line {number}, is no JSON object with a step.") from error
        rows.append((line.decode() + "\n", row))
    return rows


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
