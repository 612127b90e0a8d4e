"""A classifier predicts what the evaluation of its run did, and takes other classes."""

import dataclasses
import re
import shutil
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
from scipy.special import softmax

import dpl_jax
from configs import folder
from dpl_jax.data.class_names import spoken
from dpl_jax.errors import ConfigError, DplError, RunFolderError, WeightsError
from dpl_jax.evaluate import evaluate
from dpl_jax.files.json import read_json, write_json
from dpl_jax.inference.classifier import Classifier
from dpl_jax.inference.export.folder import export_folder
from dpl_jax.runs.folder import read_config
from dpl_jax.runs.predictions import load_predictions


@pytest.mark.parametrize("stage", ["search", "train"])
def test_predictions_are_those_of_the_evaluation(runs, arrays, stage):
    expected = load_predictions(runs[stage] / "predictions" / "test.npz")
    found = Classifier.load(runs[stage])
    assert found.classnames == expected.classnames
    shares = softmax(expected.logits["dpl"], axis=-1)
    np.testing.assert_allclose(found.probabilities(arrays), shares, rtol=0, atol=1e-5)
    size = read_config(runs[stage]).evaluate.batch_size
    logits = dataclasses.replace(found, batch_size=size).logits(arrays)
    np.testing.assert_allclose(logits, expected.logits["dpl"], rtol=0, atol=2e-5)


def test_predictions_of_files_are_those_of_the_evaluation(runs, class_folders):
    """On the images of another task, which a folder of photos is to a run on the digits."""
    config = folder.get_config()
    config.data.root, config.progress = str(class_folders), "off"
    run = shutil.copytree(runs["train"], class_folders.parent / "run")
    evaluate(run, other=config)
    expected = load_predictions(run / "predictions" / f"{class_folders.name}-all-test.npz")
    found = Classifier.load(run).with_classes(expected.classnames, "a photo of a {}.")
    paths = [class_folders / name for name in expected.names]
    shares = softmax(expected.logits["dpl"], axis=-1)
    np.testing.assert_allclose(found.probabilities(paths), shares, rtol=0, atol=1e-5)


def test_every_kind_of_picture_is_the_same_picture(classifier, arrays, tmp_path):
    PIL.Image.fromarray(arrays[0]).save(tmp_path / "one.png")
    kinds = [arrays[0], PIL.Image.fromarray(arrays[0]), tmp_path / "one.png"]
    together = classifier.logits([*kinds, str(tmp_path / "one.png")])
    for row in together[1:]:
        np.testing.assert_array_equal(row, together[0])
    for kind in kinds:
        np.testing.assert_allclose(classifier.logits(kind), together[:1], atol=1e-4)


def test_the_number_of_images_does_not_matter(classifier, arrays):
    whole = classifier.logits(np.stack(arrays[:70]))
    for count in (1, 2, 33, 64):
        np.testing.assert_allclose(classifier.logits(arrays[:count]), whole[:count], atol=1e-4)
    assert classifier.logits([]).shape == (0, 10)


def test_guesses_are_the_softmax_in_order(classifier, arrays):
    logits = classifier.logits(arrays[:5])
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    for row, guesses in zip(shares, classifier.predict(arrays[:5], top_k=3), strict=True):
        best = sorted(range(10), key=lambda index: -row[index])[:3]
        assert [guess.classname for guess in guesses] == [classifier.classnames[i] for i in best]
        np.testing.assert_allclose([guess.probability for guess in guesses], row[best], rtol=1e-4)
    assert len(classifier.predict(arrays[0], top_k=99)[0]) == 10


def test_other_classes_need_no_training(classifier, arrays):
    """Logits do not depend on which other classes there are, nor on their order."""
    logits = classifier.logits(arrays[:8])
    fewer = classifier.with_classes(["seven", "one"]).logits(arrays[:8])
    picks = [classifier.classnames.index(name) for name in ("seven", "one")]
    np.testing.assert_allclose(fewer, logits[:, picks], atol=1e-3)
    more = classifier.with_classes([*classifier.classnames, "a star"])
    np.testing.assert_allclose(more.logits(arrays[:8])[:, :10], logits, atol=1e-3)
    assert len(classifier.classnames) == 10


def test_a_class_is_renamed_in_its_place(classifier, arrays):
    renamed = classifier.rename({"one": "number one"})
    assert renamed.classnames == tuple(
        "number one" if name == "one" else name for name in classifier.classnames
    )
    changed = np.abs(renamed.logits(arrays[:8]) - classifier.logits(arrays[:8])).max(0) > 1e-3
    assert changed.tolist() == [name == "one" for name in classifier.classnames]
    with pytest.raises(ConfigError, match="'eleven' is none of the classes: zero"):
        classifier.rename({"eleven": "x"})
    with pytest.raises(ConfigError, match="'two' is given more than once"):
        classifier.rename({"one": "two"})


