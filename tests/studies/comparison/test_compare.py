"""A comparison's numbers against the same runs by themselves, through the launchers' functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict

from dpl_jax.errors import ConfigError, RunFolderError
from dpl_jax.evaluate import evaluate
from dpl_jax.files.json import read_json
from dpl_jax.prompts.lengths_file import prompt_tokens
from dpl_jax.search import search
from dpl_jax.studies.comparison.catalogue import SEARCHED, catalogue, choose, search_settings
from dpl_jax.studies.comparison.compare import compare
from dpl_jax.train import train

SEED = 2
ONE_IMAGE = 1 / 540 + 1e-9


def found(comparison: Path, method: str, seed: int = SEED) -> dict[str, Any]:
    return read_json(comparison / "compare.json")["methods"][method]["seeds"][str(seed)]


def alone(config: ConfigDict, **train_settings: Any) -> ConfigDict:
    config = config.copy_and_resolve_references()
    config.seed = SEED
    config.train.update(train_settings)
    return config


@pytest.fixture(scope="module")
def searched(config: ConfigDict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return search(alone(config), tmp_path_factory.mktemp("search"))


def assert_same(comparison: Path, method: str, run: Path) -> None:
    result = evaluate(run)["dpl"]
    for field in ("accuracy", "macro_f1", "calibration_error"):
        assert found(comparison, method)[field] == pytest.approx(result[field], abs=5 * ONE_IMAGE)
    assert found(comparison, method)["accuracy"] == pytest.approx(result["accuracy"], abs=ONE_IMAGE)


@pytest.mark.parametrize(
    ("method", "settings"),
    [("dpl", {}), ("dpl_inherit", {"start": "supernet"}), ("mixture", {"final": "mixture"})],
)
def test_a_searched_method_is_the_run_alone(
    method: str,
    settings: dict[str, Any],
    comparison: Path,
    searched: Path,
    config: ConfigDict,
    tmp_path: Path,
) -> None:
    lengths = searched / "configuration.json"
    run = train(alone(config, **settings), lengths, tmp_path / "run")
    assert_same(comparison, method, run)
    assert found(comparison, method)["lengths"] == read_json(lengths)["lengths"]


def test_a_mixture_changes_its_prompts_and_keeps_its_alphas(
    searched: Path, config: ConfigDict, tmp_path: Path
) -> None:
    from dpl_jax.runs import checkpoints

    before = checkpoints.load(searched).tree["params"]
    after = {}
    for alphas in ("frozen", "learned"):
        own = alone(config, final="mixture", alphas=alphas)
        run = train(own, searched / "configuration.json", tmp_path / alphas)
        after[alphas] = checkpoints.load(run).tree["params"]
        assert np.abs(after[alphas]["prompts"]["text"] - before["prompts"]["text"]).max() > 1e-4
    np.testing.assert_array_equal(after["frozen"]["alphas"]["image"], before["alphas"]["image"])
    moved = np.abs(after["learned"]["alphas"]["image"] - before["alphas"]["image"])
    assert moved.max() > 1e-3


def test_the_mixture_needs_a_search(config: ConfigDict, tmp_path: Path) -> None:
    file = tmp_path / "lengths.json"
    file.write_text(json.dumps({"image": [1, 0, 2], "text": [1, 1]}))
    with pytest.raises(ConfigError, match="--search=RUN"):
        train(alone(config, final="mixture"), file, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_hand_set_lengths_get_the_whole_budget(
    comparison: Path, config: ConfigDict, tmp_path: Path
) -> None:
    file = tmp_path / "lengths.json"
    file.write_text(json.dumps({"image": [1, 1, 1], "text": [1, 1]}))
    epochs = config.search.epochs + config.train.epochs
    assert_same(
        comparison, "uniform_1", train(alone(config, epochs=epochs), file, tmp_path / "run")
    )
    assert read_json(comparison / "compare.json")["epochs"] == epochs
    assert found(comparison, "uniform_1")["prompt_tokens"] == 5
    assert found(comparison, "uniform_1")["parameters"] == 3 * 24 + 2 * 16


def test_random_lengths_cost_as_much_as_searched_ones(comparison: Path) -> None:
    for seed in (1, 2):
        drawn, dpl = found(comparison, "random", seed), found(comparison, "dpl", seed)
        assert prompt_tokens(drawn["lengths"]) == drawn["prompt_tokens"] == dpl["prompt_tokens"]


def test_zero_shot_does_not_depend_on_the_seed(comparison: Path) -> None:
    scores = [found(comparison, "zero_shot", seed) for seed in (1, 2)]
    assert scores[0] == scores[1]
    assert scores[0]["images"] == 540 and scores[0]["parameters"] == 0


def test_what_is_finished_is_not_run_again(comparison: Path, config: ConfigDict) -> None:
    files = {path: path.read_bytes() for path in comparison.glob("*.json")}
    stamps = {path: path.stat().st_mtime_ns for path in comparison.glob("*-seconds.json")}
    more = config.copy_and_resolve_references()
    more.compare.methods = "supernet"
    compare(more, comparison)
    for path, content in files.items():
        if path.name not in ("compare.json", "config.json"):
            assert path.read_bytes() == content
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert "supernet" in read_json(comparison / "compare.json")["methods"]
    assert "coop" in read_json(comparison / "compare.json")["methods"]
    for suffix, start in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        assert (comparison / f"compare{suffix}").read_bytes().startswith(start)


def test_another_seed_is_another_comparison(comparison: Path, config: ConfigDict) -> None:
    other = config.copy_and_resolve_references()
    other.compare.seeds = (1, 3)
    with pytest.raises(RunFolderError, match=r"compare\.seeds"):
        compare(other, comparison)


def test_names_are_checked(config: ConfigDict, clip: Any) -> None:
    known = catalogue(config, clip.sizes)
    assert list(choose("coop", known)) == ["coop", "dpl"]
    assert choose("", known) == known
    with pytest.raises(ConfigError, match=r"'colour'.*zero_shot.*mixture"):
        choose("colour,coop", known)


def test_methods_of_equal_searches_share_one() -> None:
    names = [name for name, entry in SEARCHED.items() if not search_settings(entry)]
    assert {"dpl", "dpl_perturbation", "mixture", "supernet", "discretised"} <= set(names)
    assert "dpl_temperature" not in names
