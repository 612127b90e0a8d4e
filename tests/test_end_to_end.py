"""The real commands on the real task: search, train, evaluate, resume, and what can go wrong."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import digits
from dpl_jax.data.load import load_dataset
from dpl_jax.errors import CheckpointError, ConfigError, NumericsError, RunFolderError
from dpl_jax.evaluate import evaluate
from dpl_jax.inference.trained import load_trained
from dpl_jax.runs import checkpoints
from dpl_jax.search import search
from dpl_jax.train import train
from tests.support.repository import ROOT

LAYERS = {"image": 4, "text": 3}


def short_config(**fields) -> ConfigDict:
    config = digits.get_config("shots=2,seed=3")
    config.search.epochs = config.train.epochs = 2
    config.search.max_context_length = 3
    config.checkpoint.every_epochs = 1
    config.progress = "off"
    config.report = False
    config.update_from_flattened_dict(fields)
    return config


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    return search(short_config(), tmp_path_factory.mktemp("run") / "search")


@pytest.fixture(scope="module")
def trained(searched, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "train"
    return train(short_config(), searched / "configuration.json", folder)


def read(path):
    def refuse(name):
        raise AssertionError(f"{path} holds {name}")

    return json.loads(path.read_text(), parse_constant=refuse)


def assert_same_state(left, right):
    left, right = checkpoints.load(left), checkpoints.load(right)
    assert left.step == right.step and left.metadata == right.metadata
    assert jax.tree.structure(left.tree) == jax.tree.structure(right.tree)
    for one, other in zip(jax.tree.leaves(left.tree), jax.tree.leaves(right.tree), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def test_a_search_writes_what_it_found(searched):
    configuration = read(searched / "configuration.json")
    tree = checkpoints.load(searched).tree
    for tower, layers in LAYERS.items():
        alpha = tree["params"]["alphas"][tower]
        assert alpha.shape == (layers, 4)
        assert configuration["lengths"][tower] == alpha.argmax(axis=1).tolist()
        weights = np.exp(alpha) / np.exp(alpha).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(configuration["confidence"][tower], weights.max(1), rtol=1e-5)
    rows = [json.loads(line) for line in (searched / "metrics.jsonl").read_text().splitlines()]
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 5), (2, 10)]
    assert rows[1]["train_loss"] < rows[0]["train_loss"]


def test_a_checkpoint_holds_everything(searched):
    tree = checkpoints.load(searched).tree
    assert {"step", "rng", "params", "optimizer"} <= tree.keys()
    optimizers = tree["optimizer"]["inner_states"]
    assert optimizers.keys() == {"alphas", "prompts"}
    counts = {name: leaf for name, leaf in _named(tree["optimizer"]) if name.endswith("count")}
    assert counts and all(count == 10 for count in counts.values())


def _named(tree):
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        yield jax.tree_util.keystr(path, simple=True, separator="/"), leaf


@pytest.mark.parametrize("run", ["searched", "trained"])
def test_results_say_where_they_come_from(run, request):
    results = read(request.getfixturevalue(run) / "results.json")
    assert results["dataset"] == "digits" and results["shots"] == 2 and results["seed"] == 3
    assert results["template"].count("{}") == 1
    assert results["sampled_files"]["train"]["images"] == 20
    assert len(results["sampled_files"]["train"]["sha256"]) == 64
    assert len(results["clip"]["sha256"]) == 64
    assert {"jax", "flax", "optax", "python", "dpl_jax"} <= results["versions"].keys()
    assert results["transform"]["crop"] == 32


def test_evaluation_adds_the_test_split_once_and_is_right(trained):
    before = read(trained / "results.json")
    result = evaluate(trained)
    after = read(trained / "results.json")
    assert after == before | {"evaluations": {"test": result}}
    assert result["images"] == 540
    for method in ("zero_shot", "dpl"):
        per_class = result[method]["per_class"]
        assert len(per_class) == 10 and 0 < result[method]["accuracy"] < 1
    assert result["dpl"]["accuracy"] != result["zero_shot"]["accuracy"]
    assert evaluate(trained) == result


def test_the_test_images_were_not_trained_on(trained):
    sampled = read(trained / "sampled.json")
    used = {name for name, *_ in sampled["train"] + sampled["val"]}
    trained_config = load_trained(trained).config
    from dpl_jax.data.load import load_dataset

    assert not used & {item.name for item in load_dataset(trained_config.data).test}
    assert not {row[0] for row in sampled["train"]} & {row[0] for row in sampled["val"]}


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("stage", ["search", "train"])
def test_a_stopped_run_ends_as_if_it_had_not_stopped(
    stage, searched, trained, tmp_path, monkeypatch
):
    def start():
        if stage == "search":
            return search(short_config(), tmp_path)
        return train(short_config(), searched / "configuration.json", tmp_path)

    save = checkpoints.Checkpoints.save

    def stop_after_saving(self, step, tree, metadata):
        save(self, step, tree, metadata)
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Checkpoints, "save", stop_after_saving)
        with pytest.raises(StoppedError):
            start()
    assert not (tmp_path / "results.json").exists()
    start()
    whole = searched if stage == "search" else trained
    assert_same_state(whole, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    configuration = (tmp_path / "configuration.json").read_bytes()
    assert configuration == (whole / "configuration.json").read_bytes()


def test_a_finished_search_started_again_changes_nothing(searched):
    names = ("results.json", "metrics.jsonl", "configuration.json")
    before = {name: (searched / name).read_bytes() for name in names}
    search(short_config(), searched)
    assert before == {name: (searched / name).read_bytes() for name in names}


def test_a_finished_training_started_again_keeps_its_evaluations(searched, trained):
    evaluate(trained)
    before = (trained / "results.json").read_bytes()
    train(short_config(), searched / "configuration.json", trained)
    assert (trained / "results.json").read_bytes() == before
    (trained / "results.json").write_text("{")  # damaged by whatever
    train(short_config(), searched / "configuration.json", trained)
    assert read(trained / "results.json")["kind"] == "train"


def test_numbers_that_go_wrong_stop_the_run_and_name_the_step(tmp_path):
    wrong = short_config(**{"search.prompts.warmup_rate": 1e38})
    with pytest.raises(NumericsError, match=r"Step 2 .* not finite"):
        search(wrong, tmp_path)
    assert not (tmp_path / "results.json").exists()
    assert not (tmp_path / "configuration.json").exists()


def test_a_setting_that_is_not_finite_is_refused(tmp_path):
    wrong = short_config(**{"search.alphas.learning_rate": float("inf")})
    with pytest.raises(ConfigError, match=r"search.alphas.learning_rate is inf"):
        search(wrong, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_lengths_by_hand(tmp_path):
    lengths = {"image": [0, 0, 0, 0], "text": [0, 2, 0]}
    (tmp_path / "lengths.json").write_text(json.dumps(lengths))
    config = short_config(**{"train.epochs": 1})
    run = train(config, tmp_path / "lengths.json", tmp_path / "run")
    tree = checkpoints.load(run).tree
    assert tree["params"]["prompts"]["image"].shape == (4, 0, 128)
    assert tree["params"]["prompts"]["text"].shape[:2] == (3, 2)
    assert evaluate(run, "val")["images"] == 20
    (tmp_path / "lengths.json").write_text(json.dumps(lengths | {"text": [0, 0, 2]}))
    with pytest.raises(ConfigError, match="other prompt lengths"):
        train(config, tmp_path / "lengths.json", run)


@pytest.mark.parametrize(
    "contents",
    ['{"image": [1, 1], "text": [1, 1, 1]}', '{"image": [1, 1, 1, -1], "text": [1, 1, 1]}', "[]"],
)
def test_lengths_that_do_not_fit(contents, tmp_path):
    (tmp_path / "lengths.json").write_text(contents)
    with pytest.raises(ConfigError, match="one for each layer"):
        train(short_config(), tmp_path / "lengths.json", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_of_another_run_is_refused(searched, tmp_path):
    with pytest.raises(RunFolderError, match=r"search.max_context_length: 3 .* 2 now"):
        search(short_config(**{"search.max_context_length": 2}), searched)
    with pytest.raises(RunFolderError, match=r"has not finished|no run folder"):
        evaluate(tmp_path)
    with pytest.raises(ConfigError, match="--split"):
        evaluate(searched, "testing")


def test_a_checkpoint_of_other_shapes_is_refused(searched, tmp_path):
    other = short_config(**{"search.max_context_length": 2})
    stopped = tmp_path / "run"
    search(other, stopped)
    target = checkpoints.load(searched).tree
    with (
        pytest.raises(CheckpointError, match=r"alphas/image is float32\[4, 3\]"),
        checkpoints.Checkpoints(stopped / "checkpoints") as opened,
    ):
        opened.restore_latest(target)


def launch(*arguments):
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config.search.epoch=2"], "no field 'epoch'; did you mean 'epochs'"),
        (["--config.search.T=2"], "no field 'T'; see dpl_jax/config.py"),
        (["--config.search.max_context_length=0"], "must be at least 1"),
        (["--config.data.name=nothing"], "'nothing'; known are"),
        (["--config.data.shots=500"], "500 shots were asked for"),
        (["--config.clip.path=/no/such/folder"], "There is no folder /no/such/folder"),
    ],
)
def test_a_users_mistake_is_one_message(flags, message, tmp_path):
    command = ["launch/search.py", "--config=configs/digits.py", *flags]
    done = launch(*command, f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 1
    assert message in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1
    assert not (tmp_path / "run").exists()


def test_the_three_commands(tmp_path):
    config = ["--config=configs/digits.py:shots=1", "--config.search.epochs=1"]
    config += ["--config.train.epochs=1", "--config.search.max_context_length=2"]
    run, run2 = f"{tmp_path}/RUN", f"{tmp_path}/RUN2"
    done = launch("launch/search.py", *config, f"--workdir={run}")
    assert done.returncode == 0, done.stderr
    assert "search 1/1" in done.stderr and "alpha confidence" in done.stderr
    done = launch("launch/train.py", *config, f"--search={run}", f"--workdir={run2}")
    assert done.returncode == 0, done.stderr
    done = launch("launch/evaluate.py", f"--run={run2}")
    assert done.returncode == 0, done.stderr
    assert "zero-shot" in done.stdout and "DPL" in done.stdout
    accuracy = read(Path(run2) / "results.json")["evaluations"]["test"]["dpl"]["accuracy"]
    assert f"{100 * accuracy:.2f}" in done.stdout
    page = Path(run2) / "report.html"
    assert f"Report: {page}" in done.stdout and f"{100 * accuracy:.2f}" in page.read_text()
    page.unlink()
    done = launch("launch/report.py", run2)
    assert done.returncode == 0, done.stderr
    assert f"Report: {page}" in done.stdout and f"{100 * accuracy:.2f}" in page.read_text()


def test_prompts_can_be_evaluated_on_other_classes(trained):
    other = digits.get_config("shots=2,seed=3,classes=new")
    result = evaluate(trained, "test", other)
    assert len(result["dpl"]["per_class"]) == 5
    evaluations = read(trained / "results.json")["evaluations"]
    assert evaluations["digits-new-test"] == result


def test_a_dataset_of_test_images_alone_can_be_a_target(trained, monkeypatch):
    """As ImageNet's variants are; there is nothing to draw a few-shot sample from."""
    of_the_run = evaluate(trained)
    full = load_dataset(short_config().data)
    monkeypatch.setattr(
        "dpl_jax.runs.measured.load_dataset",
        lambda data: dataclasses.replace(full, name="variant", train=(), val=()),
    )
    other = short_config()
    other.data.source = "tfds"  # not that of the run
    found = evaluate(trained, other=other)
    assert found["dpl"] == of_the_run["dpl"]
    assert found["sha256"] == of_the_run["sha256"]
    assert "variant-all-test" in read(trained / "results.json")["evaluations"]
