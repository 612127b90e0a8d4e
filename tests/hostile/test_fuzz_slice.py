"""A short, seeded slice of the fuzzing: every parser ends in a value or in our own error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpl_jax.data.coop.split_file import read_split
from dpl_jax.errors import DataError
from dpl_jax.files.json import parse_json
from tests.hostile.fuzz import fuzz, try_input
from tests.hostile.targets import all_targets

PER_SHARE = 3  # inputs


@pytest.mark.filterwarnings("ignore")
def test_every_parser_ends_in_a_value_or_in_our_own_error(tmp_path):
    targets = all_targets(tmp_path)
    assert len({target.name for target in targets}) == len(targets) > 30
    outside = sorted(path.name for path in tmp_path.parent.iterdir())
    for target in targets:
        counts = fuzz(target, PER_SHARE * target.share, seed=7)
        assert sum(counts.values()) == PER_SHARE * target.share
    assert sorted(path.name for path in tmp_path.parent.iterdir()) == outside


@pytest.mark.filterwarnings("ignore")
def test_the_seeds_are_valid_files(tmp_path):
    for target in all_targets(tmp_path):
        if target.name in ("pets", "air", "sun", "ucf"):
            continue  # lists of two kinds in one file
        for seed in target.seeds if target.name != "checkpoint" else []:
            assert try_input(target, seed) == "", target.name


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@given(VALUES)
def test_json_is_a_finite_value_or_refused(value):
    text = json.dumps(value)
    try:
        assert json.loads(json.dumps(parse_json(text), allow_nan=False)) == parse_json(text)
    except ValueError:
        assert "NaN" in text or "Infinity" in text


ROW = st.tuples(st.text(min_size=1, max_size=20), st.integers(), st.text(min_size=1, max_size=9))
ROWS = st.lists(ROW | VALUES, max_size=3)


@settings(max_examples=150)
@given(ROWS, ROWS, ROWS)
def test_no_row_of_a_split_file_leads_out_of_the_image_folder(tmp_path_factory, train, val, test):
    folder = tmp_path_factory.mktemp("split")
    path, images = folder / "split.json", folder / "images"
    path.write_text(json.dumps({"train": train, "val": val, "test": test}))
    try:
        splits = read_split(path, images)
    except DataError:
        return
    for item in (*splits.train, *splits.val, *splits.test):
        assert item.image.resolve().is_relative_to(images.resolve())
