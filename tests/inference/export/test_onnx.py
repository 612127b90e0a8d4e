"""The ONNX model gives the classifier's probabilities in ONNX Runtime."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from dpl_jax.errors import ConfigError
from dpl_jax.inference.export import export_folder
from tests.inference.export.conftest import classifier_with

pytest.importorskip("jax2onnx")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module", params=["discrete", "supernet", "bfloat16"])
def pair(request, tmp_path_factory):
    """The classifier, with its image tower in float32, and the folder that it was exported to."""
    given = classifier_with(request.param)
    folder = export_folder(given, tmp_path_factory.mktemp("onnx") / "out", onnx=True)
    return dataclasses.replace(given, clip=given.clip.replace(dtype="float32")), folder


def test_any_number_of_images_gets_its_probabilities(pair, images):
    ours, folder = pair
    model = onnxruntime.InferenceSession(folder / "model.onnx")
    (taken,), (given,) = model.get_inputs(), model.get_outputs()
    assert (taken.name, taken.shape) == ("images", ["B", 32, 32, 3])
    assert (given.name, given.shape) == ("probabilities", ["B", 3])
    for number in (1, 3, 7):
        (found,) = model.run(None, {"images": images[:number]})
        expected = ours.probabilities(images[:number])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_the_lines_of_the_card_run(pair, photo, monkeypatch, capsys):
    ours, folder = pair
    monkeypatch.chdir(photo.parent)
    for name in ("model.onnx", "classifier.json"):
        (photo.parent / name).write_bytes((folder / name).read_bytes())
    _, *blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    exec("\n".join(blocks), {})
    assert capsys.readouterr().out.strip() == ours.predict(photo, top_k=1)[0][0].classname


def test_the_model_is_valid_and_has_nothing_to_spare(pair):
    model = onnx.load(pair[1] / "model.onnx")
    onnx.checker.check_model(model)
    used = {name for node in model.graph.node for name in node.input}
    inner = [a.g for node in model.graph.node for a in node.attribute if a.HasField("g")]
    used |= {name for graph in inner for node in graph.node for name in node.input}
    assert {leaf.name for leaf in model.graph.initializer} <= used


def test_a_clip_too_large_for_the_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("dpl_jax.inference.export.onnx_model.MAX_BYTES", 1000)
    with pytest.raises(ConfigError, match="larger than an ONNX file can be"):
        export_folder(classifier_with("discrete"), tmp_path / "out", onnx=True)
    assert not list(tmp_path.iterdir())
