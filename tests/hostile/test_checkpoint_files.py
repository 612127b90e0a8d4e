"""Every file that Orbax reads of a checkpoint has a known name, a limit and a checksum."""

import json
import os
import tracemalloc

import jax.numpy as jnp
import pytest
from orbax.checkpoint import v1 as ocp

from dpl_jax.errors import CheckpointError
from dpl_jax.runs.checkpoints import Checkpoints, load

PADDING = 6_000_000
NOTES = ("_CHECKPOINT_METADATA", "state/_METADATA")
STATE = {"a": {"x": jnp.ones((3, 2)), "it's": jnp.zeros((2,))}, "empty": jnp.zeros((0, 3))}


@pytest.fixture
def checkpoint(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, STATE, {"epoch": 1})
    return tmp_path / "1"


@pytest.fixture
def unread(monkeypatch):
    """Fails the test where Orbax is let near the checkpoint."""
    monkeypatch.setattr(ocp, "load", lambda *_, **__: pytest.fail("Orbax read it"))


def changed(path, change):
    contents = json.loads(path.read_text())
    change(contents)
    path.write_text(json.dumps(contents))


@pytest.mark.parametrize("name", [*NOTES, "commit_success.txt", "state/manifest.ocdbt"])
def test_padding_costs_no_memory(checkpoint, unread, name):
    with (checkpoint / name).open("ab") as file:
        file.write(b" " * PADDING)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="larger than"):
        load(checkpoint)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < PADDING


@pytest.mark.parametrize("name", NOTES)
def test_padding_within_the_json_is_found_out(checkpoint, unread, name):
    changed(checkpoint / name, lambda contents: contents.update(metrics=["x" * 30_000]))
    with pytest.raises(CheckpointError, match=r"larger than|more than the manifest"):
        load(checkpoint)


@pytest.mark.parametrize(
    "name",
    [
        "_METADATA",
        "metrics/metrics",
        "state/.zarray",
        "state/_sharding",
        "state/array_metadatas/process_0",
        "state/d/descriptor.json",
        "other/_METADATA",
    ],
)
def test_a_file_of_another_name_is_refused(checkpoint, unread, name):
    (checkpoint / name).parent.mkdir(exist_ok=True)
    (checkpoint / name).write_text("{}")
    with pytest.raises(CheckpointError, match="no checkpoint of dpl_jax has"):
        load(checkpoint)


@pytest.mark.parametrize("name", [*NOTES, "state/manifest.ocdbt", "state/d"])
def test_a_link_in_a_checkpoint_is_not_followed(checkpoint, unread, tmp_path, name):
    (checkpoint / name).rename(tmp_path / "elsewhere")
    (checkpoint / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="is a link"):
        load(checkpoint)


def test_a_pipe_in_a_checkpoint_is_not_waited_for(checkpoint, unread):
    (checkpoint / "state" / "manifest.ocdbt").unlink()
    os.mkfifo(checkpoint / "state" / "manifest.ocdbt")
    with pytest.raises(CheckpointError, match="not a regular file"):
        load(checkpoint)


def test_the_tree_is_that_of_the_manifest(checkpoint, unread):
    tree = checkpoint / "state" / "_METADATA"
    changed(tree, lambda contents: contents["tree_metadata"].pop("('a', 'x')"))
    with pytest.raises(CheckpointError, match="tells of other arrays than the manifest"):
        load(checkpoint)


def test_what_desktops_and_network_disks_leave_does_no_harm(checkpoint):
    (checkpoint / "state" / ".nfs0000001").touch()
    (checkpoint / ".DS_Store").write_text("x")
    assert (load(checkpoint).tree["a"]["x"] == 1).all()


def test_metadata_that_could_not_be_read_again_are_not_saved(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, STATE, {"epoch": 1})
        with pytest.raises(CheckpointError, match="metadata take more than 4 MiB"):
            checkpoints.save(2, STATE, {"text": "x" * (4 << 20)})
    assert load(tmp_path).step == 1
