"""What both stages minimise: cross-entropy, and optionally distillation from zero-shot CLIP."""

from __future__ import annotations

import jax
import optax

from dpl_jax.clip.features import TowerPrompts, class_logits, image_features, text_features
from dpl_jax.clip.model import Clip
from dpl_jax.clip.texts import Texts


def loss_and_accuracy(
    clip: Clip,
    images: jax.Array,
    labels: jax.Array,
    texts: Texts,
    prompts: TowerPrompts,
    *,
    distillation: float = 0.0,
    teacher_texts: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Mean loss and accuracy of one batch.

    Args:
      clip: a frozen CLIP.
      images: (B, H, W, 3) normalised.
      labels: (B,) class numbers.
      texts: of the C classes.
      prompts: of both towers.
      distillation: weight of KL(zero-shot CLIP || prompted CLIP) over the class logits; 0 leaves
        the zero-shot pass out.
      teacher_texts: (C, F) zero-shot text features, needed when ``distillation`` is not 0.
    """
    image = image_features(clip, images, prompts["image"])  # (B, F)
    text = text_features(clip, texts, prompts["text"])  # (C, F)
    logits = class_logits(image, text, clip.params["logit_scale"])  # (B, C)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    if distillation and teacher_texts is not None:
        teacher = zero_shot_probabilities(clip, images, teacher_texts)  # (B, C)
        student = jax.nn.log_softmax(logits)
        loss += distillation * optax.kl_divergence(student, teacher).mean()
    accuracy = (logits.argmax(axis=-1) == labels).mean()
    return loss, accuracy


def zero_shot_probabilities(clip: Clip, images: jax.Array, texts: jax.Array) -> jax.Array:
    """Class probabilities (B, C) of plain CLIP, given its text features (C, F)."""
    logits = class_logits(image_features(clip, images), texts, clip.params["logit_scale"])
    return jax.nn.softmax(jax.lax.stop_gradient(logits))
