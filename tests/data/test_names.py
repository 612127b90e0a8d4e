"""Names of people's own classes and files: which are one text, and which are no text."""

from __future__ import annotations

import dataclasses
import json
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import dpl_jax
from dpl_jax.data.class_names import class_ids, spoken
from dpl_jax.data.coop.split_file import inside_path, read_split
from dpl_jax.data.folder import read_folder
from dpl_jax.data.own_split import save_lists
from dpl_jax.data.split import Item, build_dataset, check_unique_names
from dpl_jax.data.templates import prompts_for
from dpl_jax.errors import ConfigError, DataError, TextTooLongError
from dpl_jax.prompts.checks import check_classnames

TEMPLATE = "a photo of a {}."
SAME = [
    ("Cat", "cat"),
    ("hot_dog", "hot dog"),
    ("hot dog", "hot \u00a0 dog"),
    (unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "Café")),
    ("cat2", "cat 2"),
    ("b&w", "B & W"),
    ("rock'n", "rock 'n"),
    ("ÉCLAIR", "éclair"),
]
DIFFERENT = [("cat", "cats"), ("hot-dog", "hot dog"), ("m\u200cn", "mn"), ("cafe", "café")]
LEGITIMATE = [
    "می\u200cخواهم",
    "grand\u00a0piano",
    "👩\u200d🚀",
    "שלום\u200f",
    "a\\b",
    "猫",
    "﷽",
    "\u00ad-",
]
ANY_NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def tokenize():
    return dpl_jax.load_clip("tiny").tokenize


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_names_of_one_text_are_refused_everywhere(one, other, tokenize):
    for pair in ((one, other), (other, one)):
        with pytest.raises(DataError) as error:
            check_unique_names([(3, pair[0]), (7, "dog"), (9, pair[1])], "mine")
        assert repr(pair[0]) in str(error.value) and repr(pair[1]) in str(error.value)
        with pytest.raises(ConfigError) as error:
            check_classnames([pair[0], "dog", pair[1]])
        assert repr(pair[0]) in str(error.value) and repr(pair[1]) in str(error.value)
        texts = prompts_for(pair, TEMPLATE)
        with pytest.raises(ConfigError, match="are one text to CLIP"):
            class_ids(tokenize, pair, texts)
        assert len(class_ids(tokenize, pair, texts, same_names=True)) == 2


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_names_of_two_texts_are_taken(one, other, tokenize):
    check_unique_names([(0, one), (1, other)], "mine")
    assert check_classnames([one, other]) == (one, other)
    assert len(class_ids(tokenize, (one, other), prompts_for((one, other), TEMPLATE))) == 2


def of_names_alone(tokenize, *names):
    """Their token ids; in a text, a sign at the end of a name may join the next one."""
    return tokenize(prompts_for(names, "{}"))


LETTERS = "aAbBéÉe\u0301sS'’t_ \u00a0\u20031²Ⅷ٣-&.!猫\u200d\u200c一ǅß"


@settings(max_examples=300)
@given(st.text(LETTERS, min_size=1, max_size=6), st.text(LETTERS, min_size=1, max_size=6))
@example("a's", "a 's")
@example("İ", "i̇")
def test_what_is_said_to_be_one_text_has_the_same_tokens(tokenize, one, other):
    if spoken(one) == spoken(other):
        first, second = of_names_alone(tokenize, one, other)
        assert (first == second).all()


@settings(max_examples=300)
@given(st.text("aAbB_ 1é-", min_size=1, max_size=4), st.text("aAbB_ 1é-", min_size=1, max_size=4))
def test_of_plain_names_all_that_are_one_text_are_found(tokenize, one, other):
    first, second = of_names_alone(tokenize, one, other)
    assert (spoken(one) == spoken(other)) == bool((first == second).all())


def test_a_class_whose_text_is_too_long_is_named(tokenize):
    names = ["cat", "very " * 90 + "long_dog"]
    with pytest.raises(TextTooLongError, match=r"The class 'very very .*long_dog': The text"):
        class_ids(tokenize, names, prompts_for(names, TEMPLATE))


