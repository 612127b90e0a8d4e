"""CSV and TSV lists of images and classes: data.labels=FILE."""

import csv
import io
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpl_jax.data.folder import read_folder
from dpl_jax.data.load import load_dataset
from dpl_jax.errors import DataError, DataNotFoundError

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def photos(tmp_path, write_image):
    """Eight images of two classes in one folder, mixed, and some in a folder below."""
    for name in NAMES:
        write_image(tmp_path / f"{name}.png")
        write_image(tmp_path / "more" / f"{name}.jpg")
    return tmp_path


def write(photos, text, name="labels.csv"):
    (photos / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_folder(str(photos), name)


def found(dataset):
    items = (*dataset.train, *dataset.val, *dataset.test)
    return {item.name: item.classname for item in items}


TRUTH = {f"{n}.png": "sea lion" for n in NAMES} | {f"more/{n}.jpg": "emu" for n in NAMES}


def test_a_list_without_splits_is_split_as_folders_are(photos, write_image, data_config, tmp_path):
    text = "path,label\n" + "".join(f"{name},{label}\n" for name, label in TRUTH.items())
    dataset = write(photos, text)
    assert found(dataset) == TRUTH
    assert dataset.classnames == ("emu", "sea lion")
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [4, 2, 2]
    assert dataset.split_built
    assert dataset.split.startswith("labels.csv (path -> path, label -> label); 50/20/30")
    assert all(item.image == photos / item.name for item in dataset.train)
    lines = text.splitlines()
    shuffled = "\n".join([lines[0], *sorted(lines[1:], key=lambda line: line[::-1])])
    assert write(photos, shuffled) == dataset
    for name, label in TRUTH.items():
        write_image(photos / "tree" / label / name.replace("more/", ""))
    tree = read_folder(str(photos / "tree"))
    assert [i.name.rpartition("/")[2] for i in tree.test] == [
        i.name.rpartition("/")[2] for i in dataset.test
    ]
    data = data_config(name="folder", root=str(photos), labels="labels.csv", shots=2)
    assert load_dataset(data) == write(photos, text)


@pytest.mark.parametrize("header", ["path,label", "Image_ID,Category", "file name,Class Name"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("style", ["plain", "windows", "quoted"])
def test_every_kind_of_table_gives_the_same(photos, header, delimiter, style):
    rows = [header.split(","), *TRUTH.items()]
    if style == "windows":  # as Excel and Windows tools write them
        rows = [[name.replace("/", "\\"), label] for name, label in rows]
    buffer = io.StringIO()
    quoting = csv.QUOTE_ALL if style == "quoted" else csv.QUOTE_MINIMAL
    end = "\r\n" if style == "windows" else "\n"
    csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(rows)
    mark = b"\xef\xbb\xbf" if style == "windows" else b""
    assert found(write(photos, mark + buffer.getvalue().encode())) == TRUTH


def test_unicode_text_of_excel_is_read(photos):
    text = "path\tlabel\r\n" + "".join(f"{name}\t{label}\r\n" for name, label in TRUTH.items())
    for code in ("utf-16", "utf-16-le"):
        mark = b"" if code == "utf-16" else b"\xff\xfe"
        assert found(write(photos, mark + text.encode(code))) == TRUTH
    with pytest.raises(DataError, match="UTF-8"):
        write(photos, b"\xff\xfea")


def test_the_surest_columns_are_taken_and_endings_may_be_left_out(photos):
    rows = [(n.rpartition(".")[0], label) for n, label in TRUTH.items()]
    text = "id,width,label,class_name\n" + "".join(f"{n},640,7,{label}\n" for n, label in rows)
    dataset = write(photos, text)
    assert found(dataset) == TRUTH
    assert "id -> path, class_name -> label" in dataset.split


def test_a_column_of_splits_is_taken_as_it_is(photos):
    parts = dict(zip(TRUTH, ["Train", "train", "val", "testing"] * 2, strict=True))
    text = "file\tclass\tsplit\n" + "".join(f"{n}\t{c}\t{parts[n]}\n" for n, c in TRUTH.items())
    dataset = write(photos, text, "labels.tsv")
    assert [i.name for i in dataset.train] == ["a.png", "b.png", "more/a.jpg", "more/b.jpg"]
    assert [i.name for i in dataset.val] == ["c.png", "more/c.jpg"]
    assert [i.name for i in dataset.test] == ["d.png", "more/d.jpg"]
    assert not dataset.split_built
    without = write(photos, text.replace("testing", "VALID"), "labels.tsv")
    assert (len(without.val), len(without.test)) == (0, 4)
    assert "those of val are the test set" in without.split


def test_numbers_are_sorted_as_numbers_and_can_be_named(photos, caplog):
    numbers = {"sea lion": "10", "emu": "2"}
    text = "id,label\n" + "".join(f"{n},{numbers[label]}\n" for n, label in TRUTH.items())
    assert write(photos, text).classnames == ("2", "10")
    assert "a photo of a 3." in caplog.text
    caplog.clear()
    (photos / "classnames.json").write_text(json.dumps({"2": "emu", "10": "sea lion"}))
    assert found(write(photos, text)) == TRUTH
    assert not caplog.text


GOOD = "a.png,x\nb.png,x\nc.png,x\nd.png,x\nmore/a.jpg,y\nmore/b.jpg,y\nmore/c.jpg,y\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        (",,\n,,\n", "is empty"),
        ('"",""\n', "no column of paths"),
        ("path,label\n", "lists no images"),
        ("a,b\n1,2\n", "first line, 'a,b', has no column of paths"),
        ("path,size\na.png,3\n", "no column of paths .* beside one of classes"),
        (f"path,label\n{GOOD}gone.png,x\n", "1 line.*line 9: gone.png is not an image in the root"),
        (f"path,label\n{GOOD}labels.csv,x\n", "line 9: labels.csv is not an image"),
        (f"path,label\n{GOOD}more,x\n", "line 9: more is not an image"),
        (f"path,label\n{GOOD}more/d.jpg,\n", "line 9 has no label"),
        (f"path,label\n{GOOD},y\n", "line 9 has no path"),
        (f"path,label\n{GOOD}more/d.jpg,y,z\n", "line 9 has 3 cells, the header 2"),
        (f"path,label\n{GOOD}more/d.jpg\n", "line 9 has 1 cells"),
        (f"path,label\n{GOOD}a.png,x\n", "lists a.png twice: lines 2 and 9"),
        (f"path,label\n{GOOD}./more//../a.png,y\n", "a.png twice as 'x' and as 'y': lines 2 and 9"),
        (f"path,label\n{GOOD}../a.png,x\n", "line 9 points outside the image folder"),
        (f"path,label\n{GOOD}..\\a.png,x\n", "line 9 points outside the image folder"),
        (f"path,label\n{GOOD}/etc/passwd,x\n", "line 9 points outside the image folder"),
        (f"path,label\n{GOOD}a\0.png,x\n", "line 9"),
        (f"path,label\n{GOOD}", "'y' has 3 image"),
        ("path,label\na.png,x\nb.png,x\nc.png,x\nd.png,x\n", "of one class, 'x'"),
        ("path,label\na.png,x\nb.png,X\n" + GOOD[16:], "'X' has 1 image"),
        ("path,label,split\na.png,x,fold1\n", "line 2: 'fold1' is not train, val or test"),
        ("path,label,split\na.png,x,train\nb.png,y,train\n", "no test images in its column"),
        ("path,label,split\na.png,x,test\nb.png,y,test\n", "no train images in its column"),
        ("path,label,split\na.png,x,train\nb.png,y,test\n", "line 3: the class 'y' has no train"),
        (b"path,label\na.png,caf\xe9\n", "UTF-8"),
        ('path,label\n"a.png,x\n', "line"),
        ("path,label\n" + "".join(f"{i}.png,x\n" for i in range(40)), "40 line.*and 35 more"),
    ],
)
def test_a_list_that_cannot_be_used_is_one_error_with_the_lines(photos, text, reason):
    with pytest.raises(DataError) as error:
        write(photos, text)
    assert re.search(reason, str(error.value)), str(error.value)
    assert "labels.csv" in str(error.value) or str(photos) in str(error.value)


def test_whole_paths_in_the_root_are_taken(photos, monkeypatch):
    text = "path,label\n" + "".join(f"{photos / name},{label}\n" for name, label in TRUTH.items())
    assert found(write(photos, text)) == TRUTH
    monkeypatch.chdir(photos)
    assert {i.name for i in read_folder(".", "labels.csv").train} <= TRUTH.keys()
    with pytest.raises(DataError, match="line 2 points outside the image folder"):
        write(photos, text.replace(str(photos), f"{photos}2", 1))


def test_a_name_without_ending_must_be_one_image(photos, write_image):
    write_image(photos / "a.jpg")
    with pytest.raises(DataError, match=r"line 2: a could be a.jpg or a.png"):
        write(photos, "id,label\na,x\nb,y\n")


def test_where_a_list_is_looked_for(photos, data_config, tmp_path_factory):
    with pytest.raises(DataNotFoundError, match=r"gone.csv: data.labels is relative to data.root"):
        read_folder(str(photos), "gone.csv")
    elsewhere = tmp_path_factory.mktemp("lists") / "mine.csv"
    elsewhere.write_text("path,label\n" + "".join(f"{n},{c}\n" for n, c in TRUTH.items()))
    assert found(read_folder(str(photos), str(elsewhere))) == TRUTH
    with pytest.raises(DataError, match=r"data.labels is for --config=folder"):
        load_dataset(data_config(name="dtd", labels="labels.csv"))


CELL = st.text(max_size=8) | st.sampled_from(["a.png", "more/a.jpg", "../x.png", "x", "train", ""])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(CELL, min_size=1, max_size=4), max_size=6),
    header=st.sampled_from(["path,label", "id;class;split", "\ufeffimage\tlabel", "x,y"]),
)
def test_any_text_is_a_dataset_or_one_error(photos, rows, header):
    delimiter = next(d for d in ",;\t" if d in header)
    text = "\n".join([header, *(delimiter.join(row) for row in rows)])
    try:
        dataset = write(photos, text.encode("utf-8", "surrogatepass"))
    except DataError as error:
        assert str(photos) in str(error)
        return
    for item in (*dataset.train, *dataset.val, *dataset.test):
        assert item.image.is_file()
        assert item.image.resolve().is_relative_to(photos)
