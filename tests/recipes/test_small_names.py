from pathlib import Path

import numpy as np
import pytest

from dpl_jax.errors import DataError
from dpl_jax.files.json import write_json
from recipes.small.names import TEMPLATES, Names, all_captions, draw_captions, read_names

KNOWN = {
    "n1": [["bullfrog", "Rana catesbeiana"], ["frog", "toad"], ["animal"]],
    "n2": [["tailed frog"], ["frog", "toad"], ["animal"]],
    "n3": [["koala_bear"], ["animal"]],
    "n4": [["teapot"]],
    "unused": [["nothing"]],
}
CLASSES = ("n1", "n2", "n3", "n4")


@pytest.fixture
def names(tmp_path: Path) -> Names:
    write_json(tmp_path / "classes.json", {"names": KNOWN, "others": []})
    return read_names(tmp_path / "classes.json", CLASSES)


def test_a_name_is_true_of_the_classes_that_have_it_at_any_level(names: Names) -> None:
    assert names.first == ["bullfrog", "tailed frog", "koala bear", "teapot"]
    found = {
        word: [CLASSES[c] for c in np.flatnonzero(names.true[:, k])]
        for k, word in enumerate(names.words)
    }
    assert found == {
        "bullfrog": ["n1"],
        "Rana catesbeiana": ["n1"],
        "frog": ["n1", "n2"],
        "toad": ["n1", "n2"],
        "animal": ["n1", "n2", "n3"],
        "tailed frog": ["n2"],
        "koala bear": ["n3"],
        "teapot": ["n4"],
    }


def test_captions_say_of_a_class_what_is_true_of_it(names: Names) -> None:
    captions, words = draw_captions(np.random.default_rng(0), names, 2000)
    kinds, bare = set(), set()
    for caption, word in zip(captions, words, strict=True):
        name = names.words[word]
        (rest,) = {
            caption[len(start) : len(caption) - len(end)]
            for start, end in (template.split("{}") for template in TEMPLATES)
            if caption.startswith(start + name) and caption.endswith(end)
        }
        own, _, hypernym = rest.partition(", a kind of ")
        assert own == name
        if hypernym:
            above = names.true[:, names.words.index(hypernym)]
            assert (above >= names.true[:, word]).all() and above.sum() > names.true[:, word].sum()
            kinds.add((name, hypernym))
        else:
            bare.add(name)
    assert bare == set(names.words)
    assert {("bullfrog", "frog"), ("bullfrog", "toad"), ("Rana catesbeiana", "animal")} <= kinds
    assert not any(name == "teapot" for name, _ in kinds)


def test_every_class_gets_as_many_captions_as_the_others(names: Names) -> None:
    _, words = draw_captions(np.random.default_rng(1), names, len(CLASSES))
    assert names.true[3, words].sum() == 1  # the teapot shares no name
    again = draw_captions(np.random.default_rng(1), names, len(CLASSES))
    assert again[0] == draw_captions(np.random.default_rng(1), names, len(CLASSES))[0]


def test_the_tokenizer_learns_from_every_name(names: Names) -> None:
    corpus = list(all_captions(names))
    assert all(any(word in caption for caption in corpus) for word in names.words)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"names": {"n1": [["frog"]]}}, "no names for 3 of 4 class folders, such as n2"),
        ({"n1": [["frog"]]}, "cannot be read .*'names'"),
        ({"names": {key: [["frog"], []] for key in CLASSES}}, "not a list of lists of names"),
        ({"names": {key: ["frog"] for key in CLASSES}}, "not a list of lists of names"),
        ({"names": {key: [[3]] for key in CLASSES}}, "not a list of lists of names"),
        ({"names": {key: [[""]] for key in CLASSES}}, "not a list of lists of names"),
        ([], "cannot be read"),
    ],
)
def test_files_without_the_names_are_told(tmp_path: Path, stored: object, message: str) -> None:
    write_json(tmp_path / "classes.json", stored)
    with pytest.raises(DataError, match=message):
        read_names(tmp_path / "classes.json", CLASSES)
    with pytest.raises(DataError, match="does not exist"):
        read_names(tmp_path / "no.json", CLASSES)
