"""A run measures its own images for ever: photos come and go, folders move."""

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from configs import folder
from dpl_jax import cli
from dpl_jax.data.own_split import run_dataset
from dpl_jax.errors import ConfigError, DataNotFoundError, RunFolderError
from dpl_jax.evaluate import evaluate
from dpl_jax.report.page import write_report
from dpl_jax.runs.predictions import load_predictions
from dpl_jax.search import search
from dpl_jax.studies.finished_stages import evaluate_once, search_once
from dpl_jax.train import train
from tests.support.repository import ROOT

COLOURS = {"red fox": (200, 60, 40), "blue jay": (40, 80, 200), "tree": (40, 160, 60)}


def photos(root: Path, first: int, count: int) -> Path:
    """Photos ``first``, ``first + 1`` .. of each class."""
    for index, (name, colour) in enumerate(COLOURS.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            noise = np.random.default_rng(1000 * index + number).integers(-40, 40, (40, 48, 3))
            pixels = np.clip(np.asarray(colour) + noise, 0, 255).astype(np.uint8)
            PIL.Image.fromarray(pixels).save(root / name / f"{number:03}.png")
    return root


def config(root: Path | str):
    settings = folder.get_config("shots=4,clip=tiny,T=2")
    settings.data.root = str(root)
    settings.search.epochs = settings.train.epochs = 1
    settings.progress, settings.report = "off", False
    return settings


def results(run: Path):
    return json.loads((run / "results.json").read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A training on a folder that it was given by a relative path, and its first evaluation."""
    folder_of_all = tmp_path_factory.mktemp("own")
    photos(folder_of_all / "photos", 0, 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder_of_all)
        searched = search(config("photos"), "RUN1")
        trained = train(config("photos"), searched / "configuration.json", "RUN2")
        first = evaluate(trained)
    return folder_of_all, first


@pytest.fixture
def place(finished, tmp_path, monkeypatch):
    """A copy of all of it, worked on from another folder; the runs know where the images were."""
    folder_of_all, first = finished
    shutil.copytree(folder_of_all, tmp_path / "all")
    for run in ("RUN1", "RUN2"):
        path = tmp_path / "all" / run / "config.json"
        text = path.read_text().replace(str(folder_of_all), str(tmp_path / "all"))
        path.write_text(text)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "all", first


def moved_to(root: Path):
    """The change that --config.data.root=ROOT makes."""
    return functools.partial(cli.apply_settings, settings=[f"data.root={root}"], flag="config")


def launch(script, *arguments, cwd):
    return subprocess.run(
        [sys.executable, ROOT / "launch" / script, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=1200,
    )


def test_the_journey(place, caplog):
    """Photos are added and removed, the folder moves, and all is measured from elsewhere."""
    here, first = place
    run = here / "RUN2"
    test_names = load_predictions(run / "predictions" / "test.npz").names
    trained_on = {row[0] for row in json.loads((run / "sampled.json").read_text())["train"]}

    photos(here / "photos", 20, 20)  # 20 more of each class
    again = evaluate(run)
    assert again == first
    assert "60 new images are not part of this run." in caplog.text
    assert load_predictions(run / "predictions" / "test.npz").names == test_names
    assert not trained_on & set(test_names)

    unused = sorted(
        str(path.relative_to(here / "photos"))
        for path in (here / "photos").glob("*/*.png")
        if str(path.relative_to(here / "photos")) not in {*test_names, *trained_on}
    )
    (here / "photos" / unused[0]).unlink()  # no image that is measured or was sampled
    assert evaluate(run) == first

    gone = test_names[:2]
    for name in gone:
        (here / "photos" / name).rename(here / Path(name).name.replace("0", "x", 1))
    with pytest.raises(DataNotFoundError) as caught:
        evaluate(run)
    assert all(name in str(caught.value) for name in gone) and "2 of the" in str(caught.value)
    assert results(run)["evaluations"]["test"] == first
    fewer = evaluate(run, change=lambda c: c.data.update(skip_unreadable=True))
    assert fewer["images"] == first["images"] - 2
    evaluations = results(run)["evaluations"]
    assert evaluations["test"] == first  # and beside it that of fewer images
    assert [entry for name, entry in evaluations.items() if name != "test"] == [fewer]
    assert len(list((run / "predictions").glob("*.npz"))) == 2


def test_a_moved_folder_is_named_and_held_against_the_run(place, tmp_path):
    here, first = place
    run, new = here / "RUN2", tmp_path / "moved photos"
    (here / "photos").rename(new)
    with pytest.raises(DataNotFoundError, match=f"no folder {here}/photos"):
        evaluate(run)
    done = launch("evaluate.py", f"--run={run}", f"--config.data.root={new}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert results(run)["evaluations"]["test"] == first
    # of the same names, but other pictures
    other = photos(tmp_path / "other", 100, 20)
    for path in other.glob("*/*.png"):
        path.rename(path.with_name(f"{int(path.stem) - 100:03}.png"))
    before = (run / "results.json").read_bytes()
    for root in (other, photos(tmp_path / "third", 300, 20)):
        with pytest.raises(RunFolderError) as caught:
            evaluate(run, change=moved_to(root))
        assert str(root) in str(caught.value) and str(here / "photos") in str(caught.value)
    assert (run / "results.json").read_bytes() == before
    with pytest.raises(ConfigError, match=r"data\.shots is 4 in the run"):
        evaluate(run, change=lambda c: c.data.update(shots=2))


def test_a_folder_of_the_same_name_elsewhere_is_not_taken(place, tmp_path):
    """Started beside another ``photos``, the run still reads its own."""
    here, first = place
    photos(tmp_path / "elsewhere" / "photos", 500, 20)
    assert evaluate(here / "RUN2") == first
    page = write_report(here / "RUN2")
    assert "data:image/" in page.read_text()  # of its own images


def test_what_goes_on_after_photos_were_added_keeps_its_images(place):
    """The second stage of a search, and the same command again."""
    here, first = place
    searched = json.loads((here / "RUN1" / "split.json").read_text())
    sampled = json.loads((here / "RUN2" / "sampled.json").read_text())
    photos(here / "photos", 20, 20)
    trained = train(config(here / "photos"), here / "RUN1" / "configuration.json", here / "RUN3")
    assert json.loads((trained / "split.json").read_text()) == searched
    assert json.loads((trained / "sampled.json").read_text()) == sampled
    assert evaluate(trained)["sha256"] == first["sha256"]
    train(config(here / "photos"), here / "RUN1" / "configuration.json", here / "RUN2")
    assert json.loads((here / "RUN2" / "sampled.json").read_text()) == sampled


def test_other_data_are_measured_beside_the_runs_own(place, tmp_path, caplog):
    here, first = place
    run = here / "RUN2"
    copies = tmp_path / "b" / "photos"
    shutil.copytree(here / "photos", copies)
    for number, path in enumerate(sorted(copies.glob("*/*.png"))):
        path.rename(path.with_name(f"copy{number}.png"))  # other names, the same pictures
    photos(tmp_path / "c" / "photos", 0, 20)
    same_names = evaluate(run, other=config(tmp_path / "c" / "photos"))
    found = evaluate(run, other=config(copies))
    sampled = json.loads((run / "sampled.json").read_text())
    rows = [*sampled["train"], *sampled["val"]]
    known = {(here / "photos" / row[0]).read_bytes() for row in rows}
    items = load_predictions(run / "predictions" / "photos-all-test.npz")
    assert len(items.names) == same_names["images"]
    evaluations = results(run)["evaluations"]
    assert evaluations["test"] == first
    assert evaluations["photos-all-test"] == same_names
    (third,) = set(evaluations) - {"test", "photos-all-test"}
    assert third.startswith("photos-all-test-") and evaluations[third] == found
    names = load_predictions(run / "predictions" / f"{third}.npz").names
    expected = sum((copies / name).read_bytes() in known for name in names)
    assert found["training_images"] == expected > 0
    assert f"{expected} of the {found['images']} test images are training images" in caplog.text
    assert evaluate(run, other=config(copies)) == found
    assert results(run)["evaluations"].keys() == evaluations.keys()


def test_a_known_result_is_taken_for_the_same_images_only(place, monkeypatch):
    here, first = place
    run = here / "RUN2"
    monkeypatch.setattr("dpl_jax.studies.finished_stages.evaluate", lambda *a, **k: "measured")
    assert evaluate_once(run) == first
    other = photos(here / "other", 0, 20)
    assert evaluate_once(run, config(other)) == "measured"


def test_a_relative_root_means_one_folder_for_ever(place, tmp_path, monkeypatch):
    """The same words name the same folder where they were said, and another one elsewhere."""
    here, _ = place
    monkeypatch.setattr("dpl_jax.studies.finished_stages.search", None)
    monkeypatch.chdir(here)
    assert search_once(config("photos"), here / "RUN1") == here / "RUN1"
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(RunFolderError) as caught:
        search_once(config("photos"), here / "RUN1")
    assert str(here / "photos") in str(caught.value)
    assert str(tmp_path / "elsewhere" / "photos") in str(caught.value)


def test_replaced_and_lost_training_images(place, caplog):
    here, first = place
    run = here / "RUN2"
    names = [row[0] for row in json.loads((run / "sampled.json").read_text())["train"]]
    (here / "photos" / names[0]).unlink()
    assert evaluate(run) == first
    assert f"1 training images of {run} are gone: {names[0]}" in caplog.text
    shutil.copyfile(here / "photos" / names[2], here / "photos" / names[1])
    with pytest.raises(RunFolderError, match=rf"{names[1]} is not the image that .* trained with"):
        evaluate(run)


@pytest.mark.parametrize("contents", ["", "[]", "{}", '{"train": [[1]], "val": []}'])
def test_damaged_lists_are_one_error(place, contents):
    here, _ = place
    (here / "RUN2" / "sampled.json").write_text(contents)
    with pytest.raises(RunFolderError, match=r"sampled\.json"):
        evaluate(here / "RUN2")


def test_a_clip_that_is_another_now_is_refused(place):
    here, _ = place
    with pytest.raises(ConfigError, match=r"search\.epochs"):
        evaluate(here / "RUN2", change=lambda c: c.search.update(epochs=3))
    saved = results(here / "RUN2")
    saved["clip"]["sha256"] = "0" * 64
    (here / "RUN2" / "results.json").write_text(json.dumps(saved))
    with pytest.raises(ValueError, match="trained with other weights"):
        evaluate(here / "RUN2")


def test_the_config_has_absolute_paths(finished):
    folder_of_all, _ = finished
    for run in ("RUN1", "RUN2"):
        saved = json.loads((folder_of_all / run / "config.json").read_text())["config"]
        assert saved["data"]["root"] == str(folder_of_all / "photos")
        assert saved["clip"]["path"] == "tiny"
    full = run_dataset(folder_of_all / "RUN2", config(folder_of_all / "photos").data)
    assert [len(full.train), len(full.val), len(full.test)] == [30, 12, 18]
