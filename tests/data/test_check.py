import os
import subprocess
import sys
from pathlib import Path

import pytest

from dpl_jax.data.check import check, print_report
from dpl_jax.data.load import load_dataset

ROOT = Path(__file__).parents[2]


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


def run_command(*arguments):
    command = [sys.executable, "-m", "dpl_jax.data", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


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
