"""Handwriting-like digits drawn from skeletons: control points, a spline through them, a pen.

A skeleton is a list of strokes; a stroke is ("curve" | "lines", points) with x to the right and
y down, both in 0..1. The skeletons are how people are taught to write the ten digits, with the
common variants (open and closed 4, crossed 7, 1 with and without serif); no image was traced.
"""

import numpy as np
from PIL import Image, ImageDraw

Stroke = tuple[str, tuple[tuple[float, float], ...]]
Skeleton = tuple[Stroke, ...]

_OVAL = ((0.5, 0.04), (0.15, 0.3), (0.15, 0.7), (0.5, 0.96), (0.85, 0.7), (0.85, 0.3), (0.5, 0.04))
_ONE = ((0.5, 0.04), (0.5, 0.96))

SKELETONS: dict[int, tuple[Skeleton, ...]] = {
    0: (
        (("curve", _OVAL),),
        (("curve", (*_OVAL, (0.3, 0.12))),),
        (("curve", tuple((0.5 + 0.6 * (x - 0.5), y) for x, y in _OVAL)),),
    ),
    1: (
        (("lines", _ONE),),
        (("lines", ((0.28, 0.26), *_ONE)),),
        (("lines", ((0.28, 0.22), *_ONE)), ("lines", ((0.25, 0.96), (0.75, 0.96)))),
        (("curve", ((0.3, 0.3), (0.48, 0.06), (0.5, 0.5), (0.5, 0.96))),),
    ),
    2: (
        (
            (
                "curve",
                ((0.15, 0.28), (0.35, 0.06), (0.7, 0.1), (0.78, 0.35), (0.5, 0.68), (0.12, 0.95)),
            ),
            ("lines", ((0.12, 0.95), (0.88, 0.93))),
        ),
        (
            (
                "curve",
                (
                    (0.15, 0.25),
                    (0.45, 0.05),
                    (0.78, 0.25),
                    (0.6, 0.58),
                    (0.22, 0.9),
                    (0.1, 0.8),
                    (0.3, 0.74),
                    (0.6, 0.92),
                    (0.9, 0.85),
                ),
            ),
        ),
        (
            (
                "curve",
                ((0.18, 0.15), (0.5, 0.04), (0.8, 0.2), (0.68, 0.5), (0.35, 0.8), (0.15, 0.94)),
            ),
            ("curve", ((0.15, 0.94), (0.4, 0.86), (0.65, 0.95), (0.9, 0.88))),
        ),
    ),
    3: (
        (
            ("curve", ((0.15, 0.15), (0.5, 0.04), (0.8, 0.22), (0.62, 0.43), (0.38, 0.48))),
            ("curve", ((0.38, 0.48), (0.72, 0.54), (0.85, 0.75), (0.55, 0.95), (0.12, 0.86))),
        ),
        (
            ("lines", ((0.15, 0.06), (0.8, 0.06), (0.45, 0.42))),
            ("curve", ((0.45, 0.42), (0.8, 0.55), (0.82, 0.8), (0.5, 0.96), (0.12, 0.85))),
        ),
        (
            (
                "curve",
                (
                    (0.18, 0.12),
                    (0.55, 0.04),
                    (0.75, 0.2),
                    (0.6, 0.42),
                    (0.45, 0.48),
                    (0.7, 0.55),
                    (0.8, 0.75),
                    (0.55, 0.95),
                    (0.2, 0.92),
                ),
            ),
        ),
    ),
    4: (
        (
            ("lines", ((0.22, 0.05), (0.14, 0.56), (0.9, 0.56))),
            ("lines", ((0.68, 0.1), (0.64, 0.96))),
        ),
        (("lines", ((0.66, 0.96), (0.66, 0.05), (0.1, 0.66), (0.92, 0.66))),),
        (
            ("curve", ((0.25, 0.05), (0.15, 0.35), (0.25, 0.55), (0.55, 0.52), (0.78, 0.42))),
            ("lines", ((0.78, 0.05), (0.7, 0.96))),
        ),
        (
            ("lines", ((0.45, 0.04), (0.1, 0.66), (0.88, 0.6))),
            ("lines", ((0.62, 0.4), (0.56, 0.96))),
        ),
    ),
    5: (
        (
            ("lines", ((0.82, 0.05), (0.26, 0.05), (0.2, 0.45))),
            (
                "curve",
                ((0.2, 0.45), (0.5, 0.37), (0.82, 0.6), (0.7, 0.88), (0.4, 0.96), (0.12, 0.86)),
            ),
        ),
        (
            ("lines", ((0.3, 0.06), (0.24, 0.45))),
            ("curve", ((0.24, 0.45), (0.6, 0.4), (0.8, 0.66), (0.55, 0.94), (0.14, 0.9))),
            ("lines", ((0.3, 0.06), (0.88, 0.04))),
        ),
        (
            (
                "curve",
                (
                    (0.82, 0.06),
                    (0.45, 0.06),
                    (0.26, 0.28),
                    (0.5, 0.44),
                    (0.78, 0.62),
                    (0.66, 0.9),
                    (0.35, 0.96),
                    (0.12, 0.84),
                ),
            ),
        ),
    ),
    6: (
        (
            (
                "curve",
                (
                    (0.7, 0.04),
                    (0.35, 0.25),
                    (0.15, 0.62),
                    (0.28, 0.92),
                    (0.6, 0.95),
                    (0.82, 0.75),
                    (0.62, 0.55),
                    (0.35, 0.6),
                    (0.18, 0.74),
                ),
            ),
        ),
        (
            (
                "curve",
                (
                    (0.45, 0.04),
                    (0.25, 0.35),
                    (0.2, 0.75),
                    (0.45, 0.96),
                    (0.75, 0.82),
                    (0.68, 0.58),
                    (0.4, 0.58),
                    (0.24, 0.72),
                ),
            ),
        ),
    ),
    7: (
        (("lines", ((0.12, 0.07), (0.86, 0.06), (0.42, 0.96))),),
        (
            ("lines", ((0.12, 0.07), (0.86, 0.06), (0.42, 0.96))),
            ("lines", ((0.3, 0.52), (0.85, 0.47))),
        ),
        (("curve", ((0.12, 0.12), (0.45, 0.1), (0.84, 0.06), (0.6, 0.45), (0.48, 0.96))),),
        (("lines", ((0.12, 0.24), (0.14, 0.06), (0.86, 0.06), (0.5, 0.96))),),
    ),
    8: (
        (
            (
                "curve",
                (
                    (0.5, 0.48),
                    (0.2, 0.25),
                    (0.5, 0.04),
                    (0.8, 0.25),
                    (0.5, 0.48),
                    (0.15, 0.75),
                    (0.5, 0.96),
                    (0.85, 0.75),
                    (0.5, 0.48),
                ),
            ),
        ),
        (
            (
                "curve",
                (
                    (0.78, 0.18),
                    (0.5, 0.04),
                    (0.22, 0.2),
                    (0.5, 0.47),
                    (0.8, 0.74),
                    (0.5, 0.96),
                    (0.2, 0.76),
                    (0.46, 0.5),
                    (0.76, 0.26),
                ),
            ),
        ),
    ),
    9: (
        (
            ("curve", ((0.78, 0.25), (0.5, 0.05), (0.2, 0.27), (0.44, 0.5), (0.78, 0.3))),
            ("lines", ((0.78, 0.25), (0.7, 0.96))),
        ),
        (
            (
                "curve",
                (
                    (0.78, 0.28),
                    (0.55, 0.05),
                    (0.22, 0.24),
                    (0.42, 0.5),
                    (0.74, 0.32),
                    (0.8, 0.6),
                    (0.6, 0.92),
                    (0.2, 0.92),
                ),
            ),
        ),
        (
            (
                "curve",
                (
                    (0.8, 0.14),
                    (0.45, 0.05),
                    (0.2, 0.3),
                    (0.5, 0.48),
                    (0.78, 0.2),
                    (0.74, 0.6),
                    (0.62, 0.96),
                ),
            ),
        ),
    ),
}

