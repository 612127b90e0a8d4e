"""The optimisers against PyTorch's rules written out in NumPy, and the half-steps."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from dpl_jax import config as base
from dpl_jax.errors import ConfigError
from dpl_jax.training.optimizers import (
    alpha_optimizer,
    epoch_schedule,
    half_step,
    prompt_optimizer,
    search_optimizer,
    train_optimizer,
)

STEPS_PER_EPOCH = 3


def settings(**changes: Any) -> ConfigDict:
    search = base.search()
    search.update(changes)
    return search


def random_params(seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)

    def tree(image: tuple[int, ...], text: tuple[int, ...]) -> dict[str, jax.Array]:
        shapes = {"image": image, "text": text}
        return {
            tower: jnp.asarray(random.standard_normal(shape), jnp.float32)
            for tower, shape in shapes.items()
        }

    return {"prompts": tree((2, 3, 4), (3, 3, 2)), "alphas": tree((2, 3), (3, 3))}


def bits(tree: Any) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize(("moved", "kept"), [("alphas", "prompts"), ("prompts", "alphas")])
def test_half_step_leaves_the_other_group_alone(moved: str, kept: str) -> None:
    """Not one bit of values, momentum or counts changes, with everything in full swing."""
    optimizer = search_optimizer(settings(), STEPS_PER_EPOCH)
    step = jax.jit(half_step, static_argnums=(0, 3))
    params = random_params()
    state = optimizer.init(params)
    for number in range(2):  # momenta and counts that are not zero
        for group in ("alphas", "prompts"):
            gradients = random_params(seed=number + 1)[group]
            params, state = step(optimizer, params, state, group, gradients)

    new_params, new_state = step(optimizer, params, state, moved, random_params(seed=9)[moved])

    assert bits(new_params[kept]) == bits(params[kept])
    assert bits(new_state.inner_states[kept]) == bits(state.inner_states[kept])
    before = bits((params[moved], state.inner_states[moved]))
    after = bits((new_params[moved], new_state.inner_states[moved]))
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_groups_advance_their_own_counts() -> None:
    """Two alpha half-steps and one of the prompts: Adam counts 2, the schedule 1."""
    optimizer = search_optimizer(settings(), STEPS_PER_EPOCH)
    params = random_params()
    state = optimizer.init(params)
    for group in ("alphas", "alphas", "prompts"):
        params, state = half_step(optimizer, params, state, group, random_params(seed=1)[group])
    assert optax.tree.get(state.inner_states["alphas"], "count").tolist() == 2
    assert optax.tree.get(state.inner_states["prompts"], "count").tolist() == 1


def test_schedule() -> None:
    """One epoch at 1e-5, then a cosine as long as the whole training, stepped once an epoch."""
    prompts = settings().prompts
    schedule = epoch_schedule(prompts, epochs=4, steps_per_epoch=STEPS_PER_EPOCH)
    rates = [float(schedule(step)) for step in range(4 * STEPS_PER_EPOCH)]
    cosine = [3.5e-3 * 0.5 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(3)]
    expected = np.repeat([1e-5, *cosine], STEPS_PER_EPOCH)
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def descend(optimizer: Any, start: np.ndarray, gradients: list[np.ndarray]) -> list[np.ndarray]:
    params = jnp.asarray(start)
    state = optimizer.init(params)
    path = []
    for gradient in gradients:
        updates, state = optimizer.update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, updates)
        path.append(np.asarray(params))
    return path


def random_path(steps: int) -> tuple[np.ndarray, list[np.ndarray]]:
    random = np.random.default_rng(5)
    start, *gradients = random.standard_normal((steps + 1, 3, 2)).astype(np.float32)
    return start, gradients


def test_prompts_follow_pytorch_sgd() -> None:
    """torch.optim.SGD: d = g + decay p; b = momentum b + d; p -= lr b, over four epochs."""
    prompts = settings().prompts
    start, gradients = random_path(4 * STEPS_PER_EPOCH)
    ours = descend(prompt_optimizer(prompts, 4, STEPS_PER_EPOCH), start, gradients)
    value, buffer = start.astype(np.float64), np.zeros_like(start, np.float64)
    for step, gradient in enumerate(gradients):
        epoch = step // STEPS_PER_EPOCH
        rate = 1e-5 if epoch < 1 else 3.5e-3 * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / 4))
        buffer = 0.9 * buffer + gradient + 5e-4 * value
        value = value - rate * buffer
        np.testing.assert_allclose(ours[step], value, rtol=0, atol=1e-6)


def test_alphas_follow_pytorch_adam() -> None:
    """torch.optim.Adam with betas (0.5, 0.999) and decay added to the gradient."""
    alphas = settings().alphas
    alphas.weight_decay = 0.01
    start, gradients = random_path(6)
    ours = descend(alpha_optimizer(alphas), start, gradients)
    value = start.astype(np.float64)
    mean, square = np.zeros_like(value), np.zeros_like(value)
    for step, gradient in enumerate(gradients, start=1):
        gradient = gradient + 0.01 * value
        mean = 0.5 * mean + 0.5 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        update = mean / (1 - 0.5**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        value = value - 3.5e-3 * update
        np.testing.assert_allclose(ours[step - 1], value, rtol=0, atol=1e-6)


def test_alphas_by_sgd() -> None:
    alphas = settings().alphas
    alphas.name, alphas.learning_rate = "sgd", 0.1
    start, gradients = random_path(4)
    ours = descend(alpha_optimizer(alphas), start, gradients)
    value, buffer = start.astype(np.float64), np.zeros_like(start, np.float64)
    for step, gradient in enumerate(gradients):
        buffer = 0.9 * buffer + gradient
        value = value - 0.1 * buffer
        np.testing.assert_allclose(ours[step], value, rtol=0, atol=1e-6)


def test_unknown_optimiser() -> None:
    alphas = settings().alphas
    alphas.name = "lion"
    with pytest.raises(ConfigError, match=r"optimiser of alpha is 'lion'.*adam.*sgd"):
        alpha_optimizer(alphas)


def test_stage_two_uses_the_same_rule() -> None:
    train = base.train()
    train.epochs = 4
    start, gradients = random_path(5)
    alone = descend(prompt_optimizer(train.prompts, 4, STEPS_PER_EPOCH), start, gradients)
    optimizer = train_optimizer(train, STEPS_PER_EPOCH)
    params: dict[str, Any] = {"prompts": jnp.asarray(start)}
    state = optimizer.init(params)
    for gradient in gradients:
        params, state = half_step(optimizer, params, state, "prompts", jnp.asarray(gradient))
    np.testing.assert_allclose(params["prompts"], alone[-1], rtol=0, atol=1e-7)
