"""Filled and outlined geometric shapes."""

import numpy as np
from PIL import Image, ImageDraw

Points = list[tuple[float, float]]
_SIDE = 128  # pixels a side of the drawing
_CENTRE, _RADIUS = _SIDE / 2, _SIDE * 0.42


def _polar(radii: np.ndarray, angles: np.ndarray) -> Points:
    """Pixel positions at these radii (fractions of the largest) and angles (0 is up)."""
    x = _CENTRE + _RADIUS * radii * np.sin(angles)
    y = _CENTRE - _RADIUS * radii * np.cos(angles)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _regular(corners: int, turn: float = 0.0) -> Points:
    return _polar(np.ones(corners), turn + np.arange(corners) * 2 * np.pi / corners)


def _boxed(points: Points) -> Points:
    """Points of the unit square (y down) as pixels."""
    return [(_CENTRE + _RADIUS * (2 * x - 1), _CENTRE + _RADIUS * (2 * y - 1)) for x, y in points]


def _star() -> Points:
    return _polar(np.tile([1.0, 0.42], 5), np.arange(10) * np.pi / 5)


def _heart() -> Points:
    """The parametric heart x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t."""
    t = np.linspace(0, 2 * np.pi, 60)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return _boxed(list(zip((x / 34 + 0.5).tolist(), (0.45 - y / 34).tolist(), strict=True)))


def _crescent() -> Points:
    outer, inner = np.linspace(0, np.pi, 30), np.linspace(np.pi, 0, 30)
    outside = _polar(np.ones(30), outer)
    inside = [(_CENTRE + 0.45 * (x - _CENTRE), y) for x, y in _polar(np.ones(30), inner)]
    return outside + inside


def _spiral() -> Points:
    turn = np.linspace(0, 5 * np.pi, 90)
    return _polar(turn / turn[-1], turn)


_CROSS = [(0.35, 0), (0.65, 0), (0.65, 0.35), (1, 0.35), (1, 0.65), (0.65, 0.65), (0.65, 1)]
_CROSS += [(0.35, 1), (0.35, 0.65), (0, 0.65), (0, 0.35), (0.35, 0.35)]
_ARROW = [(0, 0.35), (0.55, 0.35), (0.55, 0.1), (1, 0.5), (0.55, 0.9), (0.55, 0.65), (0, 0.65)]

POLYGONS: dict[str, Points] = {
    "circle": _regular(48),
    "triangle": _regular(3),
    "square": _regular(4, np.pi / 4),
    "rectangle": _boxed([(0, 0.25), (1, 0.25), (1, 0.75), (0, 0.75)]),
    "diamond": _boxed([(0.5, 0), (0.8, 0.5), (0.5, 1), (0.2, 0.5)]),
    "pentagon": _regular(5),
    "hexagon": _regular(6),
    "star": _star(),
    "cross": _boxed(_CROSS),
    "heart": _heart(),
    "arrow": _boxed(_ARROW),
    "crescent": _crescent(),
}
PATHS: dict[str, Points] = {
    "ring": _regular(48) + _regular(48)[:2],
    "line": _boxed([(0, 0.5), (1, 0.5)]),
    "spiral": _spiral(),
    "zigzag": _boxed([(0, 0.7), (0.2, 0.3), (0.4, 0.7), (0.6, 0.3), (0.8, 0.7), (1, 0.3)]),
}


def draw_shape(name: str, filled: bool, pen: int) -> Image.Image:
    """One shape, white on black, mode "L", 128 by 128; those in PATHS have no inside to fill."""
    image = Image.new("L", (_SIDE, _SIDE))
    brush = ImageDraw.Draw(image)
    if name in PATHS:
        brush.line(PATHS[name], fill=255, width=pen, joint="curve")
    elif filled:
        brush.polygon(POLYGONS[name], fill=255)
    else:
        corners = POLYGONS[name]
        brush.line(corners + corners[:2], fill=255, width=pen, joint="curve")
    return image
