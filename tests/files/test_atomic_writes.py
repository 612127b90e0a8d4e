"""Files that are written whole: what other threads see of it, and what a power cut leaves."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from dpl_jax.errors import WriteError
from dpl_jax.files.json import write_json
from dpl_jax.inference.export.folder import new_folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask(monkeypatch):
    """A umask of 0o027, which nothing may ask for: asking sets it for every thread."""
    before = os.umask(0o027)
    change = os.umask
    monkeypatch.setattr(os, "umask", lambda *_: pytest.fail("the umask was changed"))
    yield
    change(before)


def test_files_of_other_threads_keep_their_modes_while_files_are_written(tmp_path, umask):
    ended, made = threading.Event(), []

    def make_files() -> None:
        while not ended.is_set() or not made:
            made.append(tmp_path / f"{len(made)}.txt")
            made[-1].touch()

    thread = threading.Thread(target=make_files)
    thread.start()
    try:
        for number in range(100):
            write_json(tmp_path / f"{number}.json", {"number": number})
    finally:
        ended.set()
        thread.join()
    assert {mode(path) for path in made} == {0o640}
    assert {mode(path) for path in tmp_path.glob("*.json")} == {0o640}


def test_an_exported_folder_follows_the_umask(tmp_path, umask):
    with new_folder(tmp_path / "out"):
        pass
    assert mode(tmp_path / "out") == 0o750


def test_a_file_is_on_disk_before_its_name_and_the_name_before_the_writer_goes_on(
    tmp_path, monkeypatch
):
    calls, fsync, replace = [], os.fsync, Path.replace

    def noted_fsync(handle):
        calls.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def noted_replace(path, target):
        calls.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_json(tmp_path / "x.json", {})
    assert calls == ["file", "rename", "folder"]


@pytest.mark.parametrize(("number", "refused"), [(22, False), (95, False), (5, True), (28, True)])
def test_a_folder_that_cannot_be_synced_is_told_unless_none_can(
    tmp_path, monkeypatch, number, refused
):
    fsync = os.fsync

    def fail(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fail)
    if refused:
        with pytest.raises(WriteError, match=r"x\.json"):
            write_json(tmp_path / "x.json", {})
    else:
        write_json(tmp_path / "x.json", {})
    assert not list(tmp_path.glob(".*"))
