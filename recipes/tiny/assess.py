"""How good a CLIP's features are on the real handwritten digits: a final look at a finished CLIP.

No real digit is used in pretraining, neither for gradients nor to pick a checkpoint.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression

from dpl_jax.clip.model import load_clip
from dpl_jax.data.decode import decode
from dpl_jax.data.digits import read_digits
from dpl_jax.data.fewshot import sample_few_shot
from dpl_jax.data.split import Item
from dpl_jax.data.templates import prompts_for
from dpl_jax.data.transforms import normalise
from dpl_jax.logits import image_features, text_features


def assess(folder: Path, shots: int = 16, seeds: tuple[int, ...] = (1, 2, 3)) -> dict[str, float]:
    """Returns accuracies in percent on the test digits of the CLIP in `folder`.

    Keys: zero_shot (class names in the digits' template) and linear_probe (logistic regression on
    frozen image features, `shots` training images a class, mean over `seeds`).
    """
    clip, digits = load_clip(folder), read_digits()
    mean, std = clip.preprocessing.mean, clip.preprocessing.std
    encode = jax.jit(lambda pixels: image_features(clip, normalise(pixels, mean, std)))

    def features(items: tuple[Item, ...]) -> np.ndarray:
        pixels = decode(items, clip.preprocessing)[0]  # (n, H, W, 3) uint8
        return unit(encode(jnp.asarray(pixels)))  # (n, F)

    test, labels = features(digits.test), np.array([item.label for item in digits.test])
    texts = clip.tokenize(prompts_for(digits.classnames, digits.template))
    zero_shot = (test @ unit(text_features(clip, texts)).T).argmax(1)  # (n,)
    probes = []
    for seed in seeds:
        train, _ = sample_few_shot(digits.train, digits.val, shots, seed)
        probe = LogisticRegression(C=100.0, max_iter=2000)
        probe.fit(features(tuple(train)), [item.label for item in train])
        probes.append(_percent(probe.predict(test), labels))
    return {
        "zero_shot": _percent(zero_shot, labels),
        "linear_probe": round(float(np.mean(probes)), 2),
    }


def unit(features: jax.Array) -> np.ndarray:
    """Returns features (n, F) divided by their norms."""
    array = np.asarray(features)
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def _percent(predicted: np.ndarray, labels: np.ndarray) -> float:
    return round(100 * float(np.mean(predicted == labels)), 2)
