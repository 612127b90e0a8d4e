"""Repeating textures as grey masks."""

import numpy as np
from PIL import Image

_SIDE = 64  # pixels a side


def draw_texture(rng: np.random.Generator, name: str) -> Image.Image:
    """One texture that fills its image, mode "L", 64 by 64; period, phase and angle from `rng`."""
    y, x = np.mgrid[:_SIDE, :_SIDE] / _SIDE
    angle = rng.uniform(0, np.pi)
    periods = rng.uniform(3, 7)
    u = periods * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform()
    v = periods * (y * np.cos(angle) - x * np.sin(angle)) + rng.uniform()
    wave = _waves(rng, name, u, v)
    return Image.fromarray((255 * np.clip(wave, 0, 1)).astype(np.uint8), mode="L")


def _waves(rng: np.random.Generator, name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Grey values in about 0..1 of a texture in the turned coordinates u, v (periods)."""
    sine_u, sine_v = np.sin(2 * np.pi * u), np.sin(2 * np.pi * v)
    match name:
        case "striped":
            return (sine_u > 0).astype(float)
        case "checkered":
            return (sine_u * sine_v > 0).astype(float)
        case "dotted":
            return ((u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.09).astype(float)
        case "gridded":
            return ((u % 1 < 0.25) | (v % 1 < 0.25)).astype(float)
        case "wavy":
            return (np.sin(2 * np.pi * (u + 0.25 * sine_v)) > 0).astype(float)
        case "ringed":
            return (np.sin(2 * np.pi * np.hypot(u - u.mean(), v - v.mean())) > 0).astype(float)
        case "speckled":
            coarse = (rng.uniform(size=(32, 32)) < 0.3).astype(float)
            return np.kron(coarse, np.ones((2, 2)))
        case "cloudy":
            small = Image.fromarray(rng.uniform(size=(7, 7)).astype(np.float32))
            return np.asarray(small.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))
    raise ValueError(f"no such texture: {name!r}")
