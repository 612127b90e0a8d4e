"""How good a finished CLIP is on real images that took no part in its training."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression

from dpl_jax.clip.features import image_features, text_features
from dpl_jax.clip.model import Clip
from dpl_jax.data.decode import decode
from dpl_jax.data.fewshot import sample_few_shot
from dpl_jax.data.split import Dataset, Item
from dpl_jax.data.templates import prompts_for
from dpl_jax.data.transforms import normalise
from recipes.contrastive import unit

CHUNK = 1000  # images encoded at a time


def accuracies(
    clip: Clip, dataset: Dataset, shots: int = 16, seeds: Sequence[int] = (1, 2, 3)
) -> dict[str, float]:
    """Returns accuracies in percent on the test images.

    Keys: zero_shot (class names in the dataset's template) and linear_probe (logistic regression
    on frozen image features, `shots` training images per class, mean over `seeds`); the latter only
    where there are seeds.
    """
    test, labels = features(clip, dataset.test), [item.label for item in dataset.test]
    texts = text_features(clip, clip.tokenize(prompts_for(dataset.classnames, dataset.template)))
    found = {"zero_shot": _percent((test @ np.asarray(unit(texts)).T).argmax(1), labels)}
    probes = []
    for seed in seeds:
        train, _ = sample_few_shot(dataset.train, dataset.val, shots, seed)
        probe = LogisticRegression(C=100.0, max_iter=2000)
        probe.fit(features(clip, train), [item.label for item in train])
        probes.append(_percent(probe.predict(test), labels))
    return found | ({"linear_probe": round(float(np.mean(probes)), 2)} if probes else {})


def features(clip: Clip, items: Sequence[Item]) -> np.ndarray:
    """Returns image features (n, F) of length one."""
    mean, std = clip.preprocessing.mean, clip.preprocessing.std
    encode = jax.jit(lambda pixels: image_features(clip, normalise(pixels, mean, std)))
    pixels = decode(items, clip.preprocessing)[0]  # (n, H, W, 3) uint8
    parts = [pixels[i : i + CHUNK] for i in range(0, len(pixels), CHUNK)]
    return np.concatenate([np.asarray(unit(encode(jnp.asarray(part)))) for part in parts])


def _percent(predicted: np.ndarray, labels: Sequence[int]) -> float:
    return round(100 * float(np.mean(predicted == np.asarray(labels))), 2)
