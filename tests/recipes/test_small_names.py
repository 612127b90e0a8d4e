from pathlib import Path

import numpy as np
import pytest

from dpl_jax.errors import DataError
from dpl_jax.files.json import write_json
from recipes.small.names import (
    TEMPLATES,
    Names,
    Words,
    all_captions,
    draw_captions,
    draw_words,
    read_names,
    read_words,
)
from recipes.small.wordnet import common_words

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
    return read_names(str(tmp_path / "classes.json"), CLASSES)


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
    corpus = list(all_captions(names, Words((), np.zeros((4, 0), bool))))
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
        read_names(str(tmp_path / "classes.json"), CLASSES)
    with pytest.raises(DataError, match="does not exist"):
        read_names(str(tmp_path / "no.json"), CLASSES)
    with pytest.raises(DataError, match=r"--config\.data\.names=FILE"):
        read_names("", CLASSES)


FURTHER = {
    "newt": [["newt"], ["salamander"], ["amphibian"], ["animal"]],  # of "animal": too many classes
    "tree frog": [["tree frog"], ["Toad", "frog"], ["animal"]],
    "kettle": [["kettle"], ["vessel"], ["teapot"]],
    "spoon": [["spoon"], ["cutlery"]],
    "frog": [["frog", "toad"], ["animal"]],  # a class's own word
    "toad": [["horned toad"], ["toad"]],  # the names of that kind are others
}


def test_words_get_the_classes_of_their_nearest_kind(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipes.small.names.MOST_CLASSES", 0.5)
    write_json(tmp_path / "words.json", {"names": FURTHER})
    words = read_words(str(tmp_path / "words.json"), names, 1)
    assert dict(words.kinds) == {"tree frog": "Toad", "kettle": "teapot"}
    assert words.true.T.tolist() == [[True, True, False, False], [False, False, False, True]]
    captions, rows = draw_words(np.random.default_rng(0), words, 400)
    for caption, column in zip(captions, words.true.T[rows], strict=True):
        of_a_frog = [True, True, False, False]
        assert column.tolist() == (of_a_frog if "tree frog" in caption else [False] * 3 + [True])
    assert any(", a kind of teapot" in c for c in captions) and "a kettle." in captions
    assert "a photo of a kettle." in list(all_captions(names, words))


def test_words_that_say_nothing_are_told_and_can_be_left_out(names: Names, tmp_path: Path) -> None:
    write_json(tmp_path / "words.json", {"names": {"spoon": FURTHER["spoon"]}})
    with pytest.raises(DataError, match="no word of a kind"):
        read_words(str(tmp_path / "words.json"), names, 1)
    none = read_words("", names, 0)
    captions, rows = draw_words(np.random.default_rng(0), none, 0)
    assert captions == [] and none.true[:, rows].shape == (4, 0)


# The first lines of data.noun are its licence; the third field of a line is its kind of word.
NOUNS = """\
  1 This software and database is being provided to you
00000001 03 n 02 animal 0 beast 0 001 ~ 00000002 n 0000 | a living thing
00000002 05 n 01 hoofed_mammal 0 002 @ 00000001 n 0000 + 00000009 v 0101 | with hooves
00000003 05 n 02 Equus_caballus 0 horse 0 001 @ 00000002 n 0000 | to ride
00000004 06 n 02 horse 1 gym_horse 0 000 | to jump over
00000005 10 n 01 spring 0 000 | a season
00000006 17 n 01 spring 0 000 | where water comes up
"""
SENSES = """\
gym_horse%1:06:00:: 00000004 1 4
horse%1:05:00:: 00000003 1 5
horse%1:06:00:: 00000004 2 1
horse%2:38:00:: 00000009 1 7
beast%1:03:00:: 00000001 1 5
spring%1:28:00:: 00000005 1 9
spring%1:17:00:: 00000006 2 2
"""


def test_words_of_wordnet_have_the_meaning_that_is_seen_most(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text(NOUNS)
    (tmp_path / "index.sense").write_text(SENSES)
    horse = [["horse", "Equus caballus"], ["hoofed mammal"], ["animal", "beast"]]
    assert common_words(tmp_path) == {"horse": horse}
    (tmp_path / "index.sense").write_text(SENSES.replace("1 9", "1 2"))
    assert common_words(tmp_path) == {"horse": horse, "spring": [["spring"]]}
