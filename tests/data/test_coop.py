import json
import logging
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from dpl_jax.data.coop.imagenet import class_indices
from dpl_jax.data.coop.layouts import LAYOUTS, read_coop
from dpl_jax.data.coop.split_file import read_split
from dpl_jax.data.own_split import save_lists
from dpl_jax.data.templates import TEMPLATES
from dpl_jax.errors import DataError, DataNotFoundError

WITH_SPLIT_FILE = [name for name, layout in LAYOUTS.items() if layout.split_file]
ROWS = {
    "train": [["b/1.jpg", 1, "bee"], ["a/1.jpg", 0, "ant"], ["a/2.jpg", 0, "ant"]],
    "val": [["a/3.jpg", 0, "ant"]],
    "test": [["b/2.jpg", 1, "bee"]],
}


@pytest.mark.parametrize("name", WITH_SPLIT_FILE)
def test_a_split_file_is_read_as_it_stands(tmp_path, write_split, name):
    layout = LAYOUTS[name]
    folder = tmp_path / layout.folder
    (folder / layout.images).mkdir(parents=True, exist_ok=True)
    write_split(folder / layout.split_file, **ROWS)
    for root in (tmp_path, folder):  # the data root, or the dataset's folder itself
        dataset = read_coop(name, str(root))
        for split, rows in ROWS.items():
            items = getattr(dataset, split)
            assert [[i.name, i.label, i.classname] for i in items] == rows
            assert all(i.image == folder / layout.images / i.name for i in items)
    assert dataset.classnames == ("ant", "bee")
    assert dataset.template == TEMPLATES[name]
    assert dataset.split == layout.split_file
    assert not dataset.split_built


def test_the_root_may_come_from_the_environment(tmp_path, write_split, monkeypatch):
    (tmp_path / "dtd" / "images").mkdir(parents=True)
    write_split(tmp_path / "dtd" / LAYOUTS["dtd"].split_file, **ROWS)
    monkeypatch.setenv("DPL_DATA_ROOT", str(tmp_path))
    assert len(read_coop("dtd").train) == 3


def test_another_split_file_can_be_used(tmp_path, write_split):
    (tmp_path / "dtd" / "images").mkdir(parents=True)
    other = write_split(tmp_path / "mine.json", **ROWS)
    assert read_coop("dtd", str(tmp_path), str(other)).split == "mine.json"


@pytest.mark.parametrize("path", ["../secret.jpg", "a/../../secret.jpg", "/etc/passwd", "..\\x"])
def test_a_path_outside_the_image_folder_is_refused(tmp_path, write_split, path):
    (tmp_path / "dtd" / "images").mkdir(parents=True)
    write_split(tmp_path / "dtd" / LAYOUTS["dtd"].split_file, train=[[path, 0, "ant"]])
    with pytest.raises(DataError, match="points outside the image folder"):
        read_coop("dtd", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot be read as JSON"),
        ("[" * 3000, "nested too deeply"),
        ("[]", "is not a split file"),
        ('{"train": []}', "is not a split file"),
        ('{"train": 3, "val": [], "test": []}', "must be a list"),
        ('{"train": [["a.jpg", 0]], "val": [], "test": []}', "is not a .* row"),
        ('{"train": [["a.jpg", "x", "y"]], "val": [], "test": []}', "is not a .* row"),
        ('{"train": [[7, 0, "y"]], "val": [], "test": []}', "is not a .* row"),
        ('{"train": [["a.jpg", 0, "y"]], "val": [], "test": [["a.jpg", 0, "y"]]}', "two splits"),
        ('{"train": [], "val": [], "test": []}', "no images"),
    ],
)
def test_a_damaged_split_file_is_one_error(tmp_path, text, reason):
    (tmp_path / "dtd" / "images").mkdir(parents=True)
    (tmp_path / "dtd" / LAYOUTS["dtd"].split_file).write_text(text)
    with pytest.raises(DataError, match=reason):
        read_coop("dtd", str(tmp_path))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda children: st.lists(children, max_size=4),
    max_leaves=6,
)
rows = st.lists(
    st.lists(json_values, max_size=4)
    | st.tuples(st.text(max_size=9), st.integers(0, 3), st.text(max_size=3)),
    max_size=5,
)


