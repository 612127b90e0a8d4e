"""All masks that scenes are composed from, drawn once at the start of a pretraining."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from recipes.tiny import vocabulary as words
from recipes.tiny.glyphs import WEIGHTS, bundled_fonts, draw_glyph, has_glyph
from recipes.tiny.shapes import draw_shape
from recipes.tiny.strokes import draw_digit
from recipes.tiny.textures import draw_texture

MASK_SIDE = 32  # pixels a side of a stored mask
_PENS = (6, 10, 16)  # outline widths of shapes in pixels of their 128-pixel drawing


@dataclass(frozen=True)
class Atlas:
    """Masks and what each shows.

    masks: (M, 32, 32) uint8, 255 where the thing is. thing, style: (M,) int indices into
    vocabulary.THINGS and STYLES (style -1: none to name).
    """

    masks: np.ndarray
    thing: np.ndarray
    style: np.ndarray

    def of_thing(self, thing: int) -> np.ndarray:
        """Indices of the masks that show this thing."""
        return np.flatnonzero(self.thing == thing)


def build_atlas(seed: int, handwritten: int = 300, textures: int = 40) -> Atlas:
    """Draw every mask: printed glyphs, `handwritten` digits per class, shapes, `textures` each."""
    rng = np.random.default_rng([seed, 0])
    entries = [*_printed(), *_handwritten(rng, handwritten), *_shapes(), *_textures(rng, textures)]
    masks, things, styles = zip(*entries, strict=True)
    index = [words.STYLES.index(s) if s else -1 for s in styles]
    return Atlas(
        np.stack(masks), np.array([words.THINGS.index(t) for t in things]), np.array(index)
    )


def tight_mask(image: Image.Image) -> np.ndarray:
    """Crop an "L" image to what is drawn, centre it in a square, reduce to (32, 32) uint8."""
    cropped = image.crop(image.getbbox())
    side = max(cropped.size)
    square = Image.new("L", (side, side))
    square.paste(cropped, ((side - cropped.width) // 2, (side - cropped.height) // 2))
    return np.asarray(square.resize((MASK_SIDE, MASK_SIDE), Image.Resampling.BOX))


Entry = tuple[np.ndarray, str, str]  # mask, thing, style ("" where there is none to name)


def _printed() -> list[Entry]:
    characters = [(str(i), name, "printed") for i, name in enumerate(words.DIGITS)]
    characters += [(letter, letter, "lowercase") for letter in words.LETTERS]
    characters += [(letter.upper(), letter, "capital") for letter in words.LETTERS]
    characters += [(sign, name, "") for name, sign in words.SIGNS.items()]
    entries = []
    for font in bundled_fonts():
        for character, thing, style in characters:
            for weight in WEIGHTS if has_glyph(font, character) else ():
                glyph = draw_glyph(font, character, weight)
                if glyph.getbbox():
                    entries.append((tight_mask(glyph), thing, style))
    return entries


def _handwritten(rng: np.random.Generator, count: int) -> list[Entry]:
    return [
        (tight_mask(draw_digit(rng, digit)), name, "handwritten")
        for digit, name in enumerate(words.DIGITS)
        for _ in range(count)
    ]


def _shapes() -> list[Entry]:
    filled = [(tight_mask(draw_shape(s, True, 10)), s, "filled") for s in words.SHAPES]
    outlined = [
        (tight_mask(draw_shape(s, False, pen)), s, "outlined")
        for s in words.SHAPES
        for pen in _PENS
    ]
    return filled + outlined


def _textures(rng: np.random.Generator, count: int) -> list[Entry]:
    return [
        (np.asarray(draw_texture(rng, t).resize((MASK_SIDE, MASK_SIDE))), t, "")
        for t in words.TEXTURES
        for _ in range(count)
    ]
