import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dpl_jax.baselines.tip_adapter import (
    Cache,
    build_cache,
    search_alpha_beta,
    tip_adapter_logits,
    train_keys,
)
from dpl_jax.errors import ConfigError

CLASSES, SHOTS, WIDTH = 3, 4, 6
LABELS = np.tile(np.arange(CLASSES), SHOTS)


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features that tell little of their class, and zero-shot logits that tell nothing."""
    random = np.random.default_rng(seed)
    features = random.standard_normal((count, WIDTH)) + np.eye(CLASSES, WIDTH)[LABELS[:count]]
    return features.astype(np.float32), random.standard_normal((count, CLASSES)).astype(np.float32)


TRAIN, TRAIN_ZERO_SHOT = draw(12, 0)
VAL, VAL_ZERO_SHOT = draw(12, 1)


@pytest.fixture
def cache() -> Cache:
    return build_cache(TRAIN, LABELS, CLASSES)


def loop_logits(
    keys: np.ndarray, features: np.ndarray, zero_shot: np.ndarray, alpha: float, beta: float
) -> np.ndarray:
    logits = np.array(zero_shot, np.float64)
    for row, feature in enumerate(features):
        for key, label in zip(keys, LABELS, strict=True):
            affinity = float(np.dot(feature / np.sqrt((feature**2).sum()), key))
            logits[row, label] += alpha * np.exp(-beta * (1 - affinity))
    return logits


def test_logits_are_those_of_a_loop(cache: Cache) -> None:
    keys = TRAIN / np.sqrt((TRAIN**2).sum(axis=1, keepdims=True))
    found = tip_adapter_logits(cache, VAL, VAL_ZERO_SHOT, 1.7, 3.2)
    np.testing.assert_allclose(found, loop_logits(keys, VAL, VAL_ZERO_SHOT, 1.7, 3.2), atol=1e-5)


def test_without_alpha_it_is_zero_shot(cache: Cache) -> None:
    np.testing.assert_array_equal(
        tip_adapter_logits(cache, VAL, VAL_ZERO_SHOT, 0.0, 5.5), VAL_ZERO_SHOT
    )


def test_sharp_affinities_copy_the_label_of_a_train_image(cache: Cache) -> None:
    zero = jnp.zeros((len(TRAIN), CLASSES))
    found = tip_adapter_logits(cache, TRAIN, zero, 1.0, 1e5)
    np.testing.assert_allclose(found, np.eye(CLASSES)[LABELS], atol=0.05)


def test_the_search_finds_the_best_of_its_grid(cache: Cache) -> None:
    """Every pair of the released code's grid, one after the other."""

    def accuracy(alpha: float, beta: float) -> float:
        logits = tip_adapter_logits(cache, VAL, VAL_ZERO_SHOT, alpha, beta)
        return float((np.asarray(logits).argmax(axis=1) == LABELS).mean())

    betas = [i * (7 - 0.1) / 200 + 0.1 for i in range(200)]
    alphas = [i * (3 - 0.1) / 20 + 0.1 for i in range(20)]
    scores = {(beta, alpha): accuracy(alpha, beta) for beta in betas[::20] for alpha in alphas}
    alpha, beta = search_alpha_beta(cache, VAL, LABELS, VAL_ZERO_SHOT)
    assert accuracy(alpha, beta) >= max(scores.values())
    assert accuracy(alpha, beta) > accuracy(1.0, 5.5)  # else the draw tells nothing
    assert min(abs(beta - each) for each in betas) < 1e-5
    assert min(abs(alpha - each) for each in alphas) < 1e-5


def test_ties_keep_the_papers_own_values(cache: Cache) -> None:
    certain = 1e3 * np.eye(CLASSES)[LABELS]  # zero-shot is right whatever the cache says
    assert search_alpha_beta(cache, VAL, LABELS, certain) == (1.0, 5.5)


def test_no_validation_images_are_refused(cache: Cache) -> None:
    with pytest.raises(ConfigError, match="validation"):
        search_alpha_beta(cache, VAL[:0], LABELS[:0], VAL_ZERO_SHOT[:0])


