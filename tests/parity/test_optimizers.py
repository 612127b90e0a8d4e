"""The optimisers against PyTorch's own, with the schedulers of the released code."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dpl_jax import config as base
from dpl_jax.training.optimizers import alpha_optimizer, prompt_optimizer

torch = pytest.importorskip("torch")

EPOCHS, STEPS = 6, 3


def ours(optimizer: optax.GradientTransformation, start: Any, gradients: Any) -> Iterator[Any]:
    params, state = jnp.asarray(start), optimizer.init(jnp.asarray(start))
    for gradient in gradients:
        updates, state = optimizer.update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, updates)
        yield params


@pytest.fixture
def path() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    values = random.standard_normal((EPOCHS * STEPS + 1, 4, 3)).astype(np.float32)
    return values[0], values[1:]


def test_prompts(path: tuple[np.ndarray, np.ndarray]) -> None:
    """SGD under CosineAnnealingLR; the scheduler waits for one constant epoch, as in Dassl."""
    settings = base.search().prompts
    start, gradients = path
    parameter = torch.nn.Parameter(torch.tensor(start))
    sgd = torch.optim.SGD([parameter], lr=3.5e-3, momentum=0.9, weight_decay=5e-4)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, EPOCHS)
    for step, params in enumerate(ours(prompt_optimizer(settings, EPOCHS, STEPS), *path)):
        if step % STEPS == 0 and step >= 2 * STEPS:
            cosine.step()
        rate = 1e-5 if step < STEPS else cosine.get_last_lr()[0]
        sgd.param_groups[0]["lr"] = rate
        parameter.grad = torch.tensor(gradients[step])
        sgd.step()
        np.testing.assert_allclose(params, parameter.detach().numpy(), rtol=0, atol=1e-6)


def test_alphas(path: tuple[np.ndarray, np.ndarray]) -> None:
    settings = base.search().alphas
    settings.weight_decay = 0.01
    start, gradients = path
    parameter = torch.nn.Parameter(torch.tensor(start))
    adam = torch.optim.Adam([parameter], lr=3.5e-3, betas=(0.5, 0.999), weight_decay=0.01)
    for step, params in enumerate(ours(alpha_optimizer(settings), *path)):
        parameter.grad = torch.tensor(gradients[step])
        adam.step()
        np.testing.assert_allclose(params, parameter.detach().numpy(), rtol=0, atol=1e-6)
