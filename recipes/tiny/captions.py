"""Sentences about scenes from a small grammar, and which sentences are true of which scenes."""

import re
from string import Formatter

import numpy as np

from recipes.tiny import vocabulary as words
from recipes.tiny.scenes import ATTRIBUTES

# A field in braces is a mentioned attribute; the number is how often the sentence is drawn.
_GLYPH = {
    "a photo of the {category} {thing}.": 6,
    "the {category} {thing}.": 3,
    "a photo of the {colour} {category} {thing}.": 2,
    "a {size} {colour} {thing} on a {background} background.": 2,
    "a {colour} {thing} on a {background} background.": 2,
    "a {style} {thing}.": 2,
    "a photo of a {style} {category} {thing}.": 2,
    "a {size} {thing}.": 1,
    "a photo of a {colour} {category}.": 1,
    "a {style} {category} in {colour} on {background}.": 1,
}
_SHAPE = {
    "a photo of a {thing}.": 3,
    "a {colour} {thing}.": 3,
    "a {size} {colour} {thing} on a {background} background.": 3,
    "a {style} {thing}.": 2,
    "a photo of a {size} {style} {thing}.": 1,
    "a {colour} {category}.": 1,
}
_TEXTURE = {
    "a {thing} texture.": 3,
    "a photo of a {thing} texture, {colour} and {background}.": 3,
    "a {thing} pattern of {colour} on {background}.": 2,
    "a {colour} texture.": 1,
}
GRAMMAR = {"digit": _GLYPH, "letter": _GLYPH, "sign": _SHAPE, "shape": _SHAPE, "texture": _TEXTURE}

_NAMES = {
    "category": words.CATEGORIES,
    "thing": words.THINGS,
    "style": words.STYLES,
    "colour": tuple(words.COLOURS),
    "background": tuple(words.COLOURS),
    "size": words.SIZES,
}


def mentioned(template: str) -> np.ndarray:
    """Which ATTRIBUTES (6,) a template mentions."""
    fields = {field for _, field, _, _ in Formatter().parse(template)}
    return np.array([name in fields for name in ATTRIBUTES])


def write_captions(
    rng: np.random.Generator, attributes: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """One true sentence for each scene and what it mentions.

    attributes: (B, 6) as in Scenes. Returns B sentences and a boolean (B, 6): a caption is true
    of every scene that agrees with its own in the mentioned attributes.
    """
    templates = [_pick_template(rng, row) for row in attributes]
    captions = [_fill(template, row) for template, row in zip(templates, attributes, strict=True)]
    return captions, np.stack([mentioned(template) for template in templates])


def all_captions() -> list[str]:
    """Every sentence of the grammar with one attribute varied at a time, for the tokenizer."""
    captions = []
    for thing, _ in enumerate(words.THINGS):
        category = words.category_of(thing)
        for number in range(len(words.COLOURS)):
            style, size = number % len(words.STYLES), number % len(words.SIZES)
            row = np.array([category, thing, style, number, number, size])
            captions += [_fill(t, row) for t in GRAMMAR[words.CATEGORIES[category]]]
    return captions


def _pick_template(rng: np.random.Generator, row: np.ndarray) -> str:
    grammar = GRAMMAR[words.CATEGORIES[row[0]]]
    unstyled = row[ATTRIBUTES.index("style")] < 0
    templates = [t for t in grammar if not (unstyled and "{style}" in t)]
    weights = np.array([grammar[t] for t in templates], float)
    return templates[rng.choice(len(templates), p=weights / weights.sum())]


def _fill(template: str, row: np.ndarray) -> str:
    fields = {name: _NAMES[name][index] for name, index in zip(ATTRIBUTES, row, strict=True)}
    return re.sub(r"\ba (?=[aeio](?!ne\b)\w)", "an ", template.format(**fields))
