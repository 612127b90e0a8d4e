"""One, two, four and eight devices do the same; what each holds, and what they exchange.

The devices are those of a CPU, in one process that this file starts once.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from dpl_jax.errors import ConfigError
from dpl_jax.runs import checkpoints
from dpl_jax.runtime.mesh import data_mesh, over_devices
from dpl_jax.training import memory
from tests.support.repository import ROOT

COLLECTIVE = re.compile(r"= (.*?) (all-\w+|collective-\w+|reduce-scatter|ragged-\S+)\(")
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("devices")
    script = Path(__file__).with_name("on_eight_devices.py")
    subprocess.run(
        [sys.executable, str(script), str(folder)],
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "8", "PYTHONPATH": str(ROOT)},
        check=True,
    )
    return folder


@pytest.fixture(scope="module")
def gradients(found: Path) -> dict[str, list[np.ndarray]]:
    """On one device and on eight: loss, accuracy, then gradients of alphas and prompts."""
    stored = np.load(found / "gradients.npz")
    leaves: dict[str, list[np.ndarray]] = {}
    for name in stored.files:
        leaves.setdefault(name.rpartition("/")[0], []).append(stored[name])
    return leaves


@pytest.fixture(scope="module")
def many(found: Path) -> dict[str, dict[str, Any]]:
    read: dict[str, dict[str, Any]] = json.loads((found / "many.json").read_text())
    return read


def test_loss_accuracy_and_gradients_do_not_depend_on_the_devices(
    gradients: dict[str, list[np.ndarray]],
) -> None:
    """Of 7 classes, in two parts one after the other, and of 3 images, on eight devices."""
    loss, accuracy, *slopes = gradients["one"]
    assert gradients["eight"][0] == pytest.approx(loss, rel=TOLERANCE)
    assert gradients["eight"][1] == accuracy
    assert len(slopes) == 4  # alphas and prompts of two towers
    for one, eight in zip(slopes, gradients["eight"][2:], strict=True):
        assert np.abs(one).max() > 1e-4
        np.testing.assert_allclose(eight, one, rtol=0, atol=TOLERANCE * np.abs(one).max())


def assert_same_run(left: Path, right: Path) -> None:
    one, other = checkpoints.load(left), checkpoints.load(right)
    assert one.step == other.step
    pairs = zip(jax.tree.leaves(one.tree), jax.tree.leaves(other.tree), strict=True)
    for ours, theirs in pairs:
        tolerance = TOLERANCE * np.abs(ours).max(initial=1e-6)
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=tolerance)


def test_a_search_moved_from_four_devices_to_two_to_one_goes_on_as_if_on_one(found: Path) -> None:
    assert_same_run(found / "search-one", found / "search-moved")
    rows = [read_metrics_of(found / name) for name in ("search-one", "search-moved")]
    assert [row["step"] for row in rows[1]] == [6, 12, 18]
    for one, other in zip(*rows, strict=True):
        assert one["lengths"] == other["lengths"]
        for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):
            assert other[name] == pytest.approx(one[name], rel=TOLERANCE)


def read_metrics_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_training_with_random_crops_is_the_same_on_eight_devices(found: Path) -> None:
    assert_same_run(found / "train-one", found / "train-eight")


def test_evaluation_is_the_same_on_eight_devices(found: Path) -> None:
    evaluations = json.loads((found / "evaluations.json").read_text())
    for method in ("zero_shot", "dpl"):
        one, eight = (evaluations[name][method] for name in ("one", "eight"))
        assert eight["accuracy"] == one["accuracy"] and eight["per_class"] == one["per_class"]
    logits = [np.load(found / f"train-{name}/predictions/test.npz") for name in ("one", "eight")]
    for name in logits[0].files:
        if name.startswith("logits"):
            np.testing.assert_allclose(logits[1][name], logits[0][name], atol=1e-4)


def test_memory_of_a_device_falls_with_their_number(many: dict[str, dict[str, Any]]) -> None:
    used = {count: found["bytes"] for count, found in many.items()}
    assert used["8"] < 0.16 * used["1"]


def test_the_state_stays_whole_on_every_device(many: dict[str, dict[str, Any]]) -> None:
    assert all(found["whole"] for found in many.values())


def collectives(text: str) -> Iterator[tuple[str, str, list[tuple[int, ...]]]]:
    """(computation, kind, shapes) of each collective in an optimised program."""
    computation = ""
    for line in text.splitlines():
        if header := re.match(r"(?:ENTRY )?%?([\w.-]+) .*\{$", line):
            computation = header[1]
        if operation := COLLECTIVE.search(line):
            shapes = re.findall(r"\w+\[([\d,]*)\]", operation[1])
            sizes = [tuple(int(size) for size in shape.split(",") if size) for shape in shapes]
            yield computation, operation[2], sizes


def test_one_device_exchanges_nothing(many: dict[str, dict[str, Any]]) -> None:
    assert not list(collectives(many["1"]["text"]))


def test_a_step_exchanges_features_and_gradients_only(many: dict[str, dict[str, Any]]) -> None:
    """Twice, as a step has two halves: both towers' features, and gradients of the half's group."""
    exchanged = list(collectives(many["8"]["text"]))
    gathered = [shape for _, kind, shapes in exchanged if kind == "all-gather" for shape in shapes]
    reduced = [shape for _, kind, shapes in exchanged if kind == "all-reduce" for shape in shapes]
    assert {kind for _, kind, _ in exchanged} == {"all-gather", "all-reduce"}
    assert sorted(gathered) == [(8, 20)] * 2 + [(1000, 20)] * 2
    assert sorted(reduced) == [(4, 3), (4, 3), (4, 3, 24), (4, 3, 32)]


def test_nothing_is_exchanged_within_the_layers(many: dict[str, dict[str, Any]]) -> None:
    text = many["8"]["text"]
    assert len(re.findall(r"body=%?[\w.-]+", text)) >= 4  # both towers, forwards and backwards
    entry = re.findall(r"^ENTRY %?([\w.-]+)", text, re.MULTILINE)
    assert {computation for computation, _, _ in collectives(text)} == set(entry)


def test_one_device_leaves_the_program_as_it_is() -> None:
    seen: list[Any] = []

    def function(whole: Any, rows: Any) -> jax.Array:
        seen.append((whole, rows))
        return jax.numpy.zeros(3)

    whole, rows = object(), object()
    over_devices(function, whole, rows, None)
    assert seen[0][0] is whole and seen[0][1] is rows


def test_a_cpu_is_one_device_until_the_config_says_more() -> None:
    available = jax.local_device_count()
    assert available > 1  # set by conftest.py
    assert data_mesh(0) is None and data_mesh(1) is None
    mesh = data_mesh(2)
    assert mesh is not None and mesh.size == 2
    with pytest.raises(ConfigError, match=rf"devices is {available + 1}, and JAX sees {available}"):
        data_mesh(available + 1)


def test_the_memory_plan_counts_a_device_s_part() -> None:
    sizes = memory.StepSizes(5, 1001, text_tokens=9, prefix_tokens=3, prompt_rows=21)
    part = memory.on_each_device(sizes, data_mesh(2))
    assert (part.images, part.classes) == (3, 501)
    assert part._replace(images=5, classes=1001) == sizes
    assert memory.on_each_device(sizes, None) == sizes
