"""What the folders of a root are taken for, and the way out where that is not certain."""

import json
import os
import re
import subprocess
import sys

import pytest

from configs.folder import get_config
from dpl_jax.data.folder import read_folder
from dpl_jax.data.folder_layout import split_name
from dpl_jax.data.load import check_test_images, remarks, sample
from dpl_jax.data.split import build_dataset
from dpl_jax.errors import DataError, DplError
from dpl_jax.members.seed_bank import load_seed_bank
from dpl_jax.training.inputs import load_inputs
from tests.data.trees import check_trees


@pytest.fixture
def grow(tmp_path, write_image):
    """Makes a tree from {folder: number of images}; "" is the root itself."""

    def make(counts, root=tmp_path):
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                write_image(root / folder / f"{index}.png")
        return str(root)

    return make


def sizes(dataset):
    return [len(split) for split in (dataset.train, dataset.val, dataset.test)]


def splits(**folders):
    """{"train": 2} as two classes of so many images in each folder."""
    return {f"{folder}/{name}": n for folder, n in folders.items() for name in ("cat", "dog")}


@pytest.mark.parametrize("word", ["train", "val", "test"])
def test_words_of_splits_in_any_case(word):
    words = {
        "train": ["train", "Train", "TRAIN", "training", "Training"],
        "val": ["val", "VAL", "valid", "Validation", "dev"],
        "test": ["test", "Test", "testing", "TESTING"],
    }[word]
    assert {split_name(each) for each in words} == {word}
    assert split_name(f"{word}s of things") is None


def test_a_class_called_train_is_a_class(grow, caplog):
    root = grow({"bus": 8, "car": 8, "train": 8, "truck": 8})
    dataset = read_folder(root)
    assert dataset.classnames == ("bus", "car", "train", "truck")
    assert sizes(dataset) == [16, 8, 8]
    assert "taken for a class" in caplog.text
    assert all(item.classname == "train" for item in dataset.test if "train" in item.name)


def test_classes_called_valid_and_dev_are_classes(grow):
    assert read_folder(grow({"valid": 4, "invalid": 4, "dev": 4})).classnames == (
        *("dev", "invalid", "valid"),
    )


@pytest.mark.parametrize(
    ("folders", "expected", "said"),
    [
        ({"Train": 4, "Val": 2, "Test": 3}, [8, 4, 6], "Train/ -> training images, Val/ ->"),
        ({"training": 4, "dev": 2, "testing": 3}, [8, 4, 6], "testing/ -> test images"),
        ({"TRAIN": 4, "TEST": 3}, [8, 0, 6], "no validation folder: held out"),
        ({"training": 4, "valid": 2}, [8, 0, 4], "valid/ -> test images"),
    ],
)
def test_splits_are_found_by_their_words(grow, folders, expected, said):
    dataset = read_folder(grow(splits(**folders)))
    assert sizes(dataset) == expected
    assert said in dataset.split
    assert not dataset.split_built


def test_images_without_labels_beside_given_splits_are_left_out(grow, caplog):
    root = grow(splits(train=4, val=2) | {"test": 5, "train": 1, "bird": 3, "": 1})
    dataset = read_folder(root)
    assert sizes(dataset) == [8, 0, 4]
    assert dataset.classnames == ("cat", "dog")
    flat = [f"The images directly in {root}{part} are not" for part in ("", "/train", "/test")]
    for said in ("no test folder", *flat, "bird/ beside"):
        assert said in caplog.text


def test_a_wrapping_folder_is_looked_into(grow, tmp_path):
    inner = {"a": 6, "b": 5}
    plain = read_folder(grow(inner, tmp_path / "plain"))
    wrapped = read_folder(grow(inner, tmp_path / "zip" / "set" / "photos")[: -len("/set/photos")])
    assert [i.name for i in wrapped.test] == [f"set/photos/{i.name}" for i in plain.test]
    assert "class folders in set/photos/" in wrapped.split
    assert all(item.image.is_file() for item in wrapped.train)
    given = read_folder(grow(splits(Train=3, Test=1), tmp_path / "z" / "data")[: -len("/data")])
    assert sizes(given) == [6, 0, 2]
    assert "data/Train/ -> training images" in given.split
    twice = read_folder(grow(splits(**{"train/train": 3, "test/a/b": 1}), tmp_path / "twice"))
    assert sizes(twice) == [6, 0, 2]
    assert "train/train/ -> training images, test/a/b/ -> test images" in twice.split
    assert twice.test[1].name == "test/a/b/dog/0.png"