def adamw(keys: np.ndarray, gradients: list, steps: int) -> np.ndarray:
    """PyTorch's AdamW written out in float64, with the cosine that CosineAnnealingLR steps."""
    first, second = np.zeros_like(keys), np.zeros_like(keys)
    for step, gradient_of in enumerate(gradients):
        rate = 1e-3 * (1 + np.cos(np.pi * step / steps)) / 2
        gradient = gradient_of(keys)
        keys = keys * (1 - rate * 1e-2)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        corrected = np.sqrt(second / (1 - 0.999 ** (step + 1))) + 1e-4
        keys = keys - rate * first / (1 - 0.9 ** (step + 1)) / corrected
    return keys


def test_training_is_that_of_the_released_code(cache: Cache) -> None:
    """Full batches, so that the order does not matter."""
    unit = TRAIN / np.sqrt((TRAIN**2).sum(axis=1, keepdims=True))

    def gradient(keys: np.ndarray) -> np.ndarray:
        affinity = np.exp(-5.5 * (1 - unit @ keys.T))  # (n, keys)
        values = np.eye(CLASSES)[LABELS]
        logits = TRAIN_ZERO_SHOT + affinity @ values
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        wrong = (probabilities - values) / len(LABELS)  # (n, C)
        return (5.5 * affinity * (wrong @ values.T)).T @ unit

    expected = adamw(np.asarray(cache.keys, np.float64), [gradient] * 20, 20)
    found = train_keys(cache, TRAIN, LABELS, TRAIN_ZERO_SHOT, 1)
    np.testing.assert_allclose(found.keys, expected, atol=2e-6)
    np.testing.assert_array_equal(found.values, cache.values)
    assert np.abs(found.keys - cache.keys).max() > 1e-3


def test_small_batches_see_every_image_once_an_epoch(cache: Cache) -> None:
    """With keys that cannot move away, the steps of an epoch are those of a loop over its order."""
    batch, epochs = 5, 2
    keys, seen = cache.keys, []
    optimizer = optax.adamw(
        optax.cosine_decay_schedule(1e-3, epochs * 3), eps=1e-4, weight_decay=1e-2
    )
    state = optimizer.init(keys)
    for key in jax.random.split(jax.random.key(4), epochs):
        order = np.asarray(jax.random.permutation(key, len(LABELS)))
        for rows in (order[:5], order[5:10], order[10:]):

            def loss(keys: jax.Array, rows: np.ndarray = rows) -> jax.Array:
                moved = cache._replace(keys=keys)
                logits = tip_adapter_logits(moved, TRAIN[rows], TRAIN_ZERO_SHOT[rows])
                return -jax.nn.log_softmax(logits)[jnp.arange(len(rows)), LABELS[rows]].mean()

            updates, state = optimizer.update(jax.grad(loss)(keys), state, keys)
            keys = optax.apply_updates(keys, updates)
            seen.extend(rows.tolist())
    found = train_keys(cache, TRAIN, LABELS, TRAIN_ZERO_SHOT, 4, epochs=epochs, batch_size=batch)
    assert sorted(seen) == sorted(list(range(12)) * epochs)
    np.testing.assert_allclose(found.keys, keys, atol=1e-6)


def test_training_lowers_the_loss_on_its_images(cache: Cache) -> None:
    def loss(cache: Cache) -> float:
        logits = tip_adapter_logits(cache, TRAIN, TRAIN_ZERO_SHOT)
        return float(-jax.nn.log_softmax(logits)[jnp.arange(12), LABELS].mean())

    assert loss(train_keys(cache, TRAIN, LABELS, TRAIN_ZERO_SHOT, 1)) < loss(cache)


def test_seeds_beside_each_other_are_seeds_alone(cache: Cache) -> None:
    def train(seed: jax.Array) -> jax.Array:
        return train_keys(cache, TRAIN, LABELS, TRAIN_ZERO_SHOT, seed, epochs=2, batch_size=5).keys

    together = jax.vmap(train)(jnp.arange(2))
    for seed in range(2):
        np.testing.assert_allclose(together[seed], train(seed), atol=1e-6)
    assert np.abs(together[0] - together[1]).max() > 0
