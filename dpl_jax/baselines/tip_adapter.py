"""Tip-Adapter: the train images as a cache of keys and labels beside zero-shot CLIP.

Zhang et al., ECCV 2022, arXiv 2207.09519, section 3::

    logits = zero-shot + alpha * exp(-beta (1 - f K^T)) V

Everything works on image features that are computed once, which is exact where images are not
augmented (``data.augment = "none"``). The released code makes a key of the mean over 10 random
crops of its image and trains Tip-Adapter-F on fresh crops; here every epoch sees the same features,
and a key answers its own image with an affinity of 1 from the start.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dpl_jax.clip.features import to_length_one
from dpl_jax.errors import ConfigError

# The paper's residual ratio and sharpness for ImageNet.
ALPHA, BETA = 1.0, 5.5
# configs/imagenet.yaml of github.com/gaopengcuhk/Tip-Adapter: both grids start at 0.1, and stop one
# step short of these; 200 values of beta, 20 of alpha.
LARGEST_ALPHA, LARGEST_BETA = 3.0, 7.0
ALPHAS, BETAS = 20, 200
# main.py there: AdamW (PyTorch's decay), cosine to zero.
RATE, EPSILON, DECAY = 1e-3, 1e-4, 1e-2
EPOCHS, BATCH = 20, 256


class Cache(NamedTuple):
    """What the train images are remembered by.

    Attributes:
      keys: (n, F), normalised features at first; Tip-Adapter-F trains them.
      values: (n, C) one-hot labels.
    """

    keys: jax.Array
    values: jax.Array


def build_cache(features: Any, labels: Any, classes: int) -> Cache:
    """The cache of train images.

    Args:
      features: (n, F) image features.
      labels: (n,).
      classes: C.
    """
    return Cache(to_length_one(jnp.asarray(features)), jax.nn.one_hot(jnp.asarray(labels), classes))


@jax.jit
def tip_adapter_logits(
    cache: Cache,
    features: jax.Array,
    zero_shot: jax.Array,
    alpha: jax.typing.ArrayLike = ALPHA,
    beta: jax.typing.ArrayLike = BETA,
) -> jax.Array:
    """Logits (B, C) of zero-shot CLIP and the cache together.

    Args:
      cache: of :func:`build_cache` or :func:`train_keys`.
      features: (B, F) image features.
      zero_shot: (B, C) logits of CLIP, scaled by its own exp(logit_scale): the paper's 100.
      alpha: weight of the cache.
      beta: sharpness of the affinities.
    """
    return zero_shot + alpha * _remembered(cache, features, beta)


def search_alpha_beta(
    cache: Cache, features: Any, labels: Any, zero_shot: Any
) -> tuple[float, float]:
    """The alpha and beta that classify validation images best.

    The grid of the released code; the paper's own values are tried first, and ties go to what was
    tried first, then to the smaller beta, then to the smaller alpha.

    Args:
      cache: of :func:`build_cache` or :func:`train_keys`.
      features: (m, F) of validation images.
      labels: (m,).
      zero_shot: (m, C) logits of CLIP.

    Raises:
      ConfigError: without validation images.
    """
    if not len(labels):
        raise ConfigError("Tip-Adapter chooses alpha and beta on validation images.")
    alphas, betas = _grid(LARGEST_ALPHA, ALPHAS), _grid(LARGEST_BETA, BETAS)
    seen = (cache, jnp.asarray(features), jnp.asarray(labels), jnp.asarray(zero_shot))
    accuracies = _accuracies(*seen, alphas, betas)  # (betas, alphas)
    published = _accuracies(*seen, jnp.array([ALPHA]), jnp.array([BETA]))
    if accuracies.max() <= published.max():
        return ALPHA, BETA
    best_beta, best_alpha = divmod(int(accuracies.argmax()), ALPHAS)
    return float(alphas[best_alpha]), float(betas[best_beta])


@functools.partial(jax.jit, static_argnames=("epochs", "batch_size"))
def train_keys(
    cache: Cache,
    features: jax.Array,
    labels: jax.Array,
    zero_shot: jax.Array,
    seed: jax.typing.ArrayLike,
    *,
    alpha: float = ALPHA,
    beta: float = BETA,
    epochs: int = EPOCHS,
    batch_size: int = BATCH,
) -> Cache:
    """Tip-Adapter-F: the keys descend the cross-entropy of the train images (section 3.2).

    AdamW of rate 1e-3 (eps 1e-4, decay 0.01), cosine, 20 epochs, batches of 256. The keys of the
    last step are kept; the released code keeps those that are best on the test images. Search alpha
    and beta afterwards, as there.

    Args:
      cache: of :func:`build_cache`.
      features: (n, F) of the train images.
      labels: (n,).
      zero_shot: (n, C) logits of CLIP.
      seed: of the order of the images.
      alpha: weight of the cache while training.
      beta: sharpness of the affinities while training.
      epochs: passes over the train images.
      batch_size: images in a step; the last one of an epoch takes what is left.
    """
    images = len(labels)
    steps = -(-images // batch_size)
    rate = optax.cosine_decay_schedule(RATE, epochs * steps)
    optimizer = optax.adamw(rate, eps=EPSILON, weight_decay=DECAY)

    def loss(keys: jax.Array, rows: jax.Array) -> jax.Array:
        read = jnp.maximum(rows, 0)
        logits = tip_adapter_logits(
            cache._replace(keys=keys), features[read], zero_shot[read], alpha, beta
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels[read])
        return losses.mean(where=rows >= 0)

    def step(state: Any, rows: jax.Array) -> tuple[Any, None]:
        keys, optimizer_state = state
        gradients = jax.grad(loss)(keys, rows)
        updates, optimizer_state = optimizer.update(gradients, optimizer_state, keys)
        return (optax.apply_updates(keys, updates), optimizer_state), None

    def order(key: jax.Array) -> jax.Array:
        rows = jax.random.permutation(key, images)
        filled = jnp.pad(rows, (0, steps * batch_size - images), constant_values=-1)
        return filled.reshape(steps, batch_size)  # (steps, B)

    orders = jax.vmap(order)(jax.random.split(jax.random.key(seed), epochs))
    orders = orders.reshape(epochs * steps, batch_size)  # (epochs * steps, B)
    (keys, _), _ = jax.lax.scan(step, (cache.keys, optimizer.init(cache.keys)), orders)
    return cache._replace(keys=keys)


def _remembered(cache: Cache, features: jax.Array, beta: jax.typing.ArrayLike) -> jax.Array:
    """What the cache says of each class, (B, C)."""
    affinity = to_length_one(features) @ cache.keys.T  # (B, n)
    return jnp.exp(beta * (affinity - 1)) @ cache.values


@jax.jit
def _accuracies(
    cache: Cache,
    features: jax.Array,
    labels: jax.Array,
    zero_shot: jax.Array,
    alphas: jax.Array,
    betas: jax.Array,
) -> jax.Array:
    """Accuracy of every pair, (betas, alphas); one beta at a time."""

    def of_beta(beta: jax.Array) -> jax.Array:
        remembered = _remembered(cache, features, beta)  # (B, C)

        def of_alpha(alpha: jax.Array) -> jax.Array:
            return ((zero_shot + alpha * remembered).argmax(axis=-1) == labels).mean()

        return jax.lax.map(of_alpha, alphas)

    return jax.lax.map(of_beta, betas)


def _grid(largest: float, count: int) -> jax.Array:
    return 0.1 + (largest - 0.1) / count * jnp.arange(count)