@given(split=st.fixed_dictionaries({"train": rows, "val": rows, "test": rows | json_values}))
def test_any_split_file_is_read_or_refused_in_one_way(tmp_path_factory, split):
    folder = tmp_path_factory.mktemp("any")
    (folder / "split.json").write_text(json.dumps(split))
    try:
        splits = read_split(folder / "split.json", folder / "images")
    except DataError as error:
        assert "\n" not in str(error)
        return
    for item in splits.train + splits.val + splits.test:
        assert (folder / "images") in [item.image, *item.image.parents]
        assert ".." not in item.image.parts


def test_missing_folders_and_files_are_errors_that_say_where_it_looked(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"no folder .*dtd.*data\.root.*docs/datasets\.md"):
        read_coop("dtd", str(tmp_path))
    (tmp_path / "dtd").mkdir()
    with pytest.raises(DataNotFoundError, match=r"no image folder .*dtd/images"):
        read_coop("dtd", str(tmp_path))
    (tmp_path / "dtd" / "images").mkdir()
    with pytest.raises(DataNotFoundError, match="no class folders"):
        read_coop("dtd", str(tmp_path))
    with pytest.raises(DataNotFoundError, match=r"no split file .*gone\.json"):
        read_coop("dtd", str(tmp_path), str(tmp_path / "gone.json"))


def class_folders(folder, counts):
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            (folder / name / f"image_{index:04d}.jpg").touch()


def test_without_a_split_file_classes_are_split_as_in_coop(tmp_path, caplog):
    images = tmp_path / "caltech-101" / "101_ObjectCategories"
    counts = {"Faces": 11, "ant": 10, "BACKGROUND_Google": 5, "Faces_easy": 6, ".hidden": 2}
    class_folders(images, counts)
    with caplog.at_level(logging.WARNING):
        dataset = read_coop("caltech101", str(tmp_path))
    assert dataset.classnames == ("face", "ant")
    sizes = {
        split: [sum(i.label == label for i in getattr(dataset, split)) for label in (0, 1)]
        for split in ("train", "val", "test")
    }
    assert sizes == {"train": [round(5.5), 5], "val": [2, 2], "test": [3, 3]}
    assert "not comparable" in caplog.text
    random.seed(1)  # CoOp: shuffle each class with the global stream, take halves from the front
    files = sorted(p.name for p in (images / "Faces").iterdir())
    random.shuffle(files)
    assert [i.name for i in dataset.train if i.label == 0] == [f"Faces/{f}" for f in files[:6]]


def test_a_split_that_was_built_is_saved_with_the_run_and_not_with_the_data(tmp_path):
    class_folders(tmp_path / "dtd" / "images", {"banded": 10, "dotted": 10})
    before = sorted(tmp_path.rglob("*"))
    dataset = read_coop("dtd", str(tmp_path))
    assert dataset.split_built
    assert sorted(tmp_path.rglob("*")) == before
    run = tmp_path / "run"
    run.mkdir()
    save_lists(run, dataset, dataset)
    again = read_coop("dtd", str(tmp_path), str(run / "split.json"))
    assert (again.train, again.val, again.test) == (dataset.train, dataset.val, dataset.test)


def test_a_class_too_small_to_split_is_an_error_that_names_it(tmp_path):
    class_folders(tmp_path / "dtd" / "images", {"banded": 10, "dotted": 3})
    with pytest.raises(DataError, match="'dotted' has 3 image"):
        read_coop("dtd", str(tmp_path))


def test_oxford_pets_from_its_annotations(tmp_path):
    folder = tmp_path / "oxford_pets"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    lines = [f"Great_Pyrenees_{i} 2 2 1\nAbyssinian_{i} 1 1 1" for i in range(10)]
    (folder / "annotations" / "trainval.txt").write_text("\n".join(lines) + "\n")
    (folder / "annotations" / "test.txt").write_text("Abyssinian_99 1 1 1\n")
    dataset = read_coop("oxford_pets", str(tmp_path))
    assert dataset.classnames == ("abyssinian", "great_pyrenees")
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (16, 4, 1)
    assert dataset.test[0].name == "Abyssinian_99.jpg"
    trainval = [item.name for item in dataset.train + dataset.val]
    assert len(set(trainval)) == 20