@pytest.mark.parametrize("name", ["caf\udce9", "\udcff", "a\ud83d"])
def test_a_name_that_is_no_text_is_one_message(name):
    with pytest.raises(ConfigError, match="is not UTF-8 text") as error:
        check_classnames([name, "dog"])
    str(error.value).encode()
    items = [Item(Path("x"), label, n, f"{label}.jpg") for label, n in enumerate(("dog", name))]
    with pytest.raises(DataError, match=r"label 1: .* is not UTF-8 text") as error:
        build_dataset("mine", train=items, val=[], test=[], template=TEMPLATE)
    str(error.value).encode()


def test_a_folder_whose_name_is_not_utf_8_is_named(tmp_path, write_image):
    for folder in ("dog", os.fsdecode(b"caf\xe9")):
        for number in range(4):
            write_image(tmp_path / folder / f"{number}.png")
    with pytest.raises(DataError) as error:
        read_folder(str(tmp_path))
    said = str(error.value)
    assert r"'caf\udce9'" in said and r"b'caf\xe9'" in said and str(tmp_path) in said
    assert "Rename the folder" in said
    (tmp_path / "classnames.json").write_text(json.dumps({"caf\udce9": "coffee house"}))
    assert read_folder(str(tmp_path)).classnames == ("coffee house", "dog")


def round_trip(folder: Path, names: list[str], files: list[str]) -> None:
    items = [
        Item(folder / file, label, name, file)
        for label, (name, file) in enumerate(zip(names, files, strict=True))
    ]
    written = build_dataset("mine", train=items, val=[], test=[], template="{}", split_built=True)
    save_lists(folder, written, dataclasses.replace(written, train=()))
    found = read_split(folder / "split.json", folder)
    rows = [(item.name, item.label, item.classname) for item in found.train]
    assert rows == [(item.name, item.label, item.classname) for item in items]


def test_the_runs_own_split_file_is_read_again(tmp_path):
    files = [f"{name}/{name}.jpg" for name in LEGITIMATE] + ["dog/caf\udce9.jpg"]
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    round_trip(tmp_path, [*LEGITIMATE, "dog"], files)


@settings(max_examples=100)
@given(st.lists(ANY_NAME.filter(str.strip), min_size=1, max_size=4, unique_by=spoken))
def test_any_name_comes_back_from_the_split_file(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("names")
    round_trip(folder, names, [f"{number}/x.jpg" for number in range(len(names))])


def test_paths_of_windows_and_from_the_root_are_understood(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.jpg").touch()
    for name in (
        "a\\b.jpg",
        "/a/b.jpg",
        "\\a\\b.jpg",
        f"{tmp_path}/a/b.jpg",
        "./a/b.jpg",
        "a//b.jpg",
    ):
        assert inside_path("list", tmp_path, name) == "a/b.jpg", name
    assert inside_path("list", tmp_path, "a\\gone.jpg") == "a/gone.jpg"  # missing, and named so
    (tmp_path / "c\\d.jpg").touch()
    assert inside_path("list", tmp_path, "c\\d.jpg") == "c\\d.jpg"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("..\\b.jpg", '"..'),
        ("a\\..\\..\\b.jpg", '"..'),
        ("/../b.jpg", "absolute"),
        ("/etc/passwd", "absolute"),
        ("//server/share/b.jpg", "absolute"),
        ("\\\\server\\share\\b.jpg", "absolute"),
        ("C:\\photos\\b.jpg", "drive letter"),
        ("d:/photos/b.jpg", "drive letter"),
        ("a\0b.jpg", "null"),
    ],
)
def test_paths_that_lead_out_are_refused_with_the_reason(tmp_path, name, reason):
    with pytest.raises(DataError, match=f"points outside the image folder, by .*{reason}"):
        inside_path("list", tmp_path / "photos", name)
