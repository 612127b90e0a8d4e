import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from dpl_jax.data.check import check, print_report
from dpl_jax.data.class_texts import check_texts, name_remarks
from dpl_jax.data.load import load_dataset, remarks, tell
from dpl_jax.data.split import Item, build_dataset
from dpl_jax.errors import ConfigError, TextTooLongError
from tests.support.repository import ROOT


@pytest.fixture
def folder(tmp_path, write_image, data_config):
    for place in ("train/cat", "train/dog", "test/cat", "test/dog"):
        for index in range(3):
            write_image(tmp_path / place / f"{index}.png")
    write_image(tmp_path / "train" / "dog" / "3.png")
    return load_dataset(data_config(name="folder", root=str(tmp_path)))


def test_a_good_folder_has_no_problems(folder, capsys):
    report = check(folder)
    assert report.ok
    assert report.complete
    train = report.splits["train"]
    assert (train.images, train.fewest, train.most, train.expected) == (7, 3, 4, None)
    print_report(report)
    printed = capsys.readouterr().out
    assert "folder: 2 classes" in printed
    assert "3 to 4" in printed
    assert "All images can be used." in printed


def test_missing_and_unreadable_images_are_listed(folder, capsys):
    os.remove(folder.train[0].image)
    folder.test[2].image.write_bytes(b"no image")
    report = check(folder)
    assert not report.ok
    assert report.splits["train"].missing == (str(folder.train[0].image),)
    assert len(report.splits["test"].unreadable) == 1
    print_report(report)
    printed = capsys.readouterr().out
    assert f"{folder.train[0].image}: missing" in printed
    assert f"{folder.test[2].image}: not an image" in printed
    assert "2 image(s) cannot be used." in printed
    assert check(folder, read=False).problems == report.problems[:1]


def test_the_sizes_are_compared_with_the_complete_dataset(
    tmp_path, write_image, write_split, data_config, capsys
):
    rows = [[f"banded/{i}.png", 0, "banded"] for i in range(3)]
    for name, _, _ in rows:
        write_image(tmp_path / "dtd" / "images" / name)
    split = tmp_path / "dtd" / "split_zhou_DescribableTextures.json"
    write_split(split, train=rows[:1], val=rows[1:2], test=rows[2:])
    report = check(load_dataset(data_config(name="dtd", root=str(tmp_path))))
    assert report.ok
    assert not report.complete
    assert report.expected_classes == 47
    assert [s.expected for s in report.splits.values()] == [2820, 1128, 1692]
    print_report(report)
    assert "not the complete dataset" in capsys.readouterr().out


def run_command(*arguments, env=None):
    command = [sys.executable, "-m", "dpl_jax.data", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=env)


def test_the_command_passes_on_real_caltech101(data_root):
    done = run_command("check", "--config=configs/caltech101.py", f"--config.data.root={data_root}")
    assert done.returncode == 0, done.stderr
    assert "caltech101: 100 classes (100 expected)" in done.stdout


def test_the_command_fails_with_one_line_where_there_is_nothing(tmp_path):
    done = run_command("check", "--config=configs/folder.py", f"--config.data.root={tmp_path}")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_command_its_use_is_told():
    done = run_command()
    assert done.returncode == 1
    assert "usage: python -m dpl_jax.data check" in done.stderr


def test_the_command_shows_texts_whatever_the_output_can_hold(tmp_path, write_image):
    for name in ("SeaLake", "\u732b", "class 7"):
        for number in range(4):
            write_image(tmp_path / name / f"{number}.png")
    done = run_command(
        *("check", "--config=configs/folder.py:shots=1", "--config.clip.path=tiny"),
        f"--config.data.root={tmp_path}",
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    texts = 'texts: "a photo of a SeaLake.", "a photo of a class 7.", "a photo of a \\u732b."'
    assert texts in done.stdout
    assert "1 of 3 class names have joined words (CamelCase): SeaLake. CLIP reads" in done.stdout
    assert 'classnames.json, such as {"SeaLake": "sea lake"}' in done.stdout
    assert "1 of 3 class names have digits: class 7." in done.stdout
    assert "could not be checked" not in done.stdout and "split file" not in done.stderr


def data_of(names, template="a photo of a {}."):
    items = [Item(Path("x"), label, name, f"{label}.png") for label, name in enumerate(names)]
    return build_dataset("folder", train=items, val=[], test=[], template=template)


def test_texts_that_the_tokenizer_refuses_are_refused():
    clip = ConfigDict({"path": "tiny", "revision": ""})
    assert check_texts(data_of(["cat", "dog"]), clip) == ""
    with pytest.raises(TextTooLongError, match=r"class 'very.*': The text .* has .* tokens"):
        check_texts(data_of(["cat", "very " * 90]), clip)
    same = dataclasses.replace(data_of(["cat", "dog"]), classnames=("Cat", "cat"))
    with pytest.raises(ConfigError, match="'Cat' and 'cat' are one text"):
        check_texts(same, clip)
    assert check_texts(dataclasses.replace(same, same_names=True), clip) == ""


def test_without_a_tokenizer_the_check_says_so(tmp_path):
    for place in (tmp_path, tmp_path / "gone"):
        said = check_texts(data_of(["cat"]), ConfigDict({"path": str(place), "revision": ""}))
        assert "could not be checked" in said and str(place) in said


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cat", "sea lake", "猫", "ÉCLAIR", "USA", "Dog"], []),
        (["SeaLake", "cat"], ['1 of 2.*CamelCase.*SeaLake.*{"SeaLake": "sea lake"}']),
        (["HTMLPage", "cat"], ['{"HTMLPage": "html page"}']),
        (["001.Black_footed_Albatross", "b2"], ['2 of 2.*digits.*"black footed albatross"']),
        (["n0123", "Type2Car"], ["1 of 2.*CamelCase.*Type2Car", '2 of 2.*"tabby cat"']),
    ],
)
def test_names_that_clip_may_not_understand_are_told(names, expected):
    found = name_remarks(data_of(names))
    assert len(found) == len(expected)
    assert all(re.search(one, said) for one, said in zip(expected, found, strict=True)), found


def test_a_run_tells_of_names_once_and_of_published_ones_never(data_config, capsys):
    dataset = data_of(["ToldOnce", "cat"])
    config = ConfigDict({"data": data_config(name="folder", root="x"), "progress": "plain"})
    for _ in range(3):
        tell(dataset, config)
    assert capsys.readouterr().err.count("(CamelCase): ToldOnce.") == 1
    assert not remarks(dataset, data_config(name="dtd", shots=1))
