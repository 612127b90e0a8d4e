"""Disks that fill up, folders that turn read-only, images that vanish, files that are garbled."""

import contextlib
import logging
import os
import pkgutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from configs import digits
from dpl_jax.errors import (
    CheckpointError,
    DplError,
    RunFolderError,
    UnreadableImageError,
    WriteError,
)
from dpl_jax.evaluate import evaluate
from dpl_jax.report.page import write_report
from dpl_jax.search import search
from tests.reliability.test_interrupts import assert_same_run, states

DISK = 2 << 20  # bytes


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount("-t", "tmpfs", "-o", f"size={DISK}", "none", folder)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", "-R", "-l", str(folder)], check=True)


def run(fields: dict[str, Any], folder: Path, **own: Any) -> Path:
    config = digits.get_config("shots=2,seed=3")
    own = {name.replace("__", "."): value for name, value in own.items()}
    config.update_from_flattened_dict(fields | {"checkpoint.every_steps": 0} | own)
    return search(config, folder)


@pytest.fixture(scope="module")
def whole(fields: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(fields, tmp_path_factory.mktemp("whole") / "run")


def fill(disk: Path) -> Callable[[], None]:
    """Fills the disk to the last byte; returns what makes room again."""
    filler = disk / "filler"
    with filler.open("wb") as file, contextlib.suppress(OSError):
        while True:
            os.write(file.fileno(), bytes(4096))
    return filler.unlink


def turn_read_only(disk: Path) -> Callable[[], None]:
    """Makes the run's folder read-only; returns what makes it writable again."""
    folder = disk / "run"
    mount("--bind", folder, folder)
    mount("-o", "remount,bind,ro", folder)
    return lambda: subprocess.run(["umount", "-l", str(folder)], check=True)


MOMENTS = {
    "checkpoint": "dpl_jax.runs.checkpoints.Checkpoints.save",
    "metrics": "dpl_jax.training.loop.append_metrics",
    "tensorboard": "dpl_jax.training.loop.tensorboard_events",
    "configuration": "dpl_jax.search.save_configuration",
    "results": "dpl_jax.search.write_results",
}


@pytest.mark.parametrize("break_disk", [fill, turn_read_only])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_cannot_write_goes_on_when_it_can_again(
    moment: str,
    break_disk: Callable[[Path], Callable[[], None]],
    disk: Path,
    whole: Path,
    fields: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[Callable[[], None]] = []
    late = moment in ("checkpoint", "metrics")  # something has been saved before

    def broken(*arguments: Any, **named: Any) -> Any:
        while late and calls and not (disk / "run" / "checkpoints" / "4").exists():
            time.sleep(0.01)  # it is saved in the background
        calls.append(break_disk(disk) if len(calls) == late else lambda: None)
        return original(*arguments, **named)

    original = pkgutil.resolve_name(MOMENTS[moment])
    with monkeypatch.context() as patch:
        patch.setattr(MOMENTS[moment], broken)
        with pytest.raises((WriteError, CheckpointError)) as caught:
            run(fields, disk / "run", tensorboard=True)
    said = str(caught.value)
    assert "\n" not in said and "start the same command again" in said, said
    assert not (disk / "run" / "results.json").exists()
    calls[-1]()
    if moment != "tensorboard":
        assert max(states(disk / "run")) in (4, 12)
    run(fields, disk / "run", tensorboard=True)
    assert_same_run(disk / "run", whole)


def test_a_report_that_finds_no_room_does_not_end_the_run(
    disk: Path,
    whole: Path,
    fields: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    report = pkgutil.resolve_name("dpl_jax.search.report_at_end")

    def broken(*arguments: Any) -> None:
        fill(disk)
        report(*arguments)

    monkeypatch.setattr("dpl_jax.search.report_at_end", broken)
    run(fields, disk / "run", report=True)
    assert "has no report (launch/report.py writes one)" in caplog.text
    assert_same_run(disk / "run", whole)
    with pytest.raises(WriteError, match="No space left"):
        evaluate(disk / "run", "val")
    assert_same_run(disk / "run", whole)


def test_an_image_that_vanishes_meanwhile_is_named_and_comes_back(
    fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(10):
            pixels = random.integers(0, 255, (16, 16, 3), np.uint8)
            PIL.Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    own = {
        "data__name": "folder",
        "data__root": str(tmp_path / "data"),
        "data__device_memory_mb": 0,
    }
    whole = run(fields, tmp_path / "whole", **own)
    append, data = pkgutil.resolve_name("dpl_jax.training.loop.append_metrics"), tmp_path / "data"

    def lose(*arguments: Any) -> None:
        append(*arguments)
        data.rename(tmp_path / "elsewhere")

    with monkeypatch.context() as patch:
        patch.setattr("dpl_jax.training.loop.append_metrics", lose)
        with pytest.raises(UnreadableImageError, match=str(data)) as caught:
            run(fields, tmp_path / "run", **own)
    assert isinstance(caught.value, DplError)
    (tmp_path / "elsewhere").rename(data)
    run(fields, tmp_path / "run", **own)
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize(("line", "lost"), [(2, False), (1, True)])
def test_a_garbled_line_of_the_metrics_is_put_back_or_told(
    line: int, lost: bool, whole: Path, fields: dict[str, Any], tmp_path: Path, caplog: Any
) -> None:
    folder = run(fields, tmp_path / "run")
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_bytes().splitlines(keepends=True)
    garbled = b"".join([*lines[:line], b"\x00" * 50 + b"\n", *lines[line + 1 :]])
    metrics.write_bytes(garbled)
    with pytest.raises(RunFolderError, match=rf"metrics\.jsonl, line {line + 1}, is no JSON"):
        write_report(folder)
    with caplog.at_level(logging.WARNING):
        run(fields, folder)
    aside = folder / "metrics.jsonl.damaged"
    assert ("no good line of step 8" in caplog.text) == aside.exists() == lost
    if lost:
        assert aside.read_bytes() == garbled
        assert metrics.read_bytes() == lines[0] + lines[2]
    else:
        assert_same_run(folder, whole)


def test_files_of_a_run_that_are_written_again_may_be_damaged(
    whole: Path, fields: dict[str, Any], tmp_path: Path
) -> None:
    folder = run(fields, tmp_path / "run")
    (folder / "results.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"results\.json .*started again .*writes it anew"):
        evaluate(folder, "val")
    for name in ("results.json", "configuration.json", "sampled.json"):
        (folder / name).write_bytes(os.urandom(200))
    run(fields, folder)
    assert_same_run(folder, whole)
    assert (folder / "sampled.json").read_bytes() == (whole / "sampled.json").read_bytes()
