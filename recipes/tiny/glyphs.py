"""Printed digits, letters and signs in the fonts that matplotlib and Pillow bundle."""

from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

# Text fonts among matplotlib's bundled ones (the others hold mathematical symbols only).
FONT_FILES = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSans-BoldOblique.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSansMono-Bold.ttf",
    "DejaVuSansMono-Oblique.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSerif-Italic.ttf",
    "DejaVuSerif-BoldItalic.ttf",
    "STIXGeneral.ttf",
    "STIXGeneralBol.ttf",
    "STIXGeneralItalic.ttf",
    "STIXGeneralBolIta.ttf",
    "cmr10.ttf",
    "cmss10.ttf",
    "cmtt10.ttf",
    "cmb10.ttf",
    "cmti10.ttf",
)
_POINTS = 72  # font size the glyphs are drawn at, reduced later
WEIGHTS = (0, 1, 3)  # pixels added all around: as designed, bold, bolder


def bundled_fonts() -> list[ImageFont.FreeTypeFont]:
    """The text fonts bundled with matplotlib, then Pillow's own, at 72 pixels."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [ImageFont.truetype(str(folder / name), _POINTS) for name in FONT_FILES]
    default = ImageFont.load_default(_POINTS)
    return fonts + ([default] if isinstance(default, ImageFont.FreeTypeFont) else [])


def draw_glyph(font: ImageFont.FreeTypeFont, character: str, weight: int = 0) -> Image.Image:
    """One character, white on black, mode "L", 128 by 128 pixels; weight is one of WEIGHTS."""
    image = Image.new("L", (128, 128))
    brush = ImageDraw.Draw(image)
    brush.text((64, 64), character, 255, font, anchor="mm", stroke_width=weight)
    return image


def has_glyph(font: ImageFont.FreeTypeFont, character: str) -> bool:
    """Whether the font draws this character as something else than its missing-glyph box."""
    drawn, missing = (bytes(font.getmask(c)) for c in (character, "\U0010fffd"))
    return any(drawn) and drawn != missing
