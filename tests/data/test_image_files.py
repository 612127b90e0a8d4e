import itertools
import subprocess
import sys

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpl_jax.data import image_files
from dpl_jax.data.check import check, print_report
from dpl_jax.data.coop.layouts import read_coop
from dpl_jax.data.folder import read_folder
from dpl_jax.data.image_files import HAS_AVIF, HAS_HEIF, is_image, is_system_path
from dpl_jax.errors import DataError
from dpl_jax.inference.predict import find_images

CLASSES = ("cat", "dog")
# As systems, browsers, cameras and synchronisers leave them beside photos.
LEFT = ("Thumbs.db", ".DS_Store", "desktop.ini", "._img_0.jpg", "Icon\r", "img_0.jpg.part")
LEFT += ("img_1.jpg.crdownload", "img_1.jpg.tmp", "img_2.jpg~", ".~img_2.jpg", "~$notes.jpg")
LEFT += (
    "img_1.sync-conflict-20200101-010101-ABC.jpg",
    "img_1 (Ann's conflicted copy 2020-01-01).jpg",
)
FOLDERS = ("__MACOSX", "@eaDir", ".ipynb_checkpoints", "$RECYCLE.BIN", "#recycle", "Lost+Found")


def photos(root, count=8, ending="jpg"):
    for name, index in itertools.product(CLASSES, range(count)):
        (root / name).mkdir(parents=True, exist_ok=True)
        file = root / name / f"img_{index}.{ending}"
        PIL.Image.new("RGB", (8, 6), (30 * index, 80, 90)).save(file, "JPEG")
    return root


def litter(root):
    """Leaves all those files and folders everywhere."""
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        for name in LEFT:
            (folder / name).write_bytes(b"Mac OS X")
        for name in FOLDERS:
            (folder / name).mkdir()
            PIL.Image.new("RGB", (4, 4)).save(folder / name / "img_0.jpg")


def splits(dataset):
    return [[item.name for item in part] for part in (dataset.train, dataset.val, dataset.test)]


@pytest.mark.parametrize("layout", ["classes", "splits", "dtd", "food101", "imagenet_a"])
def test_what_systems_leave_behind_moves_no_split(tmp_path, layout, caplog):
    def read():
        if layout in ("classes", "splits"):
            return read_folder(str(tmp_path))
        return read_coop(layout, str(tmp_path))

    where = {"dtd": "dtd/images", "food101": "food-101/images", "classes": ""}
    if layout == "splits":
        for split in ("train", "val", "test"):
            photos(tmp_path / split)
    elif layout == "imagenet_a":
        photos(tmp_path / "imagenet-adversarial" / "imagenet-a")
        lines = "".join(f"{name} a {name}\n" for name in CLASSES)
        (tmp_path / "imagenet-adversarial" / "classnames.txt").write_text(lines)
    else:
        photos(tmp_path / where[layout])
    clean = read()
    assert sum(map(len, splits(clean))) in (16, 48)
    litter(tmp_path)
    assert splits(read()) == splits(clean)
    assert read().passed_over == 0


def test_predict_finds_the_same_files(tmp_path):
    clean = find_images([photos(tmp_path)])
    litter(tmp_path)
    assert find_images([tmp_path]) == clean


@pytest.mark.parametrize("ending", ["jfif", "JPE", "pjpeg", "JPG", "jif"])
def test_other_endings_of_jpeg_are_jpeg(tmp_path, ending):
    dataset = read_folder(str(photos(tmp_path, ending=ending)))
    assert sum(map(len, splits(dataset))) == 16
    assert check(dataset).ok