def test_a_class_may_have_a_text_of_its_own(classifier, arrays):
    own = {"seven": None, "a one": "a photo of the digit one.", "two": "the {}, by hand"}
    found = classifier.with_classes(own)
    assert found.classnames == ("seven", "a one", "two")
    assert found.texts == ("a photo of the digit seven.", own["a one"], "the two, by hand")
    plain = [classifier.classnames.index(name) for name in ("seven", "one")]
    logits = classifier.logits(arrays[:8])[:, plain]
    np.testing.assert_allclose(found.logits(arrays[:8])[:, :2], logits, atol=1e-4)
    renamed = found.rename({"seven": "nine"})
    assert renamed.texts == ("a photo of the digit nine.", *found.texts[1:])
    with pytest.raises(ConfigError, match="text of the class 'two' is ' '"):
        found.with_classes({"two": " "})


def test_text_features_have_length_one(classifier):
    assert classifier.features.shape == (10, classifier.clip.sizes.projection_dim)
    np.testing.assert_allclose(np.linalg.norm(classifier.features, axis=1), 1, atol=1e-6)


def test_another_template_changes_the_texts(classifier, arrays):
    other = classifier.with_classes(classifier.classnames, "the number {}")
    assert other.template == "the number {}"
    assert np.abs(other.logits(arrays[:2]) - classifier.logits(arrays[:2])).max() > 1e-2


@pytest.mark.parametrize(
    ("names", "template", "message"),
    [
        ([], None, "a list of names"),
        (["a", " "], None, "a list of names"),
        ("cat", None, "a list of names, not 'cat'"),
        (["a"], "", "0 places for the class name"),
        (["a", "b", "a"], None, "'a' is given more than once"),
        (["a"], "no place", "0 places for the class name"),
        (["long " * 99], None, "long long"),
    ],
)
def test_classes_that_cannot_be_are_refused(classifier, names, template, message):
    with pytest.raises(DplError, match=message):
        classifier.with_classes(names, template)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_arrays_that_are_no_images_are_refused(classifier, shape):
    with pytest.raises(ConfigError, match="must be"):
        classifier.logits([np.zeros(shape, np.uint8)])
    with pytest.raises(ConfigError, match="float64"):
        classifier.logits(np.zeros((4, 4, 3)))
    with pytest.raises(ConfigError, match="an array, not 7"):
        classifier.logits([7])


def test_a_run_that_has_not_finished_is_told(runs, tmp_path):
    with pytest.raises(RunFolderError, match="no run folder"):
        Classifier.load(tmp_path)
    shutil.copytree(runs["train"], tmp_path / "run")
    (tmp_path / "run" / "results.json").unlink()
    with pytest.raises(RunFolderError, match="has not finished"):
        Classifier.load(tmp_path / "run")


@pytest.mark.parametrize("file", ["results.json", "sampled.json"])
def test_a_run_whose_files_do_not_tell_its_classes_is_told(runs, tmp_path, file):
    run = shutil.copytree(runs["train"], tmp_path / "run")
    (run / file).write_text("{}")
    with pytest.raises(RunFolderError, match=re.escape(file)):
        Classifier.load(run)


def test_prompts_of_another_clip_are_refused(runs, tmp_path):
    shutil.copytree(runs["train"], tmp_path / "run")
    results = read_json(tmp_path / "run" / "results.json")
    results["clip"]["sha256"] = "0" * 64
    write_json(tmp_path / "run" / "results.json", results)
    with pytest.raises(WeightsError, match="trained with other weights"):
        Classifier.load(tmp_path / "run")


def test_the_class_is_found_in_the_package_and_costs_nothing_until_then():
    assert dpl_jax.Classifier is Classifier
    code = "import sys, dpl_jax; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = dpl_jax.Nonsense


@pytest.mark.parametrize("pair", [("Cat", "cat"), ("hot_dog", "hot dog"), ("cafe\u0301", "café")])
def test_two_names_of_one_text_are_refused_and_both_named(classifier, pair):
    named = f"{pair[0]!r} and {pair[1]!r} are one text"
    with pytest.raises(ConfigError, match=named):
        classifier.with_classes([*pair, "dog"])
    with pytest.raises(ConfigError, match=named):
        classifier.with_classes(dict.fromkeys([*pair, "dog"]))
    with pytest.raises(ConfigError, match=named):
        classifier.with_classes([pair[0], "dog"]).rename({"dog": pair[1]})
    with pytest.raises(ConfigError, match="'a' and 'b' are one text"):
        classifier.with_classes({"a": f"a {spoken(pair[0])}", "b": f"A  {spoken(pair[1])}"})
    own = classifier.with_classes({pair[0]: "a big {}", pair[1]: "a small {}"})
    assert own.classnames == pair


def test_an_export_keeps_names_that_texts_of_their_own_tell_apart(classifier, tmp_path):
    own = classifier.with_classes({"Cat": "a big {}", "cat": "a small {}"})
    folder = export_folder(own, tmp_path / "out")
    assert Classifier.load(folder).classnames == ("Cat", "cat")
    about = read_json(folder / "classifier.json")
    write_json(folder / "classifier.json", about | {"texts": ["a Cat", "a  cat"]})
    with pytest.raises(RunFolderError, match="'Cat' and 'cat' are one text"):
        Classifier.load(folder)
