"""The loss: every caption that is true of a photo is right, and none of these is a wrong one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.nn import logsumexp

from dpl_jax.clip.config import ClipConfig
from dpl_jax.clip.weights import Params
from recipes.contrastive import unit
from recipes.small.photos import Batch
from recipes.small.towers import encode_texts

WRONG = -1e9  # the logit of what must not count


def several_right(
    features: jax.Array, others: jax.Array, logit_scale: jax.Array, true: jax.Array
) -> jax.Array:
    """Mean cross-entropy of telling each right one from all the wrong ones, a scalar.

    A row's right ones never compete with each other ("frog" and "bullfrog" are both true); a row
    counts as the mean over its right ones, and not at all without one.

    Args:
      features: (A, F), not normalised.
      others: (B, F), not normalised.
      logit_scale: scalar, the logarithm of the scale.
      true: (A, B) bool, which of the others are right for which row.
    """
    logits = jnp.exp(logit_scale) * unit(features) @ unit(others).T  # (A, B)
    wrong = logsumexp(jnp.where(true, WRONG, logits), axis=1, keepdims=True)  # (A, 1)
    losses = jnp.logaddexp(logits, wrong) - logits  # (A, B)
    right = true.sum(axis=1)  # (A,)
    rows = jnp.sum(losses * true, axis=1) / jnp.maximum(right, 1)
    return jnp.sum(rows) / jnp.maximum(jnp.sum(right > 0), 1)


def batch_loss(
    params: Params, sizes: ClipConfig, seen: jax.Array, batch: Batch, proxy_weight: float
) -> jax.Array:
    """Returns the contrastive loss of image features (B, F) and the batch's captions.

    To it comes, times ``proxy_weight``, that of telling the class by one learned vector per class,
    for photos and for captions: it ends the long plateau at the start.
    """
    read = encode_texts(params["text"], sizes, batch["input_ids"], batch["end"])
    scale, proxies = params["logit_scale"], params["proxies"]
    about = batch["true"]  # (C, M)
    true = about[batch["label"]]  # (B, M)
    classes = batch["label"][:, None] == jnp.arange(len(proxies))  # (B, C)
    pairs = several_right(seen, read, scale, true) + several_right(read, seen, scale, true.T)
    told = several_right(seen, proxies, scale, classes)
    told += several_right(read, proxies, scale, about.T)
    return (pairs + proxy_weight * told) / 2
