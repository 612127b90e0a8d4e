"""TFDS's side is real: small datasets are prepared by TFDS itself, as array_record."""

import io
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.data.decode import decode
from dpl_jax.data.images import Reading
from dpl_jax.data.load import load_dataset
from dpl_jax.data.tfds_source import read_tfds
from dpl_jax.errors import DataError, DataNotFoundError

LABELS = ["background_google", "ants", "faces"]


def png(level):
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (12, 10), (level, level, level)).save(buffer, "PNG")
    buffer.seek(0)
    return buffer


def prepare(data_dir, name, splits, labels=LABELS, file_name="image/file_name"):
    """Prepares a dataset of (file name, label, grey level) rows in each split."""

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = data_dir

        def _info(self):
            features = {
                "image": tfds.features.Image(),
                "label": tfds.features.ClassLabel(names=labels),
            }
            if file_name:
                features[file_name] = tfds.features.Text()
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, manager):
            return {split: self._generate_examples(rows) for split, rows in splits.items()}

        def _generate_examples(self, rows):
            for number, (path, label, level) in enumerate(rows):
                named = {file_name: path} if file_name else {}
                yield number, {"image": png(level), "label": label} | named

    Builder.name = name
    builder = Builder(data_dir=data_dir, file_format="array_record")
    builder.download_and_prepare()


@pytest.fixture
def caltech(tmp_path):
    """Eight records; TFDS knows the class folders in lower case, and other splits."""
    rows = [(f"image_{i:04d}.jpg", label, 10 * i + label) for label in (1, 2) for i in range(4)]
    prepare(tmp_path / "tfds", "caltech101", {"train": rows[::2], "test": rows[1::2]})
    return tmp_path


def coop_rows():
    names = {1: "Ants", 2: "Faces"}
    rows = [
        [f"{folder}/image_{i:04d}.jpg", label - 1, folder.lower().rstrip("s")]
        for label, folder in names.items()
        for i in range(4)
    ]
    return {"train": rows[0:2] + rows[4:6], "val": [rows[2], rows[6]], "test": [rows[3], rows[7]]}


def test_coops_split_is_joined_by_class_and_file_name(caltech, write_split, data_config):
    rows = coop_rows()
    file = write_split(caltech / "caltech-101" / "split_zhou_Caltech101.json", **rows)
    fields = {"name": "caltech101", "source": "tfds", "tfds_dir": str(caltech / "tfds")}
    for where in ({"root": str(caltech)}, {"split_file": str(file)}):
        dataset = load_dataset(data_config(**fields, **where))
        assert dataset.classnames == ("ant", "face")
        for split in ("train", "val", "test"):
            items = getattr(dataset, split)
            assert [[i.name, i.label, i.classname] for i in items] == rows[split]
            images, labels = decode(items, Preprocessing(8, 8))
            levels = [10 * int(i.name[-5]) + i.label + 1 for i in items]
            assert images[:, 4, 4, 0].tolist() == levels
            assert labels.tolist() == [i.label for i in items]


def test_without_a_split_file_tfds_splits_are_used_with_a_warning(caltech, caplog):
    dataset = read_tfds("caltech101", str(caltech / "tfds"), str(caltech))
    assert dataset.classnames == ("ants", "faces")
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (4, 0, 4)
    assert "not comparable" in caplog.text


def test_a_file_that_tfds_lacks_means_no_join(caltech, write_split, caplog):
    rows = coop_rows()
    rows["test"].append(["Ants/image_0099.jpg", 0, "ant"])
    file = write_split(caltech / "split.json", **rows)
    dataset = read_tfds("caltech101", str(caltech / "tfds"), "", str(file))
    assert "Ants/image_0099.jpg" in caplog.text
    assert "not comparable" in caplog.text
    assert dataset.classnames == ("ants", "faces")


def test_a_file_of_another_class_is_never_taken_for_a_missing_one(tmp_path, write_split):
    records = [(f"image_{i:04d}.jpg", 1, 9) for i in range(200)]
    prepare(tmp_path, "caltech101", {"train": records})
    rows = [[f"Ants/image_{i:04d}.jpg", 0, "ant"] for i in range(199)]
    file = write_split(
        tmp_path / "split.json", train=rows, test=[["Faces/image_0199.jpg", 1, "face"]]
    )
    dataset = read_tfds("caltech101", str(tmp_path), "", str(file))
    assert (len(dataset.train), len(dataset.test)) == (199, 0)