def test_stanford_cars_from_its_annotations(tmp_path):
    folder = tmp_path / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    names = np.array(["AM General Hummer SUV 2000", "Audi S4 Sedan 2012"], dtype=object)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names.reshape(1, -1)})

    def annotations(labels):
        rows = np.zeros((1, len(labels)), [("class", object), ("fname", object)])
        for index, label in enumerate(labels):
            rows[0, index] = (label, f"{index + 1:05d}.jpg")
        return {"annotations": rows}

    savemat(folder / "devkit" / "cars_train_annos.mat", annotations([1, 2] * 5))
    savemat(folder / "cars_test_annos_withlabels.mat", annotations([2, 1]))
    dataset = read_coop("stanford_cars", str(tmp_path))
    assert dataset.classnames == ("2000 AM General Hummer SUV", "2012 Audi S4 Sedan")
    assert [(i.name, i.label) for i in dataset.test] == [
        ("cars_test/00001.jpg", 1),
        ("cars_test/00002.jpg", 0),
    ]
    assert (len(dataset.train), len(dataset.val)) == (8, 2)


def test_oxford_flowers_from_its_annotations(tmp_path):
    folder = tmp_path / "oxford_flowers"
    (folder / "jpg").mkdir(parents=True)
    savemat(folder / "imagelabels.mat", {"labels": np.array([[2, 1] * 10], np.uint8)})
    (folder / "cat_to_name.json").write_text(json.dumps({"1": "pink primrose", "2": "daisy"}))
    dataset = read_coop("oxford_flowers", str(tmp_path))
    assert dataset.classnames == ("pink primrose", "daisy")
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (10, 4, 6)
    for item in dataset.train + dataset.val + dataset.test:
        assert item.label == int(item.name[6:11]) % 2
        assert item.image == folder / "jpg" / item.name


def test_fgvc_aircraft_from_its_own_lists(tmp_path):
    folder = tmp_path / "fgvc_aircraft"
    (folder / "images").mkdir(parents=True)
    (folder / "variants.txt").write_text("707-320\nBAE 146-200\n")
    for split, number in (("train", 1), ("val", 2), ("test", 3)):
        lines = f"00{number} BAE 146-200\n01{number} 707-320\n"
        (folder / f"images_variant_{split}.txt").write_text(lines)
    dataset = read_coop("fgvc_aircraft", str(tmp_path))
    assert dataset.classnames == ("707-320", "BAE 146-200")
    assert [(i.name, i.label) for i in dataset.val] == [("002.jpg", 1), ("012.jpg", 0)]
    assert not dataset.split_built


def test_sun397_from_its_lists(tmp_path):
    folder = tmp_path / "sun397"
    (folder / "SUN397").mkdir(parents=True)
    (folder / "ClassName.txt").write_text("/a/abbey\n/c/church/outdoor\n")
    lines = [f"/c/church/outdoor/sun_{i}.jpg\n/a/abbey/sun_a{i}.jpg" for i in range(5)]
    (folder / "Training_01.txt").write_text("\n".join(lines))
    (folder / "Testing_01.txt").write_text("/c/church/outdoor/sun_t.jpg\n")
    dataset = read_coop("sun397", str(tmp_path))
    assert dataset.classnames == ("abbey", "outdoor church")
    assert (len(dataset.train), len(dataset.val)) == (8, 2)
    assert dataset.test[0].image == folder / "SUN397" / "c/church/outdoor/sun_t.jpg"


def test_ucf101_from_its_lists(tmp_path):
    folder = tmp_path / "ucf101"
    (folder / "UCF-101-midframes").mkdir(parents=True)
    lists = folder / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 ApplyEyeMakeup\n2 Archery\n")
    lines = [f"Archery/v_{i}.avi 2\nApplyEyeMakeup/v_{i}.avi 1" for i in range(5)]
    (lists / "trainlist01.txt").write_text("\n".join(lines))
    (lists / "testlist01.txt").write_text("ApplyEyeMakeup/v_9.avi\n")
    dataset = read_coop("ucf101", str(tmp_path))
    assert dataset.classnames == ("Apply_Eye_Makeup", "Archery")
    assert dataset.test[0].name == "Apply_Eye_Makeup/v_9.jpg"
    assert (len(dataset.train), len(dataset.val)) == (8, 2)


