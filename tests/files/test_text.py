"""Text of any system reads the same, wherever it is read."""

from __future__ import annotations

import codecs
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpl_jax.data.coop.readers import read_lines
from dpl_jax.data.coop.split_file import read_split
from dpl_jax.data.folder import read_classnames
from dpl_jax.errors import ConfigError, DamagedFileError
from dpl_jax.files.json import read_json
from dpl_jax.files.text import decode_text, read_text
from dpl_jax.inference.predict import read_classes_argument

MARKS = {
    "utf-8": (b"", codecs.BOM_UTF8),
    "utf-16-le": (codecs.BOM_UTF16_LE,),
    "utf-16-be": (codecs.BOM_UTF16_BE,),
    "utf-32-le": (codecs.BOM_UTF32_LE,),
    "utf-32-be": (codecs.BOM_UTF32_BE,),
}
FORMS = [(code, mark) for code, marks in MARKS.items() for mark in marks]
LETTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff")


@given(
    st.lists(st.text(LETTERS), min_size=1),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(FORMS),
)
def test_marks_and_line_ends_are_no_part_of_the_text(lines, end, form):
    code, mark = form
    assert decode_text(mark + end.join(lines).encode(code)) == "\n".join(lines)


@pytest.mark.parametrize("form", FORMS)
def test_every_reader_drops_them(tmp_path, form):
    code, mark = form

    def write(name, text):
        (tmp_path / name).write_bytes(mark + text.replace("\n", "\r\n").encode(code))
        return tmp_path / name

    names = ["red square", "猫", "blue circle"]
    classes = write("classes.txt", "\n".join(names) + "\n\n")
    assert read_classes_argument(f"@{classes}") == names
    assert read_lines(classes, str) == names
    assert read_json(write("a.json", '{"b":\n ["é"]}')) == {"b": ["é"]}
    write("classnames.json", '{"n01":\n "tabby cat"}')
    assert read_classnames(tmp_path, ["n01", "dog"]) == {"n01": "tabby cat", "dog": "dog"}
    split = {"train": [["a/1.jpg", 0, "cat"]], "val": [], "test": []}
    found = read_split(write("split.json", json.dumps(split, indent=1)), tmp_path).train[0]
    assert (found.name, found.classname) == ("a/1.jpg", "cat")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a\nb\ncaf\xe9\n", "line 3 is not UTF-8"),
        ("a\nb".encode("utf-16-le"), "line 1 has a null character"),
        (codecs.BOM_UTF16_LE + b"a\0b", "line 1 is not UTF-16"),
    ],
)
def test_what_is_not_text_is_said_with_the_line(tmp_path, data, reason):
    path = tmp_path / "names.txt"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=reason):
        read_text(path)
    with pytest.raises(ConfigError, match=f"names.txt .*{reason}"):
        read_classes_argument(f"@{path}")
    with pytest.raises(DamagedFileError, match=f"names.txt .*{reason}"):
        read_json(path)
