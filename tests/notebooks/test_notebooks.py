"""The notebooks run from top to bottom, and say what the runs on disk say."""

import json
import os
import re
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import numpy as np
import pytest

from dpl_jax.runs import checkpoints
from tests.support.repository import ROOT

NOTEBOOKS = ["inspect_search", "inspect_prompts"]
SHORT = 'WORKDIR, SHOTS, EPOCHS, SEARCH_EPOCHS, IMAGES = "runs", 2, 2, 2, 2'
ANSWER = """
import json
from dpl_jax.evaluate import evaluate
from dpl_jax.files.json import to_json
print(json.dumps(to_json(QUESTION)))
"""
TOWERS = ("image", "text")
ABSOLUTE_PATH = re.compile(r"(?<![\w.~-])/(home|root|work|tmp|usr|opt|var|mnt|Users|private)/")


def read(name: str) -> Any:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the notebooks run; the second uses a search of the first."""
    return tmp_path_factory.mktemp("notebooks")


def run(name: str, folder: Path, question: str) -> Any:
    """Runs a notebook with short settings, and returns what ``question`` is at its end."""
    notebook = read(name)
    settings = [cell.metadata.get("tags") == ["parameters"] for cell in notebook.cells].index(True)
    notebook.cells.insert(settings + 1, nbformat.v4.new_code_cell(SHORT))
    notebook.cells.append(nbformat.v4.new_code_cell(ANSWER.replace("QUESTION", question)))
    resources = {"metadata": {"path": str(folder)}}
    with pytest.MonkeyPatch.context() as environment:
        path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment.setenv("PYTHONPATH", os.pathsep.join(path))
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):  # what the kernel writes
            environment.setenv(name, str(folder / name))
        client = nbclient.NotebookClient(
            notebook, timeout=600, kernel_name="python3", resources=resources
        )
        client.execute()  # raises where a cell does
    streams = [o for cell in notebook.cells for o in cell.get("outputs", []) if "name" in o]
    assert [o.text for o in streams if o.name == "stderr"] == []
    return json.loads(streams[-1].text)


def last_weights(search: Path) -> dict[str, np.ndarray]:
    rows = (search / "metrics.jsonl").read_text().splitlines()
    return {tower: np.array(own) for tower, own in json.loads(rows[-1])["weights"].items()}


def test_the_search_notebook_says_what_the_runs_say(folder: Path) -> None:
    question = """{
        "lengths": lengths, "distance": distance, "equal": between.equal, "epochs": epochs,
        "choices": {str(limit): choice.lengths for limit, choice in choices.items()},
    }"""
    found = run("inspect_search", folder, question)
    one, other = (last_weights(folder / "runs" / f"search-seed{seed}") for seed in (1, 2))
    assert found["epochs"] == [1, 2] and found["choices"].keys() == set("123456")
    equal = []
    for tower in TOWERS:
        assert found["lengths"][tower] == one[tower].argmax(axis=1).tolist()
        apart = np.abs(one[tower] - other[tower]).sum(axis=1) / 2
        np.testing.assert_allclose(found["distance"][tower], apart, atol=1e-6)
        equal += (one[tower].argmax(axis=1) == other[tower].argmax(axis=1)).tolist()
        for limit in range(1, 7):
            chosen = one[tower][:, : limit + 1].argmax(axis=1)
            assert found["choices"][str(limit)][tower] == chosen.tolist()
    assert found["equal"] == pytest.approx(np.mean(equal))


def test_the_prompts_notebook_says_what_the_run_says(folder: Path) -> None:
    question = """{
        "lengths": lengths, "mass": mass, "loss": left_out.nothing.loss,
        "accuracy": left_out.nothing.accuracy, "layers": left_out.layer,
        "evaluated": evaluate(run),
        "norms": {tower: np.linalg.norm(rows[tower].vectors, axis=1) for tower in TOWERS},
    }"""
    found = run("inspect_prompts", folder, question)
    trained = folder / "runs" / "train-seed2"
    tree = checkpoints.load(trained).tree
    for tower in TOWERS:
        lengths, prompts = tree["lengths"][tower], tree["params"]["prompts"][tower]
        assert found["lengths"][tower] == lengths.tolist()
        used = [row for own, rows in zip(lengths, prompts, strict=True) for row in rows[:own]]
        np.testing.assert_allclose(found["norms"][tower], np.linalg.norm(used, axis=1), rtol=1e-5)
        mass = np.array(found["mass"][tower])  # (N, H)
        np.testing.assert_array_equal((mass > 0).all(axis=1), lengths > 0)
        assert mass.max() < 1
        for length, quality in zip(lengths, found["layers"][tower], strict=True):
            assert length or quality == [found["loss"], found["accuracy"]]
    assert found["accuracy"] == found["evaluated"]["dpl"]["accuracy"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_stored_with_the_outputs_of_one_whole_run(name: str) -> None:
    code = [cell for cell in read(name).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any("execution" in cell.metadata for cell in code)  # times
    outputs = [output for cell in code for output in cell.outputs]
    assert {o.output_type for o in outputs} <= {"stream", "display_data", "execute_result"}
    assert all(o.name == "stdout" for o in outputs if o.output_type == "stream")
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 5


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stored_notebooks_are_small_and_know_nothing_of_the_machine(name: str) -> None:
    text = (ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert len(text) < 1_500_000
    assert not ABSOLUTE_PATH.search(text)
