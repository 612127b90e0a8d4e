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
    logits = jnp.exp(logit_scale) * unit(image_features) @ unit(text_features).T  # (B, B)
    weights = true.astype(logits.dtype)
    to_text = optax.softmax_cross_entropy(logits, weights / weights.sum(1, keepdims=True))
    to_image = optax.softmax_cross_entropy(logits.T, weights.T / weights.T.sum(1, keepdims=True))
    return (to_text.mean() + to_image.mean()) / 2


def proxy_loss(
    features: jax.Array,
    proxies: jax.Array,
    logit_scale: jax.Array,
    thing: jax.Array,
    mentioned: jax.Array,
) -> jax.Array:
    """Mean cross-entropy of telling the thing by the nearest of one learned vector a thing.

    Both towers are pulled to the same vectors, which ends the long plateau at the start of a small
    contrastive training (proxies as in Movshovitz-Attias et al., 2017). Not part of the CLIP.

    Args:
      features: (B, F) of images or captions, not normalised.
      proxies: (things, F).
      logit_scale: scalar, the logarithm of the scale.
      thing: (B,) int, the right proxy.
      mentioned: (B,) bool, rows that count.
    """
    logits = jnp.exp(logit_scale) * unit(features) @ unit(proxies).T  # (B, things)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, thing)
    return jnp.sum(losses * mentioned) / jnp.maximum(jnp.sum(mentioned), 1)


def unit(features: jax.Array) -> jax.Array:
    """Returns features (n, F) divided by their norms."""
    return features / jnp.linalg.norm(features, axis=-1, keepdims=True)