def test_folders_of_operating_systems_are_passed_over(grow):
    root = grow({"set/cat": 4, "set/dog": 4, "__MACOSX/set": 2, "set/@eaDir": 3, "lost+found": 0})
    dataset = read_folder(root)
    assert dataset.classnames == ("cat", "dog")
    assert sizes(dataset) == [4, 2, 2]


def test_class_names_beside_wrapped_folders(grow, tmp_path):
    grow({"n01": 4, "n02": 4}, tmp_path / "set")
    (tmp_path / "set" / "classnames.json").write_text(json.dumps({"n01": "tabby cat"}))
    assert read_folder(str(tmp_path)).classnames == ("tabby cat", "n02")


@pytest.mark.parametrize(
    ("counts", "reasons"),
    [
        # A flat folder of test images has no labels.
        (splits(train=4) | {"test": 3}, ["no test folder", "test holds images without", "50/20"]),
        (splits(train=4) | {"test": 0}, ["no test folder", "test holds nothing"]),
        (splits(train=4), ["no test folder", "data.root=.*/train$"]),
        (splits(test=4), ["no train folder", "train/<class>"]),
        ({"cat": 4, "dog": 4} | splits(test=4), ["no train folder", "cat/, dog/ the classes"]),
        ({"train": 4} | splits(test=4), ["no train folder with class folders", "no labels"]),
        ({"cat": 4, "dog": 4, "test": 4}, ["test folder but no train", "classnames.json", "move"]),
        ({"cat": 4, "dog": 4, "train": 4, "Test": 4}, ["may be a class or images without labels"]),
        (
            {"train": 4, "test": 4},
            ["train has images in no class folder", "<class>", "data.labels=FILE"],
        ),
        ({"train": 4}, ["train has images in no class folder"]),
        ({"": 4}, ["has images in no class folder", "data.labels=FILE"]),
        ({"set/cat": 4, "set/dog": 4, "docs": 0}, ["too deep", "data.root=.*/set, or"]),
        ({"animals/cat": 4, "things/cup": 4}, ["one level too deep", "animals/cat/, things/cup/"]),
        ({"train/train": 4, "test/test": 4}, ["train has images in no class folder"]),
        ({"cat": 4, "dog/2020": 4, "dog/2021": 4}, ["dog has no images itself, but 2020/, 2021/"]),
        ({"cat": 8}, ["one class folder, cat: there is nothing to tell it from"]),
        ({"set": 1, "set/cat": 4, "set/dog": 4}, ["cat/, dog/ in it", "data.root=.*/set$"]),
        ({"train/cat": 4, "test/cat": 2}, ["of one class, 'cat'"]),
        ({"cat": 0, "dog": 0}, ["cat has no images"]),
        ({"cat": 4, "dog": 4, "empty": 0}, ["empty has no images", "remove the folder"]),
        (splits(train=4, val=1, valid=1, test=1), ["val and .*valid could both be the validation"]),
        (splits(Train=4, train=4, test=1), ["Train and .*train could both be the training"]),
        (splits(train=4) | {"bird": 4}, ["no test folder", "If those are classes"]),
        (splits(train=4, test=4) | {"test/emu": 1}, ["test/emu: this class has no folder in"]),
        ({"cat": 3, "dog": 9}, ["'cat' has 3 image", "at least 4", "data.labels=FILE"]),
        ({"cat": 3, "dog": 4, "emu": 2}, ["'cat' has 3 image", "also in 'emu' \\(2\\)"]),
        ({}, ["no class folders", "<class>"]),
    ],
)
def test_what_is_not_certain_is_one_message_with_the_way_out(grow, counts, reasons):
    root = grow(counts)
    with pytest.raises(DataError) as error:
        read_folder(root)
    assert root in str(error.value)
    for reason in reasons:
        assert re.search(reason, str(error.value)), (reason, str(error.value))


def test_a_link_that_puts_one_file_into_two_splits_is_refused(grow, tmp_path):
    grow(splits(train=4), tmp_path / "a")
    (tmp_path / "a" / "test").symlink_to(tmp_path / "a" / "train")
    with pytest.raises(DataError, match=r"train/cat/0.png \(train\) and .*test/cat/0.png \(test\)"):
        read_folder(str(tmp_path / "a"))
    grow(splits(train=4, test=1), tmp_path / "b")
    (tmp_path / "b/test/dog/9.png").symlink_to("../../train/dog/2.png")
    with pytest.raises(DataError, match="are one file, by a link"):
        read_folder(str(tmp_path / "b"))
    grow({"cat": 4, "dog": 4}, tmp_path / "c")
    (tmp_path / "c" / "feline").symlink_to(tmp_path / "c" / "cat")
    with pytest.raises(DataError, match=r"cat/\d.png .* are one file, by a link"):
        read_folder(str(tmp_path / "c"))


