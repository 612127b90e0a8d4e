"""Batches for pretraining: scenes and tokenised captions, each a function of seed and step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recipes.tiny.atlas import Atlas
from recipes.tiny.captions import write_captions
from recipes.tiny.scenes import sample_scenes

Batch = dict[str, Any]


def make_batch(
    seed: int,
    step: int,
    size: int,
    *,
    atlas: Atlas,
    category_weights: Sequence[float],
    handwritten_share: float,
    tokenize: Callable[[str], np.ndarray],
) -> Batch:
    """Returns the batch of one step, the same for the same seed and step.

    Keys: pixels (see Scenes), attributes (B, 6) int32, mentions (B, 6) bool, input_ids (B, S)
    int32 and end (B,) int32, the position of the end-of-text token.
    """
    rng = np.random.default_rng([seed, 1, step])
    scenes = sample_scenes(rng, atlas, size, tuple(category_weights), handwritten_share)
    captions, mentions = write_captions(rng, scenes.attributes)
    input_ids = np.stack([tokenize(caption) for caption in captions])  # (B, S)
    end = input_ids.argmax(axis=1).astype(np.int32)  # the end-of-text id is the largest
    return {
        "pixels": scenes.pixels,
        "attributes": scenes.attributes,
        "mentions": mentions,
        "input_ids": input_ids,
        "end": end,
    }
