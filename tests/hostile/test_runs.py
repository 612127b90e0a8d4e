"""Run folders and checkpoints from strangers: claims, values and shapes that cannot be."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore as ts

from configs import digits
from dpl_jax.errors import CheckpointError, ConfigError, RunFolderError
from dpl_jax.files.json import write_json
from dpl_jax.inference.trained import load_trained
from dpl_jax.report.page import write_report
from dpl_jax.runs.checkpoints import Checkpoints, load
from dpl_jax.runs.config_files import load_shipped_config
from dpl_jax.runs.folder import open_run
from dpl_jax.runs.manifest import empty_arrays
from dpl_jax.runs.predictions import Predictions, save_predictions


def test_a_checkpoint_cannot_claim_more_numbers_than_it_stores():
    manifest = {"leaves": {"x": {"dtype": "<f4", "shape": [1 << 28]}}}
    with pytest.raises(ValueError, match="none of dpl_jax's"):
        empty_arrays(manifest, stored=1000)
    assert empty_arrays(manifest, stored=1 << 30)["x"].shape == (1 << 28,)


def test_a_checkpoint_cannot_claim_a_block_larger_than_all_it_stores(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"x": jnp.ones((8,))}, {})
    files = {"driver": "file", "path": f"{tmp_path / '1' / 'state'}/"}
    store = ts.KvStore.open({"driver": "ocdbt", "base": files}).result()
    (key,) = (key for key in store.list().result() if key.endswith(b"zarr.json"))
    described = json.loads(store.read(key).result().value)
    described["chunk_grid"]["configuration"]["chunk_shape"] = [1 << 40]
    store.write(key, json.dumps(described).encode()).result()
    with pytest.raises(CheckpointError, match="a block of 4194304 MiB is claimed"):
        load(tmp_path)


def run_with(folder: Path, tree: dict, results: dict) -> Path:
    """A run folder that says it has finished."""
    with open_run(folder, "train", digits.get_config()) as run:
        write_json(run.results, results)
        with Checkpoints(run.checkpoints) as checkpoints:
            checkpoints.save(1, tree, {})
    return folder


PAYLOAD = "import pathlib\npathlib.Path({mark!r}).touch()\ndef get_config(*_): raise SystemExit\n"


@pytest.mark.parametrize("name", ["../shared/payload", "payload", "digits", "configs/payload", ""])
@pytest.mark.parametrize("where", ["config.json", "predictions"])
def test_no_name_in_a_run_becomes_a_file_that_is_executed(tmp_path, monkeypatch, name, where):
    """Neither of a folder beside the run, nor of the folder that the reader works in."""
    mark = tmp_path / "executed"
    for folder in ("shared", "configs", "work", "work/configs", "work/shared"):
        (tmp_path / folder).mkdir(parents=True)
        for file in ("payload.py", "digits.py", "payload", "digits"):
            (tmp_path / folder / file).write_text(PAYLOAD.format(mark=str(mark)))
    monkeypatch.chdir(tmp_path / "work")
    config, run = digits.get_config(), tmp_path / "runs" / "shared" / "RUN"
    data = config.data.to_dict()
    if where == "config.json":
        config.data.name = name
    else:
        data["name"] = name
    open_run(run, "search", config).close()
    found = Predictions("digits", "test", data, ("a",), ("x",), np.zeros(1, int), {})
    save_predictions(run / "predictions" / "test.npz", found)
    if name == "digits":
        write_report(run)
    else:
        with pytest.raises(RunFolderError, match="not a known dataset"):
            write_report(run)
    assert not mark.exists()
    with pytest.raises(ConfigError, match="not a config that comes with dpl_jax"):
        load_shipped_config(f"../{name}")


TREES = {
    "nothing": {"x": np.zeros(3, np.float32)},
    "an array": {"params": np.zeros(3, np.float32)},
    "no prompts": {"params": {"alphas": {"image": np.zeros((4, 3), np.float32)}}},
    "no lengths": {"params": {"prompts": {"image": np.zeros((4, 1, 128), np.float32)}}},
    "other layers": {
        "params": {
            "prompts": {
                "image": np.zeros((9, 1, 128), np.float32),
                "text": np.zeros((3, 1, 96), np.float32),
            }
        },
        "lengths": {"image": np.ones(9, np.int32), "text": np.ones(3, np.int32)},
    },
}


@pytest.mark.parametrize("tree", TREES)
def test_a_checkpoint_without_prompts_of_the_clip_is_told(tmp_path, tree):
    run = run_with(tmp_path / "run", TREES[tree], {"kind": "train"})
    with pytest.raises(CheckpointError, match="holds no prompts for tiny"):
        load_trained(run)


@pytest.mark.parametrize(
    "results",
    [
        {"evaluations": {"test": {"images": "many", "dpl": {"accuracy": "high"}}}},
        {"evaluations": {"test": []}},
        {"evaluations": 7},
    ],
)
def test_values_that_a_report_cannot_show_are_one_error(tmp_path, results):
    run = run_with(tmp_path / "run", TREES["nothing"], {"kind": "train"} | results)
    with pytest.raises(RunFolderError, match="holds a value that the report cannot show"):
        write_report(run)
    assert not (run / "report.html").exists()
