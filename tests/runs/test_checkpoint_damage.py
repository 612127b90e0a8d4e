"""Damaged checkpoints are found out, and never give wrong numbers."""

import json
import logging
import os
import random
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpl_jax.errors import CheckpointError
from dpl_jax.runs.checkpoints import Checkpoints, load
from tests.runs.test_checkpoints import TARGET, assert_same, save


def largest(folder):
    return max(
        (path for path in folder.rglob("*") if path.is_file()), key=lambda p: p.stat().st_size
    )


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


def edit_metadata(folder):
    """Another epoch, in otherwise perfect JSON."""
    path = folder / "_CHECKPOINT_METADATA"
    contents = json.loads(path.read_text())
    contents["custom_metadata"]["dpl_jax"]["metadata"]["epoch"] += 1
    path.write_text(json.dumps(contents))


DAMAGE = {
    "flipped byte": lambda folder: flip(largest(folder), 1000),
    "truncated array": lambda folder: os.truncate(largest(folder), 1000),
    "no array": lambda folder: largest(folder).unlink(),
    "empty manifest": lambda folder: os.truncate(folder / "state" / "manifest.ocdbt", 0),
    "no manifest": lambda folder: (folder / "state" / "manifest.ocdbt").unlink(),
    "no arrays": lambda folder: shutil.rmtree(folder / "state"),
    "truncated metadata": lambda folder: os.truncate(folder / "_CHECKPOINT_METADATA", 200),
    "no metadata": lambda folder: (folder / "_CHECKPOINT_METADATA").unlink(),
    "no tree": lambda folder: os.truncate(folder / "state" / "_METADATA", 40),
    "another epoch": edit_metadata,
    "half-written": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
}


def big_state(number):
    numbers = np.random.default_rng(number).standard_normal((64, 64))
    return {"x": jnp.asarray(numbers, jnp.float32), "step": jnp.int32(number)}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_skipped_with_a_warning(tmp_path, caplog, capfd, damage):
    with Checkpoints(tmp_path) as checkpoints:
        for number in (10, 20):
            checkpoints.save(number, big_state(number), {"epoch": number // 10})
    DAMAGE[damage](tmp_path / "20")
    with caplog.at_level(logging.WARNING), Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore_latest(big_state(0))
        assert (restored.step, restored.metadata) == (10, {"epoch": 1})
        assert_same(restored.tree, big_state(10))
        checkpoints.save(20, big_state(20), {"epoch": 2})  # the run comes to step 20 again
    assert [record.name for record in caplog.records] == ["dpl_jax.runs.checkpoints"]
    assert f"{tmp_path / '20'} is damaged: skipped" in caplog.text
    assert len(caplog.text) < 800
    assert sorted(os.listdir(tmp_path)) == ["10", "20", "20.damaged"]
    assert_same(load(tmp_path).tree, jax.tree.map(np.asarray, big_state(20)))
    assert capfd.readouterr() == ("", "")


def test_old_checkpoints_whose_removal_was_cut_short_are_removed(tmp_path, caplog):
    with Checkpoints(tmp_path, keep=3) as checkpoints:
        for number in (10, 20, 30):
            checkpoints.save(number, big_state(number), {"epoch": number // 10})
    DAMAGE["no metadata"](tmp_path / "10")
    with caplog.at_level(logging.WARNING), Checkpoints(tmp_path, keep=2) as checkpoints:
        assert checkpoints.restore_latest(big_state(0)).step == 30
    assert sorted(os.listdir(tmp_path)) == ["20", "30"]
    assert not caplog.records


def test_random_damage_never_gives_wrong_numbers(tmp_path, caplog):
    save(tmp_path, 1, tree=big_state(1))
    expected, rng = jax.tree.map(np.asarray, big_state(1)), random.Random(0)
    files = sorted(path for path in (tmp_path / "1").rglob("*") if path.stat().st_size)
    files = [path for path in files if path.is_file()]
    outcomes = set()
    for _ in range(60):
        path = rng.choice(files)
        whole = path.read_bytes()
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 20])):
            damaged[rng.randrange(len(whole))] = rng.randrange(256)
        path.write_bytes(damaged[: rng.choice([len(whole), rng.randrange(len(whole))])])
        try:
            found = load(tmp_path)
            assert (found.step, found.metadata) == (1, {"epoch": 1})
            assert_same(found.tree, expected)
            outcomes.add("harmless")
        except CheckpointError:
            outcomes.add("found out")
        path.write_bytes(whole)
    assert outcomes == {"harmless", "found out"}


def test_with_no_good_checkpoint_there_is_one_clear_error(tmp_path):
    save(tmp_path, 1, 2)
    for number in ("1", "2"):
        os.truncate(tmp_path / number / "_CHECKPOINT_METADATA", 10)
    with pytest.raises(CheckpointError) as error, Checkpoints(tmp_path) as checkpoints:
        checkpoints.restore_latest(TARGET)
    assert "No checkpoint in" in str(error.value)
    assert "step 2: " in str(error.value)
    assert "step 1: " in str(error.value)
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]


def test_a_renamed_checkpoint_is_found_out(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "1").rename(tmp_path / "7")
    with pytest.raises(CheckpointError, match="it is that of step 1, renamed"):
        load(tmp_path / "7")
