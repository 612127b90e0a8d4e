"""The serialised program computes the classifier's probabilities where there is only JAX."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax.export
import numpy as np
import pytest

from dpl_jax.errors import ConfigError
from dpl_jax.inference.export import export_folder
from dpl_jax.inference.export.program import serialise, weights_of
from tests.inference.export.conftest import classifier_with

# What JAX cannot do without; flatbuffers reads the program, and PIL the photo.
PACKAGES = ("jax", "jaxlib", "numpy", "ml_dtypes", "opt_einsum", "scipy", "flatbuffers", "PIL")
# Run after the card's lines.
AFTER = """
of_photo, given = np.asarray(probabilities), np.load("given.npy")
found = {str(n): np.asarray(program.call(weights, given[:n])) for n in (1, 3, 7)}
np.savez("found.npz", photo=of_photo, **found)
import dpl_jax
"""


def run_alone(lines: str, folder: Path, packages: Path) -> subprocess.CompletedProcess[str]:
    """Runs Python in a folder with nothing installed but ``PACKAGES``."""
    packages.mkdir()
    for name in PACKAGES:
        (packages / name).symlink_to(importlib.import_module(name).__path__[0])
    return subprocess.run(
        [sys.executable, "-S", "-c", lines],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
    )


def code_blocks(card: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card.read_text(), re.S)


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "digits <b>"
    return export_folder(classifier_with("discrete"), folder, program=True)


def test_the_lines_of_the_card_need_jax_alone(exported, images, photo, tmp_path):
    elsewhere = shutil.copytree(exported, tmp_path / "elsewhere")
    shutil.copy(photo, elsewhere)
    np.save(elsewhere / "given.npy", images)
    _, transform, program = code_blocks(exported / "README.md")
    done = run_alone(transform + program + AFTER, elsewhere, tmp_path / "packages")
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'dpl_jax'"
    found, ours = np.load(elsewhere / "found.npz"), classifier_with("discrete")
    assert done.stdout.strip() == ours.predict(photo, top_k=1)[0][0].classname
    np.testing.assert_allclose(found["photo"], ours.probabilities(photo), rtol=0, atol=1e-5)
    for number in (1, 3, 7):
        expected = ours.probabilities(images[:number])
        np.testing.assert_allclose(found[str(number)], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["supernet", "no prompts"])
def test_prompts_of_every_kind_are_in_it(kind, images):
    ours = classifier_with(kind)
    program = jax.export.deserialize(serialise(ours))
    assert program.platforms == ("cpu", "cuda")
    found = program.call(weights_of(ours), images)
    np.testing.assert_allclose(found, ours.probabilities(images), rtol=0, atol=1e-5)
    assert np.asarray(found).dtype == np.float32


def test_the_prompts_make_a_difference(images):
    """Else the comparisons here would pass without any."""
    plain, *others = (classifier_with(k).probabilities(images) for k in ("no prompts", "discrete"))
    for other in others:
        assert np.abs(plain - other).max() > 1e-2


def test_the_program_is_small_and_the_text_tower_stays_behind(exported):
    assert (exported / "program.bin").stat().st_size < 100_000
    with np.load(exported / "program.npz") as file:
        names = set(file.files)
    assert {"classes", "logit_scale", "prompts"} <= names
    assert all(name.startswith("image.") for name in names - {"classes", "logit_scale", "prompts"})
    whole = sum(leaf.nbytes for leaf in jax.tree.leaves(classifier_with("discrete").clip.params))
    assert (exported / "program.npz").stat().st_size < 0.8 * whole


def test_images_of_another_size_are_refused(exported, images):
    program = jax.export.deserialize((exported / "program.bin").read_bytes())
    with pytest.raises(ValueError, match="shape"):
        program.call(weights_of(classifier_with("discrete")), images[:, :16])


def test_it_is_written_only_when_asked_for(tmp_path):
    folder = export_folder(classifier_with("discrete"), tmp_path / "out")
    assert not list(folder.glob("program.*"))
    assert "jax.export" not in (folder / "README.md").read_text()


def test_without_the_packages_for_onnx_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(ConfigError, match=r"pip install \"dpl_jax\[onnx\]\""):
        export_folder(classifier_with("discrete"), tmp_path / "out", onnx=True)
    assert not list(tmp_path.iterdir())
