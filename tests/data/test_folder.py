import json

import pytest

from dpl_jax.data.folder import read_folder
from dpl_jax.data.load import load_dataset, sample
from dpl_jax.errors import DataError, DataNotFoundError


def tree(root, write_image, counts):
    for folder, count in counts.items():
        for index in range(count):
            write_image(root / folder / f"{index}.png")


def test_given_splits_are_taken_as_they_are(tmp_path, write_image):
    counts = {"train/cat": 3, "train/dog": 2, "val/dog": 1, "test/cat": 1, "test/dog": 2}
    tree(tmp_path, write_image, counts)
    dataset = read_folder(str(tmp_path))
    assert dataset.classnames == ("cat", "dog")
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [5, 1, 3]
    assert [i.name for i in dataset.test] == ["test/cat/0.png", "test/dog/0.png", "test/dog/1.png"]
    assert not dataset.split_built


def test_without_a_test_folder_val_is_the_test_set(tmp_path, write_image, caplog):
    tree(tmp_path, write_image, {"train/cat": 4, "train/dog": 4, "val/cat": 1, "val/dog": 1})
    dataset = read_folder(str(tmp_path))
    assert (len(dataset.val), len(dataset.test)) == (0, 2)
    assert "no test folder" in caplog.text


def test_class_folders_alone_are_split_with_a_fixed_seed(tmp_path, write_image, data_config):
    tree(tmp_path, write_image, {"sea_lion": 10, "emu": 20})
    data = data_config(name="folder", root=str(tmp_path), shots=2, template="an image of {}.")
    dataset = load_dataset(data)
    assert dataset.classnames == ("emu", "sea_lion")
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [15, 6, 9]
    assert dataset.split_built
    assert dataset.template == "an image of {}."
    assert load_dataset(data) == dataset
    one, two = (sample(dataset, data, seed=seed) for seed in (1, 2))
    assert one.train != two.train
    assert one.test == two.test == dataset.test


def test_class_names_can_be_given(tmp_path, write_image):
    tree(tmp_path, write_image, {"n01": 10, "n02": 10, "emu": 10})
    (tmp_path / "classnames.json").write_text(json.dumps({"n01": "tabby cat", "n02": "pug"}))
    assert read_folder(str(tmp_path)).classnames == ("emu", "tabby cat", "pug")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot be read as JSON"),
        ('["cat"]', "must be a mapping"),
        ('{"a": 3}', "must be a mapping"),
        ('{"c": "cat"}', "names the class folder 'c', but there are only: a, b"),
        ('{"a": "B"}', "label 0 and label 1"),
    ],
)
def test_bad_class_names_are_one_error(tmp_path, write_image, text, reason):
    tree(tmp_path, write_image, {"a": 10, "b": 10})
    (tmp_path / "classnames.json").write_text(text)
    with pytest.raises(DataError, match=reason):
        read_folder(str(tmp_path))


def test_files_that_are_no_images_and_hidden_ones_are_left_alone(tmp_path, write_image):
    tree(tmp_path, write_image, {"a": 5, "b": 5, ".cache": 3})
    (tmp_path / "a" / "notes.txt").write_text("hello")
    (tmp_path / "a" / ".DS_Store").touch()
    write_image(tmp_path / "b" / "UPPER.JPG")
    dataset = read_folder(str(tmp_path))
    assert dataset.classnames == ("a", "b")
    assert sum(map(len, (dataset.train, dataset.val, dataset.test))) == 11


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({"a": 10, "b": 0}, "b has no images"),
        ({"a": 10, "b": 3}, "'b' has 3 image"),
        ({"train/a": 2, "train/b": 0, "test/a": 1}, "train/b has no images"),
        ({"train/a": 2, "test/a": 1, "test/b": 1}, "test/b: this class has no folder in"),
        ({"train/a": 2}, "no test folder"),
        ({"test/a": 2, "val/a": 1}, "no train folder"),
        ({}, "no class folders"),
    ],
)
def test_a_tree_that_cannot_be_used_is_one_error(tmp_path, write_image, counts, reason):
    for folder in counts:
        (tmp_path / folder).mkdir(parents=True)
    tree(tmp_path, write_image, counts)
    with pytest.raises(DataError, match=reason):
        read_folder(str(tmp_path))


def test_a_missing_root_says_what_to_set(tmp_path):
    with pytest.raises(DataError, match=r"config\.data\.root"):
        read_folder("")
    with pytest.raises(DataNotFoundError, match=r"There is no folder .*gone"):
        read_folder(str(tmp_path / "gone"))
