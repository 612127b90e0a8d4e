"""The command that classifies files: what it finds, writes, and says of what it cannot read."""

import csv
import dataclasses
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dpl_jax.errors import ConfigError
from dpl_jax.inference.classifier import Guess
from dpl_jax.inference.predict import (
    Prediction,
    find_images,
    open_output,
    predict_files,
    predict_paths,
    read_ahead,
    read_classes_argument,
    rows,
)
from tests.support.repository import ROOT


def test_images_are_found_at_any_depth_in_the_order_of_their_names(photos):
    found = [str(path.relative_to(photos)) for path in find_images([photos])]
    assert found == [
        *["0.png", "2.png", "4.png", "5-broken.jpg", "6.png", "8.png"],
        *[f"deep/er/{number}.png" for number in (1, 3, 5, 7, 9)],
    ]
    assert find_images([photos / "8.png", photos / "0.png"]) == [photos / "8.png", photos / "0.png"]


def test_links_and_pipes_are_no_trap(photos):
    (photos / "deep" / "loop").symlink_to(photos, target_is_directory=True)
    os.mkfifo(photos / "deep" / "pipe.png")
    assert len(find_images([photos])) == 11


@pytest.mark.parametrize("name", ["nothing", "deep/er/notes.txt"])
def test_a_path_that_is_not_there_is_told(photos, name):
    with pytest.raises(ConfigError, match="There is no file or folder"):
        find_images([photos, photos / name])
    (photos / "empty").mkdir()
    with pytest.raises(ConfigError, match="There are no images"):
        find_images([photos / "empty"])


def test_files_are_predicted_as_their_pixels_are(classifier, photos):
    files = find_images([photos])
    small = dataclasses.replace(classifier, batch_size=3)
    found = list(predict_files(small, files, top_k=2))
    assert [prediction.path for prediction in found] == files
    for prediction in found:
        if prediction.path.name == "5-broken.jpg":
            assert not prediction.guesses and "damaged image" in prediction.error
            assert "skip_unreadable" not in prediction.error
            continue
        with PIL.Image.open(prediction.path) as image:
            (expected,) = classifier.predict(image, top_k=2)
        assert [g.classname for g in prediction.guesses] == [g.classname for g in expected]
        shares = [[guess.probability for guess in one] for one in (prediction.guesses, expected)]
        np.testing.assert_allclose(*shares, atol=1e-4)


def test_reading_ahead_keeps_the_order_and_the_limit():
    lock, running, most = threading.Lock(), set(), 0

    def read(number: int) -> int:
        nonlocal most
        with lock:
            running.add(number)
            most = max(most, number - done)
        return number * number

    done = 0
    for done, square in enumerate(read_ahead(read, range(50), 6), start=1):
        assert square == (done - 1) ** 2
    assert done == 50
    assert most <= 6


def test_a_table_shows_every_file(classifier, photos):
    outcome = predict_paths(classifier, [photos], top_k=2, progress_mode="off")
    assert outcome.files == len(outcome.kept) == 11 and len(outcome.unreadable) == 1
    table = rows(outcome.kept)
    assert rows([Prediction(Path("a\x1b[31m\n.png"), [Guess("b\a", 0.5)])]) == [
        ["a\ufffd[31m\ufffd.png", "b\ufffd", 50.0, ""]
    ]
    assert table[3] == [str(photos / "5-broken.jpg"), "unreadable", None, ""]
    assert table[0][1] == outcome.kept[0].guesses[0].classname
    assert table[0][2] == pytest.approx(100 * outcome.kept[0].guesses[0].probability)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_file_holds_what_was_predicted(classifier, photos, tmp_path, ending):
    output = tmp_path / f"found.{ending}"
    outcome = predict_paths(classifier, [photos], output, top_k=2, progress_mode="off")
    assert outcome.kept == []
    expected = list(predict_files(classifier, find_images([photos]), 2))
    if ending == "jsonl":
        lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
        for line, one in zip(lines, expected, strict=True):
            assert line["path"] == str(one.path)
            assert line.get("error", "") == one.error
            found = [(guess["name"], guess["probability"]) for guess in line.get("classes", [])]
            assert found == list(map(tuple, one.guesses))
        return
    with output.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 10 + 1
    firsts = {line["path"]: line for line in lines if line["rank"] in ("1", "")}
    for one in expected:
        line = firsts[str(one.path)]
        assert line["error"] == one.error
        assert line["class"] == (one.guesses[0].classname if one.guesses else "")


def test_a_file_appears_when_all_is_in_it(tmp_path):
    output = tmp_path / "found.csv"
    output.write_text("from before")
    with pytest.raises(KeyboardInterrupt), open_output(output):
        raise KeyboardInterrupt
    assert output.read_text() == "from before" and os.listdir(tmp_path) == ["found.csv"]
    with pytest.raises(ConfigError, match="must end in"), open_output(tmp_path / "found.txt"):
        pass
    with pytest.raises(ConfigError, match="cannot be written"), open_output("/nowhere/x.csv"):
        pass


def test_class_names_come_from_the_command_line_or_a_file(tmp_path):
    assert read_classes_argument("cat, dog") == ["cat", "dog"]
    names = tmp_path / "names.txt"
    names.write_text("cat, tabby\n\ndog\n", encoding="utf-8")
    assert read_classes_argument(f"@{names}") == ["cat, tabby", "dog"]
    names.write_bytes(b"\xff\xfe\x00")
    for wrong in (names, tmp_path / "none.txt"):
        with pytest.raises(ConfigError, match="cannot be read from"):
            read_classes_argument(f"@{wrong}")


def test_the_command(runs, photos, tmp_path):
    def launch(name, *arguments):
        command = [sys.executable, f"launch/{name}.py", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    done = launch("export", runs["train"], tmp_path / "out")
    assert done.returncode == 0, done.stderr
    done = launch("predict", "--top_k", "2", tmp_path / "out", photos, photos / "0.png")
    assert done.returncode == 2, done.stderr
    assert done.stdout.count(str(photos / "0.png")) == 2
    assert f"unreadable: {photos / '5-broken.jpg'}: a damaged image" in done.stderr
    assert "1 of 12 could not be read." in done.stderr
    assert "Traceback" not in done.stderr
