"""The main job on real photos, short: the tiny CLIP knows no objects, so accuracies stay low."""

import importlib.util
import json
from pathlib import Path

import pytest

from dpl_jax.data.load import load_dataset, sample
from dpl_jax.data.split import list_hash
from dpl_jax.evaluate import evaluate
from dpl_jax.search import search
from dpl_jax.train import train

CONFIG = Path(__file__).parents[2] / "configs" / "caltech101.py"


@pytest.fixture(scope="module")
def config(data_root):
    spec = importlib.util.spec_from_file_location("caltech101", CONFIG)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config("shots=1,seed=3,T=1,clip=tiny")
    config.update_from_flattened_dict(
        {
            "data.root": str(data_root),
            "search.epochs": 1,
            "search.batch_size": 50,
            "search.val_batch_size": 50,
            "train.epochs": 1,
            "train.batch_size": 50,
            "progress": "off",
            "report": False,
        }
    )
    return config


def test_search_train_and_evaluate_run_on_real_photos(config, tmp_path):
    found = Path(search(config, str(tmp_path / "search")))
    lengths = found / "configuration.json"
    run = Path(train(config, lengths, str(tmp_path / "train")))
    result = evaluate(str(run), "test")
    assert result["images"] == 500
    for method in ("zero_shot", "dpl"):
        assert 0 <= result[method]["accuracy"] <= 0.5
    dataset = load_dataset(config.data)
    task = sample(dataset, config.data, seed=3)
    for folder in (found, run):
        record = json.loads((folder / "sampled.json").read_text())
        assert record["sha256"]["train"] == list_hash(task.train)
        assert record["sha256"]["test"] == list_hash(dataset.test)
        assert len(record["train"]) == 100
        assert record["split"] == "split_zhou_Caltech101.json"
