"""What each image of a batch shows: things, colours, places and distortions, drawn at random."""

from dataclasses import dataclass

import numpy as np

from recipes.tiny import vocabulary as words
from recipes.tiny.atlas import Atlas

# Attributes a caption can mention, the columns of Scenes.attributes.
ATTRIBUTES = ("category", "thing", "style", "colour", "background", "size")
# Sides in pixels an image is reduced to before it is enlarged again; 0: not reduced.
RESOLUTIONS = (0, 20, 16, 12, 10, 8)

_LEGIBLE = 6.5  # pixels a thing keeps along its longer side when its image is reduced
_COLOURS = np.array(list(words.COLOURS.values())) / 255.0  # (colours, 3)
_BLACK, _WHITE = (list(words.COLOURS).index(name) for name in ("black", "white"))
# Colours further apart than this (Euclidean in RGB, 0..1) can stand on each other.
_CONTRAST = np.linalg.norm(_COLOURS[:, None] - _COLOURS[None], axis=-1) > 0.55
_HANDWRITTEN = words.STYLES.index("handwritten")
_CATEGORY_OF = np.array([words.category_of(i) for i in range(len(words.THINGS))])


@dataclass(frozen=True)
class Scenes:
    """B scenes.

    attributes: (B, 6) int32, columns as in ATTRIBUTES (indices into the vocabulary; style -1:
    none). pixels: arrays with leading axis B that `compose` turns into images.
    """

    attributes: np.ndarray
    pixels: dict[str, np.ndarray]


def sample_scenes(
    rng: np.random.Generator,
    atlas: Atlas,
    count: int,
    category_weights: tuple[float, ...],
    handwritten_share: float,
) -> Scenes:
    """Draw `count` scenes.

    category_weights: shares of vocabulary.CATEGORIES. handwritten_share: of the digits.
    """
    shares = np.array(category_weights) / sum(category_weights)
    category = rng.choice(len(words.CATEGORIES), count, p=shares)
    mask = np.array([_pick_mask(rng, atlas, c, handwritten_share) for c in category])
    texture = category == words.CATEGORIES.index("texture")
    scale = np.where(texture, 1.7, rng.uniform(0.5, 1.05, count))
    colour, background = _pick_colours(rng, count, plain=texture)
    size = np.where(texture, 2, np.digitize(scale, [0.65, 0.85]))
    columns = (category, atlas.thing[mask], atlas.style[mask], colour, background, size)
    pixels = {"mask": mask, **_placement(rng, scale, texture)}
    pixels |= _appearance(rng, atlas, colour, background)
    pixels["resolution"] = _pick_resolution(rng, scale)
    return Scenes(
        np.stack(columns, axis=1).astype(np.int32),
        {k: v.astype(np.int32 if v.dtype.kind == "i" else np.float32) for k, v in pixels.items()},
    )


def _pick_mask(
    rng: np.random.Generator, atlas: Atlas, category: int, handwritten_share: float
) -> int:
    """A mask of a uniformly drawn thing of the category; other styles are equally frequent."""
    thing = rng.choice(np.flatnonzero(category == _CATEGORY_OF))
    masks = atlas.of_thing(thing)
    styles = atlas.style[masks]
    present = np.unique(styles)
    if _HANDWRITTEN in present:
        written = rng.uniform() < handwritten_share
        return int(rng.choice(masks[(styles == _HANDWRITTEN) == written]))
    return int(rng.choice(masks[styles == rng.choice(present)]))


def _pick_colours(
    rng: np.random.Generator, count: int, plain: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Thing and background colours (B,) with contrast; `plain` scenes are never white on black."""
    pairs = np.argwhere(_CONTRAST)  # (pairs, 2)
    chosen = pairs[rng.integers(len(pairs), size=count)]
    chalk = (rng.uniform(size=count) < 0.6) & ~plain
    return np.where(chalk, _WHITE, chosen[:, 0]), np.where(chalk, _BLACK, chosen[:, 1])


def _placement(
    rng: np.random.Generator, scale: np.ndarray, texture: np.ndarray
) -> dict[str, np.ndarray]:
    """Size, turn, slant and place of the thing; lengths in half image sides, angles in radians."""
    count = len(scale)
    room = np.maximum(1 - scale, 0.06)
    return {
        "scale": scale[:, None] * np.exp(rng.normal(0, 0.12, (count, 2))),
        "rotation": rng.normal(0, 0.14, count),
        "slant": rng.normal(0, 0.18, count),
        "centre": room[:, None] * rng.uniform(-1, 1, (count, 2)),
        "elastic": np.where(texture, 0, rng.uniform(0, 0.1, count)),
    }


def _appearance(
    rng: np.random.Generator, atlas: Atlas, colour: np.ndarray, background: np.ndarray
) -> dict[str, np.ndarray]:
    """Colours (B, 3) in 0..1, background clutter, light, resolution and noise."""
    count = len(colour)
    textures = np.flatnonzero(_CATEGORY_OF[atlas.thing] == words.CATEGORIES.index("texture"))
    cluttered = rng.uniform(size=count) < 0.3
    return {
        "colour": np.clip(_COLOURS[colour] + rng.normal(0, 0.04, (count, 3)), 0, 1),
        "background": np.clip(_COLOURS[background] + rng.normal(0, 0.03, (count, 3)), 0, 1),
        "clutter": rng.choice(textures, count),
        "clutter_strength": np.where(cluttered, rng.uniform(0.03, 0.2, count), 0),
        "gain": rng.uniform(0.8, 2.0, count),
        "light": rng.normal(0, 0.08, (count, 2)),
        "noise": np.where(rng.uniform(size=count) < 0.5, rng.uniform(0, 0.08, count), 0),
    }


def _pick_resolution(rng: np.random.Generator, scale: np.ndarray) -> np.ndarray:
    """Indices (B,) into RESOLUTIONS; things of size `scale` keep enough pixels to be told."""
    index = rng.integers(0, len(RESOLUTIONS), len(scale))
    pixels = np.array(RESOLUTIONS)[index] * scale
    return np.where(pixels >= _LEGIBLE, index, 0)