_CANVAS = 128  # pixels a side of the drawing, reduced later


def catmull_rom(points: np.ndarray, samples: int = 12) -> np.ndarray:
    """Smooth curve through points (n, 2): (samples * (n - 1) + 1, 2), centripetal ends repeated.

    The uniform Catmull-Rom spline (Catmull and Rom, 1974).
    """
    padded = np.concatenate([points[:1], points, points[-1:]])  # (n + 2, 2)
    p0, p1, p2, p3 = (padded[i : len(points) - 1 + i, None] for i in range(4))  # (n - 1, 1, 2)
    t = np.linspace(0, 1, samples, endpoint=False)[None, :, None]
    curve = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return np.concatenate([curve.reshape(-1, 2), points[-1:]])


def _jittered(rng: np.random.Generator, skeleton: Skeleton, jitter: float) -> list[np.ndarray]:
    """Stroke paths with moved control points, a slant and a random width to height ratio."""
    slant, widen = rng.normal(0, 0.18), rng.uniform(0.55, 1.1)
    paths = []
    for kind, points in skeleton:
        moved = np.array(points) + rng.normal(0, jitter, (len(points), 2))
        path = catmull_rom(moved) if kind == "curve" else moved
        x, y = path[:, 0] - 0.5, path[:, 1] - 0.5
        paths.append(np.stack([widen * x - slant * y, y], axis=1))
    return paths


def draw_digit(rng: np.random.Generator, digit: int, jitter: float = 0.045) -> Image.Image:
    """One handwriting-like digit, white on black, mode "L", 128 by 128 pixels.

    The variant, the control points, slant, width and pen are drawn from `rng`; `jitter` is the
    standard deviation of a control point in units of the digit's height.
    """
    variants = SKELETONS[digit]
    paths = _jittered(rng, variants[rng.integers(len(variants))], jitter)
    extent = max(np.ptp(np.concatenate(paths), axis=0))
    pen = rng.uniform(5, 20)
    scale = (_CANVAS - 2 * pen) / extent
    centre = (np.concatenate(paths).max(0) + np.concatenate(paths).min(0)) / 2
    image = Image.new("L", (_CANVAS, _CANVAS))
    brush = ImageDraw.Draw(image)
    for path in paths:
        pixels = [tuple(p) for p in (path - centre) * scale + _CANVAS / 2]
        brush.line(pixels, fill=255, width=round(pen), joint="curve")
        for x, y in (pixels[0], pixels[-1]):
            brush.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)
    return image
