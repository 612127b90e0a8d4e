"""Saves that fail or are cut off: the checkpoint before stays whole, and the error is clear."""

import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from dpl_jax.errors import CheckpointError
from dpl_jax.runs.checkpoints import Checkpoints, load
from tests.runs.test_checkpoints import TARGET, assert_same, run_python, save


def test_a_disk_without_room_is_found_out_before_anything_is_written(tmp_path, monkeypatch):
    save(tmp_path, 1)
    usage = shutil.disk_usage(tmp_path)._replace(free=100 << 10)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.restore_latest(TARGET)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(CheckpointError, match=r"step 2 could not .* 100 KiB free.* step 1 is"):
            checkpoints.save(2, {"x": jnp.zeros((3, 5))}, {})
        monkeypatch.undo()
        checkpoints.save(2, {"x": jnp.zeros((3, 5))}, {})  # once there is room again
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]


FAILING = """
import os, resource, sys
import jax.numpy as jnp
from dpl_jax.runs.checkpoints import Checkpoints, load
from dpl_jax.errors import CheckpointError
os.chdir(sys.argv[1])
state = {"x": jnp.arange(300_000.0)}
checkpoints = Checkpoints("c")
checkpoints.save(1, state, {})
checkpoints.wait()
if sys.argv[2] == "full":  # no file may grow beyond 100 kB
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
else:
    os.chmod("c", 0o555)
    if os.geteuid() == 0:
        os.setgid(65534), os.setuid(65534)
try:
    checkpoints.save(2, state, {})
    checkpoints.wait()
except CheckpointError as error:
    print("ERROR", error)
checkpoints.close()
print("LEFT", os.listdir("c"))
if sys.argv[2] == "full":
    print("GOOD", load("c").step)
"""


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_save_that_fails_ends_soon_and_leaves_the_one_before(how):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        process = run_python(FAILING, folder, how)
        output, _ = process.communicate(timeout=120)  # Orbax alone would wait for many minutes
        assert process.returncode == 0, output
        assert load(Path(folder) / "c").step == 1
    (line,) = (line for line in output.splitlines() if line.startswith("ERROR"))
    assert "step 2 could not be saved" in line
    assert "That of step 1 is whole" in line
    assert "LEFT ['1']" in output


def test_a_folder_that_vanishes_is_one_clear_error(tmp_path):
    with Checkpoints(tmp_path / "c") as checkpoints:
        shutil.rmtree(tmp_path / "c")
        with pytest.raises(CheckpointError, match=r"step 1 could not be saved .*untouched"):
            checkpoints.save(1, {"x": np.zeros(3)}, {})


def test_a_failed_save_does_not_hide_the_error_that_ended_the_run(tmp_path, caplog, monkeypatch):
    def fail(self):
        raise CheckpointError("step 1 could not be saved")

    with pytest.raises(KeyError), Checkpoints(tmp_path) as checkpoints:
        monkeypatch.setattr(Checkpoints, "wait", fail)
        raise KeyError
    assert "step 1 could not be saved" in caplog.text
    with pytest.raises(CheckpointError):
        checkpoints.close()


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        Checkpoints(tmp_path / "file" / "checkpoints")


SAVING = """
import sys
import numpy as np
from dpl_jax.runs.checkpoints import Checkpoints
with Checkpoints(sys.argv[1]) as checkpoints:
    restored = checkpoints.restore_latest({"x": np.zeros((50, 1000))})
    step = restored.step if restored else 0
    print(step, flush=True)
    while True:
        step += 1
        checkpoints.save(step, {"x": np.full((50, 1000), float(step))}, {"epoch": step})
"""


def steps(folder):
    return [int(name) for name in os.listdir(folder) if name.isdecimal()]


def test_a_run_killed_while_it_saves_has_a_whole_checkpoint(tmp_path, caplog):
    rng, before = random.Random(0), 0
    for _ in range(3):
        with run_python(SAVING, tmp_path) as process:
            assert int(process.stdout.readline()) == before
            while not any(step > before for step in steps(tmp_path)):
                time.sleep(0.01)
            time.sleep(rng.uniform(0.0, 0.4))
            process.send_signal(signal.SIGKILL)
        found = load(tmp_path)
        assert found.step == found.metadata["epoch"] > before
        assert_same(found.tree, {"x": np.full((50, 1000), float(found.step))})
        before = found.step
    assert not caplog.records  # what a kill leaves is no checkpoint, and never taken for one
    Checkpoints(tmp_path).close()
    assert all(name.isdecimal() for name in os.listdir(tmp_path))
