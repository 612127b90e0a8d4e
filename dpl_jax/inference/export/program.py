"""A classifier as one serialised program that needs JAX alone: not this package, not its config.

    OUT/program.bin   StableHLO for CPU and CUDA, of any number of images, by ``jax.export``
    OUT/program.npz   the weights that it is called with

The weights lie beside the program and not in it. As constants those of ViT-B/16 make it 345 MB
instead of 0.24, and XLA takes three times as long to load and compile it (11.4 s for 3.7) and three
times the memory (3.6 GB for 1.2), measured on 2 CPU cores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from dpl_jax.clip.features import class_logits, image_features
from dpl_jax.data.transforms import normalise
from dpl_jax.files.json import write_file
from dpl_jax.inference.classifier import Classifier

PROGRAM, WEIGHTS = "program.bin", "program.npz"
PLATFORMS = ("cpu", "cuda")
# Names such as "image.encoder.layers.fc1.kernel".
Weights: TypeAlias = dict[str, np.ndarray]
# Weights and images (B, H, W, 3) uint8 to class probabilities (B, C).
Function: TypeAlias = Callable[[Mapping[str, Any], jax.Array], jax.Array]


def write_program(classifier: Classifier, folder: Path) -> None:
    """Writes the program and its weights into a folder.

    The program takes images (B, H, W, 3) uint8 that the test transform has resized and cropped to
    the model's size, and normalises them itself; it returns probabilities (B, C) float32 in the
    order of ``classifier.classnames``. B is any number from 1.
    """
    with write_file(folder / PROGRAM) as file:
        file.write(serialise(classifier))
    with write_file(folder / WEIGHTS) as file:
        np.savez(file, allow_pickle=False, **weights_of(classifier))


def serialise(classifier: Classifier) -> bytes:
    """The program of a classifier; ``jax.export.deserialize`` reads it."""
    exported = jax.export.export(jax.jit(function_of(classifier)), platforms=PLATFORMS)
    return bytes(exported(weights_of(classifier), image_shape(classifier)).serialize())


def image_shape(classifier: Classifier) -> jax.ShapeDtypeStruct:
    """What the program takes: (B, H, W, 3) uint8, B left open."""
    side = classifier.preprocessing.crop
    (batch,) = jax.export.symbolic_shape("B")
    return jax.ShapeDtypeStruct((batch, side, side, 3), jnp.uint8)


def weights_of(classifier: Classifier) -> Weights:
    """All that the program is called with besides images: what an image meets, and the classes."""
    params, prompts = classifier.clip.params, classifier.prompts["image"]
    weights = flatten_dict({"image": params["image"]}, sep=".")
    weights |= {"logit_scale": params["logit_scale"], "classes": classifier.features}
    if prompts is not None:
        weights["prompts"] = prompts.rows
    return {name: np.asarray(leaf) for name, leaf in weights.items()}


def function_of(classifier: Classifier) -> Function:
    """What the program computes: :meth:`Classifier.probabilities` of images that are ready."""
    clip, prompts = classifier.clip, classifier.prompts["image"]
    mean, std = classifier.preprocessing.mean, classifier.preprocessing.std

    def probabilities(weights: Mapping[str, Any], images: jax.Array) -> jax.Array:
        params = unflatten_dict(dict(weights), sep=".")
        tower = clip.replace(params={"image": params["image"]})
        own = None if prompts is None else prompts.replace(rows=params["prompts"])
        features = image_features(tower, normalise(images, mean, std), own)  # (B, F)
        logits = class_logits(features, params["classes"], params["logit_scale"])  # (B, C)
        return jax.nn.softmax(logits, axis=-1)

    return probabilities
