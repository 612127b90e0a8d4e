"""An exported folder stands alone, predicts the same bits, and is checked when it is read."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import load_file, save_file

from dpl_jax.clip.names import embedded_folder
from dpl_jax.errors import DplError, RunFolderError, WeightsError
from dpl_jax.files.json import read_json, write_json
from dpl_jax.files.places import without_places
from dpl_jax.inference.classifier import Classifier
from dpl_jax.inference.export import export_folder
from dpl_jax.inference.export.card import model_card


@pytest.fixture(scope="module", params=["search", "train"])
def pair(request, runs, tmp_path_factory):
    """A classifier, and the folder that it was exported to."""
    found = Classifier.load(runs[request.param])
    return found, export_folder(found, tmp_path_factory.mktemp("out") / "digits <b>")


def test_what_comes_back_predicts_the_same_bits(pair, arrays):
    ours, folder = pair
    theirs = Classifier.load(folder)
    for field in ("classnames", "template", "texts", "preprocessing"):
        assert getattr(theirs, field) == getattr(ours, field)
    assert theirs.results == without_places(ours.results)
    np.testing.assert_array_equal(theirs.logits(arrays[:40]), ours.logits(arrays[:40]))
    other = ["three", "a star"]
    np.testing.assert_array_equal(
        theirs.with_classes(other).logits(arrays[:3]), ours.with_classes(other).logits(arrays[:3])
    )


def test_it_is_small_and_holds_what_it_should(pair):
    _, folder = pair
    names = {"classifier.json", "prompts.safetensors", "results.json", "README.md"}
    assert set(os.listdir(folder)) == names
    assert sum(path.stat().st_size for path in folder.iterdir()) < 200_000
    assert os.listdir(folder.parent) == [folder.name]


def test_the_card_has_the_hubs_header_and_the_results(pair):
    ours, folder = pair
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "dpl_jax" and card.data.datasets == ["digits"]
    test = ours.results["evaluations"]["test"]
    metrics = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert metrics == {name: test["dpl"][name] for name in ("accuracy", "macro_f1")}
    assert f"{100 * test['zero_shot']['accuracy']:.2f}" in card.text
    assert "zero, one, two" in card.text and "<b>" not in card.text


@pytest.mark.parametrize(
    ("path", "base_model", "shown"),
    [
        ("openai/clip", "openai/clip", "openai/clip"),
        ("own/clip", None, "clip"),
        ("/own/clip", None, "clip"),
        ("tiny", None, "tiny"),
    ],
)
def test_the_card_names_a_base_model_of_the_hub(
    classifier, tmp_path, monkeypatch, path, base_model, shown
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "clip").mkdir(parents=True)
    clip = classifier.results["clip"] | {"path": path, "revision": "0123abcd"}
    found = dataclasses.replace(classifier, results=classifier.results | {"clip": clip})
    card = ModelCard(model_card(found, "out"))
    assert card.data.base_model == base_model
    assert f"`{shown}` at `0123abcd`" in card.text


def test_no_path_of_this_machine_stands_in_an_export(classifier, tmp_path):
    own = shutil.copytree(embedded_folder("tiny"), tmp_path / "clips" / "own-clip")
    results = classifier.results | {
        "clip": classifier.results["clip"] | {"path": str(own)},
        "imported": {
            "prompts": {"file": f"{tmp_path}/p.safetensors"},
            "alphas": {"folder": f"{tmp_path}/alphas"},
        },
        "lengths_file": f"{tmp_path}/search/configuration.json",
        "template": "/a {}",
    }
    folder = export_folder(dataclasses.replace(classifier, results=results), tmp_path / "out")
    for file in folder.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()
    found = read_json(folder / "results.json")
    assert found["lengths_file"] == "configuration.json"
    assert found["imported"] == {
        "prompts": {"file": "p.safetensors"},
        "alphas": {"folder": "alphas"},
    }
    assert (found["clip"]["path"], found["template"]) == ("own-clip", "/a {}")
    assert Classifier.load(folder, clip=own).classnames == classifier.classnames
    own.rename(tmp_path / "own-clip")  # beside the export it is found by its name
    assert Classifier.load(folder).classnames == classifier.classnames


def test_with_its_clip_it_needs_nothing_else(classifier, arrays, tmp_path, monkeypatch):
    folder = export_folder(classifier, tmp_path / "out", include_clip=True)
    moved = folder.rename(tmp_path / "elsewhere")
    monkeypatch.setattr("dpl_jax.clip.names.ASSETS", tmp_path / "gone")
    found = Classifier.load(moved)
    np.testing.assert_array_equal(found.logits(arrays[:3]), classifier.logits(arrays[:3]))
    again = export_folder(found, tmp_path / "again", include_clip=True)
    assert Classifier.load(again).classnames == classifier.classnames


def test_nothing_is_overwritten_or_left_half_written(classifier, tmp_path, monkeypatch):
    (tmp_path / "taken").mkdir()
    with pytest.raises(RunFolderError, match="exists already"):
        export_folder(classifier, tmp_path / "taken")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dpl_jax.inference.export.folder.model_card", fail)
    with pytest.raises(RunFolderError, match="cannot be written \\(No space left"):
        export_folder(classifier, tmp_path / "new")
    assert os.listdir(tmp_path) == ["taken"]


def edit(folder, **fields):
    path = folder / "classifier.json"
    write_json(path, read_json(path) | fields)


def edit_arrays(folder, **arrays):
    path = folder / "prompts.safetensors"
    found = load_file(path) | arrays
    save_file({name: array for name, array in found.items() if array is not None}, path)


DAMAGE = {
    "no results": (lambda f: (f / "results.json").unlink(), "no exported classifier"),
    "no arrays": (lambda f: (f / "prompts.safetensors").unlink(), "no exported classifier"),
    "garbled": (lambda f: (f / "classifier.json").write_text("{"), "no exported classifier"),
    "a list": (lambda f: (f / "classifier.json").write_text("[]"), "no exported classifier"),
    "newer": (lambda f: edit(f, format=2), "format 2, and this version reads 1"),
    "no classes": (lambda f: edit(f, classnames=[]), "must be a list of names"),
    "one twice": (lambda f: edit(f, classnames=["a"] * 10), "'a' is given more than once"),
    "no texts": (lambda f: edit(f, texts=["a"]), "texts are not those of 10 classes"),
    "results": (lambda f: write_json(f / "results.json", {}), "results.json lacks classes"),
    "one class": (lambda f: edit(f, classnames=["a"], texts=["a"]), "length one of 1 classes"),
    "template": (lambda f: edit(f, template="x"), "0 places for the class name"),
    "clip": (lambda f: edit(f, clip=None), "no exported classifier"),
    "truncated": (
        lambda f: os.truncate(f / "prompts.safetensors", 300),
        "no exported classifier",
    ),
    "not finite": (
        lambda f: edit_arrays(f, text_features=np.full((10, 64), np.nan, np.float32)),
        "not all finite float32",
    ),
    "no direction": (
        lambda f: edit_arrays(f, text_features=np.zeros((10, 128), np.float32)),
        "no text features of length one",
    ),
    "half": (
        lambda f: edit_arrays(f, **{"prompts.text": np.zeros((3, 2, 96), np.float16)}),
        "prompts.text in prompts.safetensors is not all finite float32",
    ),
    "lengths": (
        lambda f: edit_arrays(f, **{"lengths.text": np.full(3, 99, np.int32)}),
        "no prompts of this CLIP",
    ),
    "layers": (
        lambda f: edit_arrays(f, **{"prompts.image": np.zeros((1, 2, 128), np.float32)}),
        "no prompts of this CLIP",
    ),
    "nothing of a tower": (lambda f: edit_arrays(f, **{"prompts.text": None}), "no prompts of"),
    "unknown": (lambda f: edit_arrays(f, other=np.zeros(1, np.float32)), "no prompts of this"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_told_in_one_message(classifier, tmp_path, damage):
    folder = export_folder(classifier, tmp_path / "out")
    spoil, message = DAMAGE[damage]
    spoil(folder)
    with pytest.raises(RunFolderError, match=message):
        Classifier.load(folder)


def test_another_clip_or_none_is_told(classifier, tmp_path):
    folder = export_folder(classifier, tmp_path / "out")
    stated = json.loads((folder / "classifier.json").read_text())["clip"]
    edit(folder, clip=stated | {"sha256": "f" * 64})
    with pytest.raises(WeightsError, match="other weights than those of tiny"):
        Classifier.load(folder)
    edit(folder, clip=stated, preprocessing={"size": 64})
    with pytest.raises(WeightsError, match="says size 32, but the prompts were trained with 64"):
        Classifier.load(folder)
    edit(folder, clip=stated | {"path": str(tmp_path / "none")})
    with pytest.raises(DplError, match=r"There is no folder.*--clip=FOLDER"):
        Classifier.load(folder)
    edit(folder, preprocessing=classifier.results["transform"])
    assert Classifier.load(folder, clip="tiny").texts == classifier.texts
    shutil.rmtree(folder)
    with pytest.raises(RunFolderError):
        Classifier.load(folder)