def test_what_is_passed_over_is_counted_once_with_what_to_do(tmp_path, caplog, capsys, monkeypatch):
    monkeypatch.setattr(image_files, "SUFFIXES", (*image_files.JPEG, ".png"))
    monkeypatch.setitem(image_files.UNREAD, ".heic", "pip install dpl_jax[heif]")
    photos(tmp_path)
    clean = splits(read_folder(str(tmp_path)))
    for index in range(9):
        (tmp_path / "cat" / f"IMG_{index}.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "dog" / "scan.jp2").touch()
    (tmp_path / "dog" / "notes.txt").touch()
    photos(tmp_path / "dog" / "more", 4)
    dataset = read_folder(str(tmp_path))
    assert splits(dataset) == clean
    assert dataset.passed_over == 18
    read_folder(str(tmp_path))
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"18 files were passed over in {tmp_path}: 9 .heic (pip install dpl_jax[heif]), "
        "1 .jp2 (convert them to JPEG or PNG), "
        "8 in subfolders of class folders (move them up to be read)."
    ]
    print_report(check(dataset))
    verdict = capsys.readouterr().out
    assert "All listed images can be used; 18 other file(s) were passed over." in verdict
    assert "All images can be used" not in verdict


def test_a_class_of_pictures_that_are_not_read_says_so(tmp_path):
    photos(tmp_path)
    (tmp_path / "fox").mkdir()
    (tmp_path / "fox" / "a.psd").touch()
    with pytest.raises(DataError, match=r"fox has no images .* 1 file was passed over .*1 \.psd"):
        read_folder(str(tmp_path))


def test_predict_counts_what_it_does_not_read(tmp_path, caplog):
    photos(tmp_path)
    (tmp_path / "dog" / "a.psd").touch()
    assert len(find_images([tmp_path])) == 16
    assert f"1 file was passed over in {tmp_path}: 1 .psd" in caplog.text


@given(st.text(max_size=8))
def test_a_name_is_an_image_by_its_ending_alone(stem):
    stem = stem.replace("/", "")
    expected = not (stem.startswith((".", "~$")) or stem == "")
    assert is_image(f"{stem}.jpg") == expected
    assert not is_image(f"{stem}.jpg.txt")
    assert not is_image(f".{stem}.png")


@pytest.mark.parametrize(
    ("path", "system"),
    [
        ("a/b/img.jpg", False),
        ("00012", False),
        ("a/Thumbs.db", True),
        ("__MACOSX/a/img.jpg", True),
        ("a/._img.jpg", True),
        ("/a/img.jpg", False),
    ],
)
def test_paths_of_systems_are_known_in_prepared_sets_too(path, system):
    assert is_system_path(path) == system


@pytest.mark.skipif(not HAS_AVIF, reason="this Pillow reads no AVIF")
def test_avif_is_read_and_counts_as_an_image(tmp_path):
    photos(tmp_path)
    for name in CLASSES:
        PIL.Image.new("RGB", (20, 20), (200, 40, 30)).save(tmp_path / name / "new.avif")
    dataset = read_folder(str(tmp_path))
    assert sum(map(len, splits(dataset))) == 18
    assert check(dataset).ok


HEIC = """
import io, sys
import numpy as np, PIL.Image, pillow_heif
from pathlib import Path
from dpl_jax.data.images import read_image
from dpl_jax.data.image_files import is_image
from dpl_jax.data.split import Item
path = Path(sys.argv[1]) / "photo.heic"
exif = PIL.Image.Exif(); exif[0x0112] = 6
levels = np.zeros((64, 96, 3), np.uint8); levels[:, :48] = (200, 30, 30)
pillow_heif.from_pillow(PIL.Image.fromarray(levels)).save(path, quality=95, exif=exif.tobytes())
read = np.asarray(read_image(Item(path, 0, "", "x"))).astype(int)
assert is_image("a.HEIC") and read.shape == (96, 64, 3), read.shape
assert abs(read[10, 30] - [200, 30, 30]).max() < 12 and read[-10].max() < 12
"""


@pytest.mark.skipif(not HAS_HEIF, reason="needs the extra heif")
def test_heic_is_read_upright_with_the_extra(tmp_path):
    subprocess.run([sys.executable, "-c", HEIC, str(tmp_path)], check=True)