def test_a_root_that_is_no_folder_says_so(tmp_path):
    (tmp_path / "photos.zip").touch()
    with pytest.raises(DataError, match=r"photos.zip is a file, not a folder; unpack it"):
        read_folder(str(tmp_path / "photos.zip"))
    with pytest.raises(DataError, match="There is no folder ~nobody_of_that_name/photos"):
        read_folder("~nobody_of_that_name/photos")


def test_two_folders_of_one_name_are_named_with_their_root(grow):
    root = grow({"cat": 4, "CAT": 4})
    with pytest.raises(DataError, match=f"^{re.escape(root)}: .*'cat'"):
        read_folder(root)


def test_linked_folders_are_followed(grow, tmp_path):
    grow({"cat": 4, "dog": 4}, tmp_path / "store")
    (tmp_path / "root").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "root" / name).symlink_to(tmp_path / "store" / name)
    assert read_folder(str(tmp_path / "root")) == read_folder(str(tmp_path / "store"))
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "again").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match="no images"):
        read_folder(str(tmp_path / "loop"))


def test_the_order_of_the_file_system_does_not_matter(grow, monkeypatch):
    root = grow({"set/train": 7, "set/bus": 5, "set/car": 9})
    before, scandir = read_folder(root), os.scandir

    class Backwards:
        def __init__(self, folder):
            with scandir(folder) as found:
                self.entries = list(found)[::-1]

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(os, "scandir", Backwards)
    assert read_folder(root) == before


def test_what_limits_a_run_is_said_before_it(grow, data_config):
    dataset = read_folder(grow(splits(train=4, test=2) | {"train/emu": 1}))
    few, untested = remarks(dataset, data_config(shots=3))
    assert "emu (1)" in few
    assert "1 of 3 classes have no test images, so that their accuracy is not measured: emu" in (
        untested
    )
    assert remarks(dataset, data_config(shots=3, allow_fewer_shots=True)) == [untested]


@pytest.mark.parametrize("members", [False, True])
def test_a_run_says_what_was_taken_for_what_before_anything_else(grow, tmp_path, capsys, members):
    def load(root):
        config = get_config("shots=2")
        config.clip.path, config.data.root = str(tmp_path / "no CLIP"), root
        if members:
            load_seed_bank(config, [1], hold_out=True)
        else:
            load_inputs(config, hold_out=True)

    with pytest.raises(DplError, match="no CLIP"):
        load(grow(splits(Train=4, Test=2), tmp_path / "good"))
    said = capsys.readouterr().err
    assert "Train/ -> training images, Test/ -> test images; no validation folder" in said
    assert "2 classes, 8 training, 0 validation and 4 test images" in said
    with pytest.raises(DataError, match="no test folder"):
        load(grow(splits(train=4) | {"test": 3}, tmp_path / "flat"))


def test_check_prints_what_was_taken_for_what(grow):
    root = grow(splits(training=3, dev=2))
    command = [sys.executable, "-m", "dpl_jax.data", "check", "--config=folder:shots=4"]
    done = subprocess.run(
        [*command, f"--config.data.root={root}"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0
    assert "training/ -> training images, dev/ -> test images; no validation" in done.stdout
    assert "data.shots is 4, more training images than some classes have: cat (3)" in done.stdout
    assert "has no test folder: the images of dev are the test set" in done.stderr


def test_no_test_images_are_an_error_before_a_run(make_items, data_config):
    dataset = build_dataset(
        "dtd", train=make_items({0: 4, 1: 4}), val=[], test=[], template="a {}."
    )
    with pytest.raises(DataError, match="dtd has no test images"):
        check_test_images(dataset)
    with pytest.raises(DataError, match="dtd has no test images"):
        sample(dataset, data_config(shots=2), seed=1)


def test_random_trees_are_a_sound_dataset_or_one_error(tmp_path):
    """A slice of what tests/data/trees.py does by hand."""
    counts = check_trees(tmp_path, 400, seed=5)
    assert all(counts[kind] > 30 for kind in ("error", "split here", "given splits"))
