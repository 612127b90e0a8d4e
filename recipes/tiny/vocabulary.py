"""Everything a drawn image can show, and the words its caption uses for it."""

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
SIGNS = {
    "plus sign": "+",
    "equals sign": "=",
    "question mark": "?",
    "exclamation mark": "!",
    "at sign": "@",
    "hash sign": "#",
    "percent sign": "%",
    "ampersand": "&",
    "dollar sign": "$",
}
SHAPES = (
    "circle",
    "ring",
    "triangle",
    "square",
    "rectangle",
    "diamond",
    "pentagon",
    "hexagon",
    "star",
    "cross",
    "heart",
    "arrow",
    "crescent",
    "line",
    "spiral",
    "zigzag",
)
TEXTURES = ("striped", "checkered", "dotted", "gridded", "wavy", "ringed", "speckled", "cloudy")

CATEGORIES = ("digit", "letter", "sign", "shape", "texture")

# Name and sRGB value of every colour a caption can mention.
COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "red": (215, 30, 35),
    "green": (40, 160, 60),
    "blue": (40, 70, 215),
    "yellow": (245, 220, 40),
    "orange": (245, 135, 25),
    "purple": (130, 45, 165),
    "pink": (245, 145, 190),
    "brown": (125, 75, 35),
    "cyan": (50, 205, 215),
}
SIZES = ("small", "medium", "large")
STYLES = ("printed", "handwritten", "capital", "lowercase", "filled", "outlined")

# Things in one flat list: the index into THINGS is a scene's `thing`.
THINGS = DIGITS + LETTERS + tuple(SIGNS) + SHAPES + TEXTURES


def category_of(thing: int) -> int:
    """Index into CATEGORIES of a thing, an index into THINGS."""
    sizes = (len(DIGITS), len(LETTERS), len(SIGNS), len(SHAPES), len(TEXTURES))
    for category, size in enumerate(sizes):
        if thing < size:
            return category
        thing -= size
    raise ValueError(f"no thing has this index: {thing} past the last of {len(THINGS)}")
