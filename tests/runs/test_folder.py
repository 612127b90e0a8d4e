import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict

from dpl_jax.config import get_config
from dpl_jax.errors import RunFolderError
from dpl_jax.files.json import parse_json, read_json, to_json, write_json
from dpl_jax.runs.folder import (
    config_differences,
    open_run,
    read_config,
    read_whole_config,
    versions,
)
from tests.support.repository import ROOT


def make_config(**changes):
    config = ConfigDict(
        {
            "seed": 1,
            "progress": "auto",
            "data": {"name": "digits", "shots": 16, "cache_dir": "", "size": (2, 3)},
            "train": {"epochs": 4},
            "checkpoint": {"every_epochs": 5, "keep": 2},
        }
    )
    config.update_from_flattened_dict(changes)
    return config


def start_python(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=options.pop("cwd", ROOT),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def test_a_new_folder_holds_the_config_and_the_versions(tmp_path):
    with open_run(tmp_path / "deep" / "run", "search", make_config()) as run:
        assert not run.resumed
        saved = json.loads((run.path / "config.json").read_text())
    assert saved["kind"] == "search"
    assert saved["config"]["data"]["size"] == [2, 3]
    assert saved["versions"] == versions()
    assert read_config(run.path).data.shots == 16


def test_named_folders_differ_even_within_one_second(tmp_path):
    paths = set()
    for _ in range(5):
        with open_run(None, "train", make_config(), name="digits-16shot", root=tmp_path) as run:
            paths.add(run.path)
    assert len(paths) == 5
    assert all(path.name.startswith("digits-16shot-train-20") for path in paths)
    assert {path.parent for path in paths} == {tmp_path}


def test_the_same_config_resumes(tmp_path):
    open_run(tmp_path, "search", make_config()).close()
    before = (tmp_path / "config.json").read_bytes()
    with open_run(tmp_path, "search", make_config()) as run:
        assert run.resumed
    assert (tmp_path / "config.json").read_bytes() == before


def test_another_config_is_refused_with_every_difference(tmp_path):
    open_run(tmp_path, "search", make_config()).close()
    before = (tmp_path / "config.json").read_bytes()
    changed = make_config(**{"seed": 2, "data.shots": 4, "progress": "off"})
    with pytest.raises(RunFolderError) as error:
        open_run(tmp_path, "search", changed)
    message = str(error.value)
    assert "seed: 1 in the folder, 2 now" in message
    assert "data.shots: 16 in the folder, 4 now" in message
    assert "progress" not in message
    assert "--workdir" in message
    assert (tmp_path / "config.json").read_bytes() == before
    open_run(tmp_path, "search", make_config()).close()  # the refusal gave the lock back


def test_a_run_from_before_a_field_was_added_goes_on_unless_it_is_used(tmp_path):
    config, old = get_config(), get_config()
    del old.data.labels, old.clip.sha256
    open_run(tmp_path, "search", old).close()
    assert "labels" not in read_whole_config(tmp_path).data
    config.data.labels = "list.csv"
    with pytest.raises(RunFolderError, match=r"data.labels: None in the folder, 'list.csv' now"):
        open_run(tmp_path, "search", config)
    config.data.labels = ""
    with open_run(tmp_path, "search", config) as run:
        assert run.resumed
    config.clip.sha256 = "0" * 64  # a run can be pinned later
    open_run(tmp_path, "search", config).close()
    wrong = config.to_dict()
    wrong["data"]["labels"] = 3
    write_json(tmp_path / "config.json", {"config": wrong})
    with pytest.raises(RunFolderError, match=r"data\.labels is 3, not str"):
        read_whole_config(tmp_path)


def test_harmless_changes_are_allowed_and_recorded(tmp_path):
    open_run(tmp_path, "search", make_config()).close()
    changed = make_config(**{"progress": "off", "checkpoint.keep": 9, "data.cache_dir": "c"})
    open_run(tmp_path, "search", changed).close()
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["config"]["checkpoint"]["keep"] == 9
    assert saved["changes"][0]["fields"] == {
        "checkpoint.keep": [2, 9],
        "data.cache_dir": ["", "c"],
        "progress": ["auto", "off"],
    }


def test_the_caller_may_allow_further_fields(tmp_path):
    open_run(tmp_path, "search", make_config()).close()
    longer = make_config(**{"train.epochs": 8})
    with pytest.raises(RunFolderError, match=r"train\.epochs"):
        open_run(tmp_path, "search", longer)
    open_run(tmp_path, "search", longer, harmless=("train",)).close()
    assert read_config(tmp_path).train.epochs == 8


def test_other_versions_are_warned_about_and_recorded(tmp_path, caplog):
    open_run(tmp_path, "search", make_config()).close()
    saved = json.loads((tmp_path / "config.json").read_text())
    saved["versions"]["jax"] = "0.1"
    (tmp_path / "config.json").write_text(json.dumps(saved))
    open_run(tmp_path, "search", make_config()).close()
    assert f"{tmp_path} was started with other versions" in caplog.text
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["versions"] == versions()
    assert saved["changes"][0]["versions"]["jax"] == "0.1"


def test_a_folder_of_another_kind_of_run_is_refused(tmp_path):
    open_run(tmp_path, "search", make_config()).close()
    with pytest.raises(RunFolderError, match="kind 'search', not 'train'"):
        open_run(tmp_path, "train", make_config())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"kind": "search"}', '{"kind": "search", "config": 3}', "[" * 100_000]
)
def test_a_damaged_config_is_one_clear_error(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"config\.json"):
        open_run(tmp_path, "search", make_config())


