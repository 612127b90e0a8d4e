"""CLIP's symmetric contrastive loss with every true caption of an image as a positive."""

import jax
import jax.numpy as jnp
import optax


def true_captions(attributes: jax.Array, mentions: jax.Array) -> jax.Array:
    """Whether caption j is true of image i: (B, B) bool.

    Args:
      attributes: (B, A) int, what image i shows and caption i was written about.
      mentions: (B, A) bool, which of them caption j mentions.
    """
    agree = attributes[:, None] == attributes[None]  # (B, B, A)
    return jnp.all(agree | ~mentions[None], axis=-1)


def contrastive_loss(
    image_features: jax.Array, text_features: jax.Array, logit_scale: jax.Array, true: jax.Array
) -> jax.Array:
    """Mean of the image-to-text and the text-to-image cross-entropy, a scalar.

    Radford et al. (2021), figure 3, except for the targets: there each image has one caption;
    here a batch holds several true ones, and the target is uniform over them.

    Args:
      image_features: (B, F), not normalised.
      text_features: (B, F), not normalised.
      logit_scale: scalar, the logarithm of the scale.
      true: (B, B) bool, caption j is true of image i.
    """
    image = image_features / jnp.linalg.norm(image_features, axis=-1, keepdims=True)
    text = text_features / jnp.linalg.norm(text_features, axis=-1, keepdims=True)
    logits = jnp.exp(logit_scale) * image @ text.T  # (B, B)
    weights = true.astype(logits.dtype)
    to_text = optax.softmax_cross_entropy(logits, weights / weights.sum(1, keepdims=True))
    to_image = optax.softmax_cross_entropy(logits.T, weights.T / weights.T.sum(1, keepdims=True))
    return (to_text.mean() + to_image.mean()) / 2
