"""The optimisers of prompts and alphas, and the half-steps that keep them apart."""

from __future__ import annotations

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax.errors import ConfigError

Settings: TypeAlias = ConfigDict | FrozenConfigDict


def search_optimizer(search: Settings, steps_per_epoch: int) -> optax.GradientTransformation:
    """Routes ``{"alphas": .., "prompts": ..}`` to an optimiser each.

    Args:
      search: ``config.search``.
      steps_per_epoch: prompt half-steps in one epoch, for the schedule.
    """
    routes = {
        "alphas": alpha_optimizer(search.alphas),
        "prompts": prompt_optimizer(search.prompts, search.epochs, steps_per_epoch),
    }
    return optax.multi_transform(routes, {group: group for group in routes})


def train_optimizer(
    train: Settings, steps_per_epoch: int, *, alphas: bool = False
) -> optax.GradientTransformation:
    """The same for stage 2, whose only group is ``{"prompts": ..}``.

    Args:
      train: ``config.train``.
      steps_per_epoch: steps in one epoch, for the schedule.
      alphas: whether there are alphas too, with an optimiser of their own.
    """
    routes = {"prompts": prompt_optimizer(train.prompts, train.epochs, steps_per_epoch)}
    if alphas:
        routes["alphas"] = alpha_optimizer(train.alpha_optimizer)
    return optax.multi_transform(routes, {group: group for group in routes})


def prompt_optimizer(
    settings: Settings, epochs: int, steps_per_epoch: int
) -> optax.GradientTransformation:
    """SGD as PyTorch computes it: decay joins the gradient, then momentum, then the rate."""
    rate = epoch_schedule(settings, epochs, steps_per_epoch)
    return optax.chain(
        optax.add_decayed_weights(settings.weight_decay),
        optax.sgd(rate, momentum=settings.momentum),
    )


def alpha_optimizer(settings: Settings) -> optax.GradientTransformation:
    """Adam (the released code) or SGD (the paper), at a constant rate.

    Raises:
      ConfigError: for another name.
    """
    decay = optax.add_decayed_weights(settings.weight_decay)
    if settings.name == "adam":
        adam = optax.adam(settings.learning_rate, b1=settings.b1, b2=settings.b2, eps=1e-8)
        return optax.chain(decay, adam)
    if settings.name == "sgd":
        return optax.chain(decay, optax.sgd(settings.learning_rate, momentum=settings.momentum))
    raise ConfigError(f'The optimiser of alpha is {settings.name!r}; it must be "adam" or "sgd".')


def epoch_schedule(settings: Settings, epochs: int, steps_per_epoch: int) -> optax.Schedule:
    """Cosine over the epochs, behind constant warm-up epochs; the rate changes once an epoch.

    With ``settings.schedule`` "constant" the learning rate itself takes the cosine's place, and
    the number of epochs has no influence.

    The rate of epoch e >= w is 0.5 lr (1 + cos(pi (e - w) / epochs)), w the warm-up epochs: the
    cosine starts behind the warm-up but is as long as the whole training, as in Dassl's
    ConstantWarmupScheduler around CosineAnnealingLR.
    """

    def rate(step: jax.typing.ArrayLike) -> jax.Array:
        epoch = jnp.asarray(step) // steps_per_epoch
        if settings.schedule == "constant":
            after = jnp.asarray(settings.learning_rate, jnp.float32)
        else:
            progress = (epoch - settings.warmup_epochs) / epochs
            after = 0.5 * settings.learning_rate * (1 + jnp.cos(jnp.pi * progress))
        return jnp.where(epoch < settings.warmup_epochs, settings.warmup_rate, after)

    return rate


def half_step(
    optimizer: optax.GradientTransformation,
    params: dict[str, Any],
    state: Any,
    group: str,
    gradients: Any,
) -> tuple[dict[str, Any], Any]:
    """Updates one group of the parameters and its own optimiser state; all else stays as it is.

    ``multi_transform`` by itself would also advance the other group (momentum, decay, counts), so
    its part of the result is dropped, and never computed under jit.

    Args:
      optimizer: of :func:`search_optimizer`.
      params: {"alphas": .., "prompts": ..}.
      state: of the optimiser.
      group: "alphas" or "prompts".
      gradients: of ``params[group]``.
    """
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, new_state = optimizer.update(zeros | {group: gradients}, state, params)
    inner = state.inner_states | {group: new_state.inner_states[group]}
    params = params | {group: optax.apply_updates(params[group], updates[group])}
    return params, state._replace(inner_states=inner)
