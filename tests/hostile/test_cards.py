"""In a model card, an export and at W&B names do nothing, and paths are left out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dpl_jax.errors import RunFolderError
from dpl_jax.files.places import clip_name, is_hub_id, without_places
from dpl_jax.files.printable import printable
from dpl_jax.inference.classifier import Classifier
from dpl_jax.inference.export.card import model_card
from dpl_jax.summary.table import escape_markdown, markdown_table
from tests.inference.export.conftest import classifier_with

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
PIECES = st.sampled_from(
    ("![a](http://x/y.png)", "[a](b)", "<img src=x>", "*", "_", "`", "|", "\\", "&lt;", "~~", "$")
) | st.sampled_from(
    ("\n\n# Heading", "\r\n---\r\n", "<!--", "https://x.y", "www.x.y", "a_b", "![", "&#33;")
)
TEXTS = st.lists(PIECES | st.text(max_size=8), max_size=8).map("".join)
HOSTILE = "\n\n# Owned\n\n![x](http://evil/x.png)<img src=http://evil>\n---\n[a](b)`c`"


def shown(text: str) -> str:
    return printable(" ".join(text.splitlines()))


@given(TEXTS)
def test_markdown_shows_any_text_as_it_is(text):
    (paragraph,) = MARKDOWN.parseInline(f"a {escape_markdown(text)} z")
    assert {token.type for token in paragraph.children} <= {"text", "text_special"}
    assert "".join(token.content for token in paragraph.children) == f"a {shown(text)} z"


@given(st.lists(TEXTS, min_size=2, max_size=2))
def test_a_table_of_any_texts_has_its_cells_and_nothing_else(texts):
    tokens = MARKDOWN.parse(markdown_table(["a", "b"], [texts]))
    assert [token.type for token in tokens].count("td_open") == 2
    cells = [token for token in tokens if token.type == "inline"][2:]
    for cell, text in zip(cells, texts, strict=True):
        inside = cell.children or []
        assert {token.type for token in inside} <= {"text", "text_special"}
        assert "".join(token.content for token in inside) == shown(text).strip(" ")


def with_results(classifier: Classifier, **results) -> Classifier:
    return dataclasses.replace(classifier, results={**classifier.results, **results})


@pytest.mark.parametrize(
    "field", ["dataset", "seed", "shots", "classes", "template", "clip", "name"]
)
def test_no_string_of_a_run_changes_the_structure_of_its_card(field):
    classifier, name = classifier_with("discrete"), "out"
    scores = {"accuracy": 0.5, "macro_f1": 0.25}
    tests = {"test": {"images": 4, "zero_shot": scores, "dpl": scores}}
    classifier = with_results(classifier, evaluations=tests)
    usual = structure(model_card(classifier, name))
    match field:
        case "classes":
            names = (HOSTILE, *classifier.classnames[1:])
            classifier = dataclasses.replace(classifier, classnames=names)
        case "template":
            classifier = dataclasses.replace(classifier, template=HOSTILE + "{}")
        case "clip":
            clip = {"path": f"a/b{HOSTILE}", "revision": HOSTILE, "sha256": HOSTILE}
            classifier = with_results(classifier, clip=classifier.results["clip"] | clip)
        case "name":
            name = HOSTILE
        case _:
            classifier = with_results(classifier, **{field: HOSTILE})
    card = model_card(classifier, name)
    assert structure(card) == usual
    assert "<img" not in card.partition("\n---\n")[2]
    assert ModelCard(card).data.library_name == "dpl_jax"


def structure(card: str) -> list[str]:
    """The blocks of a card's text, and what is in them besides text and code."""
    found = []
    for token in MARKDOWN.parse(ModelCard(card).text):
        found.append(token.type)
        inside = [child.type for child in token.children or []]
        found += [kind for kind in inside if kind not in ("text", "text_special", "code_inline")]
    return found


@pytest.mark.parametrize("accuracy", ["9" * 50, [1], None, True])
def test_scores_that_are_no_numbers_are_one_error(accuracy):
    scores = {"accuracy": accuracy, "macro_f1": 0.5}
    test = {"test": {"images": 4, "zero_shot": scores, "dpl": scores}}
    with pytest.raises(RunFolderError, match="model card cannot show"):
        model_card(with_results(classifier_with("discrete"), evaluations=test), "out")


@pytest.mark.parametrize(
    ("path", "name", "hub"),
    [
        ("openai/clip-vit-base-patch16", "openai/clip-vit-base-patch16", True),
        ("ViT-L/14@336px", "ViT-L/14@336px", False),
        ("tiny", "tiny", False),
        ("/home/me/clip/", "clip", False),
        ("~/clip", "clip", False),
        ("../clip", "clip", False),
        ("a/b/clip", "clip", False),
        ("a/b\n---\nc: d", "a/b\n---\nc: d", False),
    ],
)
def test_a_clip_is_named_by_its_id_or_its_last_name(path, name, hub):
    assert (clip_name(path), is_hub_id(path)) == (name, hub)


def test_settings_that_leave_the_machine_have_names_for_paths():
    settings = {"data": {"root": "/home/me/data", "name": "dtd"}, "clip": {"path": "tiny"}}
    settings |= {"other": ["/x/y", "a/b"], "template": "/ {}", "seed": 1, "lists": [Path("/x/z")]}
    assert without_places(settings) == {
        "data": {"root": "data", "name": "dtd"},
        "clip": {"path": "tiny"},
        "other": ["y", "a/b"],
        "template": "/ {}",
        "seed": 1,
        "lists": ["z"],
    }
