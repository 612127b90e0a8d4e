"""A run folder's lock where the file system keeps locks within one machine."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dpl_jax.errors import RunFolderError
from dpl_jax.runs import lock as folder_lock
from dpl_jax.runs.lock import LOOK, LOOKS, lock_folder

THEIRS = json.dumps({"host": "gpu7", "pid": 4711, "start": "2026-01-01"})


class Sleeper:
    """Takes the place of time.sleep: does something at each sleep, and counts the seconds."""

    def __init__(self, act: Callable[[int], object] = lambda number: None) -> None:
        self.act, self.slept, self.calls = act, 0.0, 0

    def __call__(self, seconds: float) -> None:
        self.act(self.calls)
        self.slept, self.calls = self.slept + seconds, self.calls + 1


def touch(file: Path) -> None:
    """As the file server does: the time moves, whatever clock it is of."""
    before = file.stat().st_mtime_ns
    os.utime(file, ns=(before, before + 1))


def left(folder: Path, content: str = THEIRS, age: float = 0.0) -> Path:
    """A lock that no process of this machine holds, touched so many seconds ago."""
    file = folder / "lock"
    file.write_text(content)
    touched = file.stat().st_mtime - age
    os.utime(file, (touched, touched))
    return file


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.WARNING]


@pytest.mark.parametrize("skew", [-1800.0, 0.0, 1800.0, 86400.0])
@pytest.mark.parametrize("first", [0, 5, LOOKS - 1])
def test_a_live_holder_elsewhere_is_named_however_its_clock_goes(
    tmp_path: Path, skew: float, first: int
) -> None:
    file = left(tmp_path, age=-skew)
    sleeper = Sleeper(lambda number: touch(file) if number == first else None)
    with pytest.raises(RunFolderError, match="in use by process 4711 on gpu7"):
        lock_folder(tmp_path, host="gpu8", sleep=sleeper)
    assert sleeper.slept == (first + 1) * LOOK and file.read_text() == THEIRS


@pytest.mark.parametrize(
    ("content", "age", "seconds"),
    [
        (THEIRS, 0, LOOKS * LOOK),
        (THEIRS, 3000, LOOKS * LOOK),
        (THEIRS, 4000, 0),
        ('{"host": "gp', 0, LOOKS * LOOK),
        ("[" * 5000, 0, LOOKS * LOOK),
        ('{"pid": 3}', 4000, 0),
    ],
)
def test_a_holder_that_died_elsewhere_is_followed_with_one_warning(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: str,
    age: float,
    seconds: float,
) -> None:
    left(tmp_path, content, age)
    sleeper = Sleeper()
    with lock_folder(tmp_path, host="gpu8", sleep=sleeper):
        assert json.loads((tmp_path / "lock").read_text())["host"] == "gpu8"
    assert sleeper.slept == seconds + LOOK  # at last, whether another had the same idea
    (warning,) = warnings_of(caplog)
    assert "taken over" in warning and ("4711 on gpu7" in warning) == (content == THEIRS)


@pytest.mark.parametrize("content", ["", THEIRS.replace("gpu7", "gpu8")])
def test_a_lock_that_was_given_up_or_is_of_this_machine_is_taken_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    left(tmp_path, content)
    sleeper = Sleeper()
    lock_folder(tmp_path, host="gpu8", sleep=sleeper).close()
    lock_folder(tmp_path, host="gpu9", sleep=sleeper).close()
    assert sleeper.calls == 0 and warnings_of(caplog) == []


@pytest.mark.parametrize("wait", [False, True])
def test_a_lock_that_is_given_up_meanwhile_is_free(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, wait: bool
) -> None:
    file, last = left(tmp_path), 40 if wait else 4

    def act(number: int) -> None:
        if number == last:
            file.write_text("")
        elif wait:
            touch(file)

    sleeper = Sleeper(act)
    lock_folder(tmp_path, wait=wait, host="gpu8", sleep=sleeper).close()
    assert sleeper.calls == last + 1 and warnings_of(caplog) == []


def test_of_two_that_take_over_at_once_one_has_it(tmp_path: Path) -> None:
    file, other = left(tmp_path), THEIRS.replace("gpu7", "gpu9")
    sleeper = Sleeper(lambda number: file.write_text(other) if number == LOOKS else None)
    with pytest.raises(RunFolderError, match="4711 on gpu9"):
        lock_folder(tmp_path, host="gpu8", sleep=sleeper)
    assert file.read_text() == other


def test_two_machines_whose_locks_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    monkeypatch.setattr(folder_lock, "BEAT", 0.01)
    before = threading.active_count()
    first = lock_folder(tmp_path, host="gpu7")

    def until_touched(_: float) -> None:
        seen, end = os.stat(tmp_path / "lock").st_mtime_ns, time.monotonic() + 100
        while os.stat(tmp_path / "lock").st_mtime_ns == seen and time.monotonic() < end:
            time.sleep(0.01)

    with pytest.raises(RunFolderError, match=f"process {os.getpid()} on gpu7"):
        lock_folder(tmp_path, host="gpu8", sleep=until_touched)
    first.close()
    assert threading.active_count() == before and (tmp_path / "lock").read_text() == ""
    sleeper = Sleeper()
    lock_folder(tmp_path, host="gpu8", sleep=sleeper).close()
    assert sleeper.calls == 0 and warnings_of(caplog) == []


class Beats:
    """Takes the place of the event that ends a heartbeat: does something before each beat."""

    def __init__(self, *acts: Callable[[], object]) -> None:
        self.acts, self.done = acts, 0

    def wait(self, seconds: float) -> bool:
        self.done += 1
        if self.done <= len(self.acts):
            self.acts[self.done - 1]()
        return self.done > len(self.acts)


@pytest.mark.parametrize("loss", ["removed", "taken"])
def test_a_lock_that_is_lost_is_told_once_and_not_touched_any_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, loss: str
) -> None:
    file, times = left(tmp_path, age=100), list[int]()

    def note() -> None:
        times.append(file.stat().st_mtime_ns)

    def lose() -> None:
        note()
        file.unlink()
        if loss == "taken":
            left(tmp_path, "another's", age=100)

    beats = Beats(note, lambda: None, lose, lambda: None)
    with file.open("r+b") as held:
        folder_lock._beat(file, held.fileno(), THEIRS.encode(), beats)  # type: ignore[arg-type]
        assert times[1] > times[0] and os.fstat(held.fileno()).st_mtime_ns == times[1]
    assert beats.done == 3
    (warning,) = warnings_of(caplog)
    assert str(file) in warning and "End one of them" in warning


def test_a_file_server_that_is_away_for_a_moment_is_no_loss(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, look = left(tmp_path, age=100), folder_lock._look
    before, answers = file.stat().st_mtime_ns, iter([OSError("stale"), None])

    def sometimes(path: Path) -> object:
        if error := next(answers):
            raise error
        return look(path)

    monkeypatch.setattr(folder_lock, "_look", sometimes)
    beats = Beats(lambda: None, lambda: None)
    with file.open("r+b") as held:
        folder_lock._beat(file, held.fileno(), THEIRS.encode(), beats)  # type: ignore[arg-type]
    assert file.stat().st_mtime_ns > before and beats.done == 3 and warnings_of(caplog) == []


def test_giving_up_a_lock_that_was_lost_leaves_the_other_ones_name(tmp_path: Path) -> None:
    with lock_folder(tmp_path):
        (tmp_path / "lock").write_text(THEIRS)
    assert (tmp_path / "lock").read_text() == THEIRS
    with lock_folder(tmp_path, host="gpu7"):
        (tmp_path / "lock").unlink()


FORKED = """
import os, sys
from pathlib import Path
from dpl_jax.runs.lock import in_use, lock_folder
folder = Path(sys.argv[1])
lock = lock_folder(folder)
if child := os.fork():
    os.waitpid(child, 0)
    print(in_use(folder), str(os.getpid()) in (folder / "lock").read_text(), flush=True)
else:
    lock.close()
"""


def test_a_forked_process_does_not_give_up_the_lock_and_an_exit_does_not_hang(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", FORKED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == "True True\n"
    sleeper = Sleeper()
    lock_folder(tmp_path, sleep=sleeper).close()  # it was never closed, and is of this machine
    assert sleeper.calls == 0