def test_a_line_that_makes_no_sense_is_an_error_with_its_number(tmp_path):
    folder = tmp_path / "fgvc_aircraft"
    (folder / "images").mkdir(parents=True)
    (folder / "variants.txt").write_text("707-320\n")
    (folder / "images_variant_train.txt").write_text("001 707-320\n002 Concorde\n")
    with pytest.raises(DataError, match=r"images_variant_train\.txt, line 2: '002 Concorde'"):
        read_coop("fgvc_aircraft", str(tmp_path))


WNIDS = [f"n{7 * place:08d}" for place in range(1000)]


def imagenet_names(folder):
    folder.mkdir(parents=True)
    lines = [f"{wnid} class {place}" for place, wnid in enumerate(WNIDS)]
    (folder / "classnames.txt").write_text("\n".join(lines))


def test_imagenet_has_no_validation_images_of_its_own(tmp_path):
    imagenet_names(tmp_path / "imagenet")
    for split in ("train", "val"):
        chosen = {WNIDS[place]: 2 for place in (999, 3)}
        class_folders(tmp_path / "imagenet" / "images" / split, chosen)
    dataset = read_coop("imagenet", str(tmp_path))
    assert dataset.classnames == ("class 3", "class 999")
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (4, 0, 4)
    assert dataset.train[0].name == f"train/{WNIDS[3]}/image_0000.jpg"
    assert not set(dataset.train) & set(dataset.test)


@pytest.mark.parametrize("name", ["imagenet_a", "imagenet_r", "imagenet_sketch"])
def test_variants_keep_imagenets_order_and_map_onto_its_classes(tmp_path, name):
    chosen = sorted(random.Random(5).sample(range(1000), 200))
    imagenet_names(tmp_path / "imagenet")  # its classnames.txt serves the variants too
    layout = LAYOUTS[name]
    class_folders(tmp_path / layout.folder / layout.images, {WNIDS[p]: 1 for p in chosen})
    (tmp_path / layout.folder / layout.images / "README.txt").touch()
    dataset = read_coop(name, str(tmp_path))
    assert dataset.classnames == tuple(f"class {place}" for place in chosen)
    assert [item.label for item in dataset.test] == list(range(200))
    names = {wnid: f"class {place}" for place, wnid in enumerate(WNIDS)}
    wnids = [item.name.partition("/")[0] for item in dataset.test]
    assert class_indices(wnids, names) == tuple(chosen)
    assert not dataset.train


def test_imagenet_v2_folders_are_class_numbers(tmp_path):
    imagenet_names(tmp_path / "imagenetv2")
    layout = LAYOUTS["imagenetv2"]
    class_folders(tmp_path / layout.folder / layout.images, {"10": 1, "2": 1, "999": 1})
    dataset = read_coop("imagenetv2", str(tmp_path))
    assert dataset.classnames == ("class 2", "class 10", "class 999")
    assert [item.name[:3] for item in dataset.test] == ["2/i", "10/", "999"]


def test_what_classnames_txt_lacks_is_an_error(tmp_path):
    layout = LAYOUTS["imagenet_a"]
    class_folders(tmp_path / layout.folder / layout.images, {"n99999999": 1})
    with pytest.raises(DataNotFoundError, match=r"classnames\.txt"):
        read_coop("imagenet_a", str(tmp_path))
    imagenet_names(tmp_path / "imagenet")
    with pytest.raises(DataError, match="'n99999999' is not a class"):
        read_coop("imagenet_a", str(tmp_path))


def test_two_classes_of_imagenet_may_share_a_name(tmp_path):
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "imagenet" / "classnames.txt").write_text("n1 missile\nn2 missile\n")
    for split in ("train", "val"):
        class_folders(tmp_path / "imagenet" / "images" / split, {"n1": 1, "n2": 1})
    assert read_coop("imagenet", str(tmp_path)).classnames == ("missile", "missile")


def test_real_caltech101_is_complete_in_its_classes(data_root):
    dataset = read_coop("caltech101", str(data_root))
    assert len(dataset.classnames) == 100
    assert dataset.classnames[:4] == ("face", "leopard", "motorbike", "accordion")
    assert all(item.image.is_file() for item in dataset.train + dataset.val + dataset.test)
