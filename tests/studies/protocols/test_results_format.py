"""The schema of results.json: real runs fit it, changed ones do not, the page names every field."""

from __future__ import annotations

import copy
import json
import re

import jsonschema
import pytest

from tests.support.repository import ROOT
from tests.support.results_schema import check_results, read_schema

PAGE = ROOT / "docs" / "results-format.md"


def results(run):
    return json.loads((run / "results.json").read_text())


@pytest.fixture
def trained(transferred):
    return results(transferred / "train-seed1")


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(read_schema())


def test_real_runs_fit_the_schema(few, halves, supernet, transferred):
    for run in (
        few / "shots1" / "search-seed1",
        few / "shots2" / "train-seed2",
        halves / "search-seed2",
        halves / "train-seed1",
        transferred / "train-seed1",
        supernet,
    ):
        check_results(results(run))


def test_the_runs_cover_every_kind_of_evaluation(supernet, trained):
    assert results(supernet)["evaluations"].keys() == {"test", "val"}
    assert trained["evaluations"].keys() == {"test", "photos-all-test", "digits-new-test"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("kind",), "evaluate"),
        (("kind",), "search"),
        (("lengths", "image"), [1, -1]),
        (("lengths_file",), None),
        (("further",), 1),
        (("clip", "sha256"), "abc"),
        (("clip", "size"), 1),
        (("template",), "a photo"),
        (("classes",), "old"),
        (("trained", "val_loss"), 1.0),
        (("sampled_files", "train", "images"), 2.5),
        (("evaluations", "test", "dpl", "accuracy"), 90.0),
        (("evaluations", "test", "dpl", "per_class", 0), -0.5),
        (("evaluations", "test", "further"), {}),
        (("evaluations", "digits-test"), {}),
    ],
)
def test_what_is_wrong_does_not_fit(path, value, trained):
    wrong = copy.deepcopy(trained)
    *parents, last = path
    place = wrong
    for name in parents:
        place = place[name]
    place[last] = value
    with pytest.raises(jsonschema.ValidationError):
        check_results(wrong)


@pytest.mark.parametrize("field", ["seed", "trained", "shots", "clip", "sampled_files", "versions"])
def test_what_is_missing_does_not_fit(field, trained):
    del trained[field]
    with pytest.raises(jsonschema.ValidationError):
        check_results(trained)


def fields(schema):
    """The names of all properties, at any depth."""
    if isinstance(schema, list):
        return {name for each in schema for name in fields(each)}
    if not isinstance(schema, dict):
        return set()
    own = schema.get("properties", {})
    return set(own) | {name for each in schema.values() for name in fields(each)}


def test_the_page_names_every_field():
    assert len(fields(read_schema())) > 40
    named = set(re.findall(r"`([a-z_0-9]+)`", PAGE.read_text()))
    examples = {"image", "text"}  # the towers, within `{"image": [..], "text": [..]}`
    assert fields(read_schema()) - examples <= named
