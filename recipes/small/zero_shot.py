"""Zero-shot accuracies of a CLIP on photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dpl_jax.clip.config import ClipConfig
from dpl_jax.clip.preprocessing import CLIP_MEAN, CLIP_STD
from dpl_jax.clip.texts import end_positions
from dpl_jax.clip.towers import image_tower, text_tower
from dpl_jax.clip.weights import Params
from dpl_jax.data.templates import PHOTO, prompts_for
from dpl_jax.data.transforms import normalise
from recipes.contrastive import unit
from recipes.small.photos import Photos

CHUNK = 250  # photos encoded at a time

Look = Callable[[Params, Photos], float]


def make_look(sizes: ClipConfig, tokenize: Callable[[Sequence[str]], np.ndarray]) -> Look:
    """Returns a function from parameters and photos to the zero-shot accuracy in percent."""

    @jax.jit
    def predict(params: Params, texts: jax.Array, pixels: jax.Array) -> jax.Array:
        images = normalise(pixels, CLIP_MEAN, CLIP_STD)
        seen = image_tower(sizes).apply({"params": params["image"]}, images)
        return jnp.argmax(unit(seen) @ texts.T, axis=1)  # (CHUNK,)

    @jax.jit
    def read(params: Params, ids: jax.Array, end: jax.Array) -> jax.Array:
        return unit(text_tower(sizes).apply({"params": params["text"]}, ids, end))  # (C, F)

    def look(params: Params, photos: Photos) -> float:
        ids = tokenize(prompts_for(photos.classes, PHOTO))
        texts = read(params, ids, end_positions(ids, sizes.text))
        right = 0
        for start in range(0, len(photos.labels), CHUNK):
            pixels, labels = (part[start : start + CHUNK] for part in photos[:2])
            filled = np.resize(pixels, (CHUNK, *pixels.shape[1:]))  # one compiled program
            right += int(
                np.sum(np.asarray(predict(params, texts, filled))[: len(labels)] == labels)
            )
        return round(100 * right / len(photos.labels), 2)

    return look