def test_no_run_folder_says_where_it_looked(tmp_path):
    with pytest.raises(RunFolderError, match=r"is no run folder: it has no config\.json"):
        read_config(tmp_path)


def test_a_missing_or_new_field_is_a_difference():
    saved, new = {"a": 1, "b": {"c": 2}}, {"a": 1, "b": {}, "d": None, "e": {"f": 0.5}}
    assert config_differences(saved, new) == {
        "b": (None, {}),
        "b.c": (2, None),
        "e.f": (None, 0.5),
    }


HOLD = """
import sys
from ml_collections import ConfigDict
from dpl_jax.runs.folder import open_run
run = open_run(sys.argv[1], "search", ConfigDict({"a": 1}))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path):
    config = ConfigDict({"a": 1})
    with start_python(HOLD, tmp_path) as holder:
        assert holder.stdout.readline().strip() == "held"
        with pytest.raises(RunFolderError) as error:
            open_run(tmp_path, "search", config)
        assert f"process {holder.pid} on {socket.gethostname()}" in str(error.value)
        holder.kill()
    with open_run(tmp_path, "search", config) as run:  # the stale lock is taken over
        holder_now = json.loads((run.path / "lock").read_text())
    assert (holder_now["host"], holder_now["pid"]) == (socket.gethostname(), os.getpid())
    assert (tmp_path / "lock").read_bytes() == b""


def test_the_same_process_cannot_open_a_folder_twice(tmp_path):
    with (
        open_run(tmp_path, "search", make_config()),
        pytest.raises(RunFolderError, match=f"in use by process {os.getpid()} "),
    ):
        open_run(tmp_path, "search", make_config())
    open_run(tmp_path, "search", make_config()).close()


UNPRIVILEGED = """
import os, sys
from ml_collections import ConfigDict
from dpl_jax.errors import DplError
from dpl_jax.runs.folder import open_run
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)
try:
    open_run(sys.argv[1], "search", ConfigDict({"a": 1}))
except DplError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("workdir", [".", "new"])
def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path, workdir):
    tmp_path.chmod(0o555)
    with start_python(UNPRIVILEGED, workdir, cwd=tmp_path) as process:
        output, _ = process.communicate()
    assert output.startswith(f"RunFolderError The run folder {workdir} cannot be written (Perm")
    assert output.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_the_folder_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"):
        open_run(tmp_path / "file", "search", make_config())
    with pytest.raises(RunFolderError, match="cannot be written"):
        open_run(tmp_path / "file" / "run", "search", make_config())


def test_json_takes_arrays_and_numpy_numbers(tmp_path):
    value = {
        "array": np.arange(4).reshape(2, 2),
        "jax": jnp.float32(0.5),
        "half": np.float32(0.1),
        "tuple": (1, None, True),
        "path": Path("a/b"),
        "text": "naïve <script>",
        3: "number",
    }
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == {
        "array": [[0, 1], [2, 3]],
        "jax": 0.5,
        "half": float(np.float32(0.1)),
        "tuple": [1, None, True],
        "path": "a/b",
        "text": "naïve <script>",
        "3": "number",
    }


@pytest.mark.parametrize(
    ("value", "error"), [({"a": float("nan")}, ValueError), ({"a": {1, 2}}, TypeError)]
)
def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path, value, error):
    write_json(tmp_path / "x.json", {"old": 1})
    with pytest.raises(error):
        write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path, monkeypatch):
    write_json(tmp_path / "x.json", {"old": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_json(tmp_path / "x.json", {"new": 2})
    assert read_json(tmp_path / "x.json") == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_files_follow_the_umask(tmp_path):
    previous = os.umask(0o027)
    try:
        write_json(tmp_path / "x.json", {})
    finally:
        os.umask(previous)
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o640


def test_depth_is_limited_and_width_is_not():
    deepest = "[" * 100 + "]" * 100
    assert parse_json(deepest) == json.loads(deepest)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(f'{{"a": {deepest}}}')
    assert parse_json("[" + "[], " * 10_000 + "[]]") == [[]] * 10_001


def test_what_a_killed_write_left_is_removed(tmp_path):
    open_run(tmp_path, "search", make_config()).close()
    (tmp_path / ".results.json.abc.tmp").write_text('{"half')
    open_run(tmp_path, "search", make_config()).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "lock"]


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "[" * 200_000, "\ud800"])
def test_json_that_is_not_strict_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_json(text.encode("utf-8", "surrogatepass"))


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(129 << 20)
    with pytest.raises(ValueError, match="larger than 128 MiB"):
        read_json(tmp_path / "x.json")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(VALUES)
def test_json_values_are_kept_as_they_are(value):
    assert to_json(value) == value


@given(st.binary() | st.text().map(str.encode))
def test_parsing_anything_ends_in_a_value_or_a_value_error(data):
    try:
        value = parse_json(data)
    except ValueError:
        return
    assert json.dumps(value, allow_nan=False)  # whatever it accepts is strict JSON again
