"""What classes are called, and captions about them from templates, names and hypernyms."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from dpl_jax.data.templates import PHOTO
from dpl_jax.errors import DataError
from dpl_jax.files.json import read_json

# How often each is drawn; the first is the one that classes are told by.
TEMPLATES = {
    PHOTO: 6,
    "a photo of the {}.": 1,
    "a small photo of a {}.": 1,
    "a close-up photo of a {}.": 1,
    "a blurry photo of a {}.": 1,
    "a picture of a {}.": 1,
    "a {}.": 1,
    "{}.": 1,
}
KIND = "{}, a kind of {}"
# Shares of captions with a class's own name, with it and a hypernym, with a hypernym alone.
FORMS = (0.4, 0.25, 0.35)
# Share of the classes that a further word may be true of: "device" is too many to say something.
MOST_CLASSES = 0.1
FIRST_NAME = 0.6  # how often the first of several names is drawn

Levels = tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Names:
    """The names of C classes.

    Attributes:
      levels: of every class: its own names, those of its hypernym, of that one's hypernym, ...
      words: the K names of all classes and hypernyms, each once.
      true: (C, K) bool, which names are true of which classes.
    """

    levels: tuple[Levels, ...]
    words: tuple[str, ...]
    true: np.ndarray

    @property
    def first(self) -> list[str]:
        """The first name of every class."""
        return [levels[0][0] for levels in self.levels]


class Words(NamedTuple):
    """W further words that no class is called.

    Attributes:
      kinds: every word, and a hypernym of it.
      true: (C, W) bool, which classes are of that kind too.
    """

    kinds: tuple[tuple[str, str], ...]
    true: np.ndarray


def read_names(file: str, classes: Sequence[str]) -> Names:
    """Reads the names of the class folders ``classes``.

    Raises:
      DataError: there is no such file, it is damaged, or has no names for one of the classes.
    """
    known = _read_levels(file, "data.names")
    if missing := [name for name in classes if name not in known]:
        raise DataError(
            f"{file} (data.names) has no names for {len(missing)} of {len(classes)} class folders, "
            f"such as {missing[0]}."
        )
    return _names([known[name] for name in classes])


def _read_levels(file: str, field: str) -> dict[str, Levels]:
    if not file:
        raise DataError(f"Say which file has the names: --config.{field}=FILE (CONTRIBUTING.md).")
    try:
        return {key: _levels(stored) for key, stored in read_json(file)["names"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file} ({field}) cannot be read ({error!s:.200}); it has to hold "
            '{"names": {CLASS FOLDER: [[NAME, ...], [NAME OF ITS HYPERNYM, ...], ...]}}.'
        ) from error


def _levels(stored: Any) -> Levels:
    levels = [level if isinstance(level, list) else [] for level in stored]
    if not levels or not all(levels) or not all(_is_name(n) for level in levels for n in level):
        raise ValueError(f"{stored!r:.80} is not a list of lists of names")
    return tuple(tuple(name.replace("_", " ") for name in level) for level in levels)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and bool(name.strip())


def _names(levels: Sequence[Levels]) -> Names:
    words = tuple(dict.fromkeys(name for each in levels for level in each for name in level))
    number = {word: k for k, word in enumerate(words)}
    true = np.zeros((len(levels), len(words)), bool)
    for label, each in enumerate(levels):
        true[label, [number[name] for level in each for name in level]] = True
    return Names(tuple(levels), words, true)


def read_words(file: str, names: Names, wanted: int) -> Words:
    """Reads further words, in the form of the classes' names; none where none are ``wanted``.

    A word is kept with the nearest of its hypernyms that has the same names as one of a class, if
    that is true of few enough classes to say something (``MOST_CLASSES``).

    Raises:
      DataError: as :func:`read_names`, or no word says something about the classes.
    """
    if not wanted:
        return Words((), np.zeros((len(names.levels), 0), bool))
    known = {word.lower() for word in names.words}
    found = [
        (each[0][0], *_nearest(each[1:], names))
        for each in _read_levels(file, "data.words").values()
        if each[0][0].lower() not in known
    ]
    kept = [
        (word, kind, true)
        for word, kind, true in found
        if 0 < true.sum() <= max(1, MOST_CLASSES * len(names.levels))
    ]
    if not kept:
        raise DataError(f"{file} (data.words) has no word of a kind that a class is of; words=0.")
    true = np.stack([true for _, _, true in kept], axis=1)
    return Words(tuple((word, kind) for word, kind, _ in kept), true)


def _nearest(levels: Levels, names: Names) -> tuple[str, np.ndarray]:
    """The first hypernym that some class has too, and (C,) bool, which classes have it."""
    for level in levels:
        same = {name.lower() for name in level}
        true = np.array(
            [any({n.lower() for n in own} == same for own in each) for each in names.levels]
        )
        if true.any():
            return level[0], true
    return "", np.zeros(len(names.levels), bool)


def all_captions(names: Names, words: Words) -> Iterator[str]:
    """Every name in the first template, and the templates, for the tokenizer."""
    others = [template for template in TEMPLATES if template != PHOTO]
    for word in (*names.words, *(word for word, _ in words.kinds)):
        yield PHOTO.format(word)
    for levels in names.levels:
        for name in levels[0]:
            yield PHOTO.format(KIND.format(name, levels[-1][0]))
            yield from (template.format(name) for template in others)


def draw_captions(
    rng: np.random.Generator, names: Names, count: int
) -> tuple[list[str], np.ndarray]:
    """Draws ``count`` captions, the classes that they are about as evenly as can be.

    Returns:
      The captions, and (count,) int, the most special of the ``names.words`` in each: a caption is
      true of the classes that this name is true of.
    """
    classes = [rng.permutation(len(names.levels)) for _ in range(-(-count // len(names.levels)))]
    drawn = [_draw(rng, names.levels[label]) for label in np.concatenate(classes)[:count]]
    number = {word: k for k, word in enumerate(names.words)}
    return [text for text, _ in drawn], np.array([number[name] for _, name in drawn])


def _draw(rng: np.random.Generator, levels: Levels) -> tuple[str, str]:
    """A caption about a class, and the most special name in it."""
    template = list(TEMPLATES)[_pick(rng, list(TEMPLATES.values()))]
    form = _pick(rng, FORMS) if len(levels) > 1 else 0
    name = _name(rng, levels[0])
    if form:
        # Each hypernym half as often as the one below it.
        above = levels[1 + _pick(rng, 0.5 ** np.arange(len(levels) - 1))]
        hypernym = _name(rng, above)
        if form == 2:
            return template.format(hypernym), hypernym
        return template.format(KIND.format(name, hypernym)), name
    return template.format(name), name


def draw_words(rng: np.random.Generator, words: Words, count: int) -> tuple[list[str], np.ndarray]:
    """Draws ``count`` captions with further words, and (count,) int, which of the words.

    So a word that no photo is of gets the place of its kind: a photo of a deer is much like those
    of other ruminants.
    """
    rows = rng.choice(len(words.kinds), count)
    captions = []
    for word, kind in (words.kinds[row] for row in rows):
        template = list(TEMPLATES)[_pick(rng, list(TEMPLATES.values()))]
        told = _pick(rng, FORMS[:2])
        captions.append(template.format(KIND.format(word, kind) if told else word))
    return captions, rows


def _name(rng: np.random.Generator, level: Sequence[str]) -> str:
    first = len(level) == 1 or rng.random() < FIRST_NAME
    return level[0] if first else level[int(rng.integers(1, len(level)))]


def _pick(rng: np.random.Generator, weights: Sequence[float] | np.ndarray) -> int:
    shares = np.cumsum(weights)
    return int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))