def test_a_few_missing_images_are_left_out_with_a_warning(tmp_path, write_split, caplog):
    names = [f"{i:05d}" for i in range(200)]
    records = [(name, 1, 0) for name in names[1:]]
    prepare(tmp_path, "cars196", {"train": records, "test": [(names[0], 2, 7)]}, file_name="id")
    rows = [[f"cars_train/{name}.jpg", 0, "a car"] for name in names]
    test = [["cars_test/00000.jpg", 1, "another"]]
    file = write_split(tmp_path / "split.json", train=rows, test=test)
    dataset = read_tfds("stanford_cars", str(tmp_path), "", str(file))
    assert [item.name for item in dataset.train] == [row[0] for row in rows[1:]]
    assert decode(dataset.test, Preprocessing(8, 8))[0][0, 0, 0, 0] == 7
    assert "TFDS lacks 1 image(s)" in caplog.text


def test_records_without_file_names_are_named_by_their_number(tmp_path):
    rows = [("", label, 9) for label in (0, 1, 2) for _ in range(6)]
    prepare(tmp_path, "food101", {"train": rows}, file_name="")
    dataset = read_tfds("food101", str(tmp_path), str(tmp_path))
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [9, 3, 6]
    names = {i.name for s in (dataset.train, dataset.val, dataset.test) for i in s}
    assert names == {f"train/{number:07d}" for number in range(18)}


def test_imagenet_gets_clips_class_names_and_the_200_class_mapping(tmp_path):
    wnids = ["n01", "n02", "n03", "n04"]
    lines = "\n".join(f"{wnid} class {wnid[-1]}" for wnid in wnids)
    (tmp_path / "imagenet-adversarial").mkdir()
    (tmp_path / "imagenet-adversarial" / "classnames.txt").write_text(lines)
    rows = [("a.jpg", 0, 1), ("b.jpg", 1, 2)]
    prepare(tmp_path / "tfds", "imagenet_a", {"test": rows}, ["n04", "n02"], "file_name")
    dataset = read_tfds("imagenet_a", str(tmp_path / "tfds"), str(tmp_path))
    assert dataset.classnames == ("class 2", "class 4")
    assert {i.name: i.label for i in dataset.test} == {"a.jpg": 1, "b.jpg": 0}
    assert not dataset.train


def test_a_dataset_that_is_not_prepared_is_an_error_with_the_commands(tmp_path):
    with pytest.raises(DataNotFoundError) as caught:
        read_tfds("oxford_pets", str(tmp_path))
    message = str(caught.value)
    assert "pip install tensorflow" in message
    build = f"tfds build oxford_iiit_pet --data_dir={tmp_path} --file_format=array_record"
    assert build in message


def test_another_file_format_is_an_error_with_the_commands(tmp_path):
    prepare(tmp_path, "dtd", {"test": [("a.jpg", 0, 1)]})
    info = tmp_path / "dtd" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(DataError, match="file_format=array_record"):
        read_tfds("dtd", str(tmp_path))


def test_what_tfds_does_not_have_is_an_error(tmp_path):
    with pytest.raises(DataError, match="TFDS has no ucf101"):
        read_tfds("ucf101", str(tmp_path))


def test_reading_imports_no_tensorflow(caltech):
    program = (
        "import sys; from dpl_jax.data.tfds_source import read_tfds;"
        f"dataset = read_tfds('caltech101', {str(caltech / 'tfds')!r}, {str(caltech)!r});"
        "assert dataset.train[0].image.read()[:4] == b'\\x89PNG';"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_records_can_be_read_by_many_threads(caltech):
    dataset = read_tfds("caltech101", str(caltech / "tfds"), str(caltech))
    items = (dataset.train + dataset.test) * 50
    images, _ = decode(items, Preprocessing(8, 8), Reading(workers=8))
    expected, _ = decode(items[:8], Preprocessing(8, 8), Reading(workers=1))
    np.testing.assert_array_equal(images, np.concatenate([expected] * 50))
