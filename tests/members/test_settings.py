"""An ablation and a comparison obey every setting of both stages, as the runs alone do."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from dpl_jax import config as base
from dpl_jax.evaluate import evaluate
from dpl_jax.files.json import read_json
from dpl_jax.members.groups import Grouping, member_mesh
from dpl_jax.members.states import Member, cut_supernet
from dpl_jax.runs import checkpoints
from dpl_jax.search import search
from dpl_jax.studies.ablation import ablate
from dpl_jax.studies.comparison.compare import compare
from dpl_jax.train import train

# Every setting of a stage with another value than its default; one that is new needs a line here.
SEARCH: dict[str, Any] = {
    "max_context_length": 2,
    "epochs": 2,
    "batch_size": 5,
    "val_batch_size": 3,
    "prompt_scale.image": 0.3,
    "prompt_scale.text": 0.2,
    "prompts.learning_rate": 0.02,
    "prompts.momentum": 0.5,
    "prompts.weight_decay": 0.01,
    "prompts.schedule": "constant",
    "prompts.warmup_epochs": 0,
    "alphas.name": "sgd",
    "alphas.learning_rate": 0.5,
    "alphas.momentum": 0.6,
    "alphas.weight_decay": 0.01,
    "distillation": 0.3,
    "selection": "perturbation",
    "final_temperature": 0.2,
    "entropy": 0.1,
    "budget": 0.05,
}
TRAIN: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 3,
    "prompts.learning_rate": 0.03,
    "prompts.momentum": 0.4,
    "prompts.weight_decay": 0.02,
    "prompts.warmup_epochs": 2,
    "prompts.warmup_rate": 0.01,
    "distillation": 0.2,
}
DATA = {"shots": 2, "classes": "base", "template": "the {}.", "augment": "crop_flip"}
FINALS: dict[str, dict[str, Any]] = {
    "from the supernet": {"start": "supernet"},
    "mixture": {
        "final": "mixture",
        "alphas": "learned",
        "alpha_optimizer.name": "sgd",
        "alpha_optimizer.learning_rate": 0.3,
        "alpha_optimizer.momentum": 0.5,
        "alpha_optimizer.weight_decay": 0.01,
    },
}
# What has no influence with the settings above: test_members has other values of these.
ELSEWHERE = {"search.alphas.b1", "search.alphas.b2", "train.prompt_scale"}
NEUTRAL = {
    "search.second_order": "part of the same step as the others, and slow to compile",
    "search.prompts.warmup_rate": "no epoch is one of warm-up",
    "train.prompts.schedule": "all epochs are warm-up",
    "train.alpha_optimizer.b1": "of Adam, as in the search",
    "train.alpha_optimizer.b2": "of Adam, as in the search",
}
WHOLE, CUT = Member(2, 1), Member(1, 1)


def make_config(clip_folder: Path, final: str) -> ConfigDict:
    config = base.get_config()
    config.clip.path, config.progress, config.report = str(clip_folder), "off", False
    config.data.update(DATA)
    config.search.update_from_flattened_dict(SEARCH)
    config.train.update_from_flattened_dict(TRAIN | FINALS[final])
    config.ablate.max_context_length, config.ablate.seeds = (2, 1), (1,)
    config.compare.methods, config.compare.seeds = "random", (1, 2)
    return config


@pytest.fixture(scope="module", autouse=True)
def one_group() -> Any:
    """Ablation and comparison in groups of two, so that they share their compiled programs."""
    with pytest.MonkeyPatch.context() as patch:
        grouping = Grouping(2, member_mesh(jax.devices()[:1]))
        for module in ("dpl_jax.studies.ablation", "dpl_jax.studies.comparison.stages"):
            patch.setattr(f"{module}.group_members", lambda *_: grouping)
        yield


@pytest.fixture(scope="module")
def searched(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = make_config(clip_folder, "mixture")
    config.search.max_context_length = CUT.max_context_length
    return search(config, tmp_path_factory.mktemp("search"))


@pytest.fixture(scope="module", params=FINALS)
def final(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def ablation(final: str, clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ablate(make_config(clip_folder, final), tmp_path_factory.mktemp("ablation"))


def test_a_member_of_an_ablation_is_the_run_alone(
    final: str, ablation: Path, searched: Path, clip_folder: Path, tmp_path: Path
) -> None:
    config = make_config(clip_folder, final)
    config.search.max_context_length = CUT.max_context_length
    run = train(config, searched / "configuration.json", tmp_path / "run")

    found = read_json(ablation / "ablation.json")["members"][1]
    assert (found["max_context_length"], found["seed"]) == CUT
    chosen = read_json(searched / "configuration.json")
    assert found["lengths"] == chosen["lengths"]
    for tower, confidence in chosen["confidence"].items():
        np.testing.assert_allclose(found["confidence"][tower], confidence, atol=1e-4)
    for method, folder in (("supernet", searched), ("dpl", run)):
        alone = evaluate(folder)["dpl"]["accuracy"]
        assert found[method]["accuracy"] == pytest.approx(alone, abs=1 / 200)
    expected = checkpoints.load(run).tree["params"]
    ours = checkpoints.load(ablation / "train-members-1-2").tree["params"]
    ours = jax.tree.map(lambda leaf: leaf[1], ours)
    if final == "mixture":
        ours = cut_supernet(ours, CUT.max_context_length)
        assert found["prompt_tokens"] == 5  # one row in each of 3 + 2 layers
    else:
        assert found["prompt_tokens"] == chosen["prompt_tokens"]
    for group, towers in expected.items():
        for tower, leaf in towers.items():
            rows = ours[group][tower][:, : leaf.shape[1]]
            np.testing.assert_allclose(rows, leaf, rtol=0, atol=1e-4)


def test_a_comparison_is_the_ablation(
    final: str, ablation: Path, clip_folder: Path, tmp_path: Path
) -> None:
    """Of DPL as configured; and lengths that nobody searched go on from no supernet."""
    if final != "mixture":
        pytest.skip("tests/studies/comparison has the other")
    member = read_json(ablation / "ablation.json")["members"][0]
    assert (member["max_context_length"], member["seed"]) == WHOLE
    run = compare(make_config(clip_folder, final), tmp_path / "comparison")
    methods = read_json(run / "compare.json")["methods"]
    ours = methods["dpl"]["seeds"]["1"]
    for field in ("lengths", "prompt_tokens"):
        assert ours[field] == member[field]
    assert ours["accuracy"] == pytest.approx(member["dpl"]["accuracy"], abs=1 / 200)
    random = methods["random"]["seeds"]["1"]
    assert random["prompt_tokens"] == sum(map(sum, member["lengths"].values()))


def test_every_setting_of_both_stages_is_among_those_compared() -> None:
    given = {f"search.{name}" for name in SEARCH}
    for final in FINALS.values():
        given |= {f"train.{name}" for name in (*TRAIN, *final)}
    for name in given:
        assert name.split(".")[0] in ("search", "train")
    default = flatten_dict(base.get_config().to_dict(), sep=".")
    fields = {name for name in default if name.startswith(("search.", "train."))}
    assert fields == given | ELSEWHERE | set(NEUTRAL)
    for name, value in SEARCH.items():
        assert value != default[f"search.{name}"]
    for settings in (TRAIN, *FINALS.values()):
        for name, value in settings.items():
            assert value != default[f"train.{name}"]
