"""The jitted steps of both stages; an epoch is one compiled program (``lax.scan``)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from ml_collections import FrozenConfigDict

from dpl_jax.clip.model import Clip
from dpl_jax.logits import TowerPrompts, discrete, mixed
from dpl_jax.objective import loss_and_accuracy
from dpl_jax.optimizers import half_step, search_optimizer, train_optimizer
from dpl_jax.task import Batch, Task

Params = dict[str, Any]
Metrics = dict[str, Any]


class State(struct.PyTreeNode):
    """All that changes during a run, and all that a checkpoint needs.

    Attributes:
      step: steps done.
      params: of the search {"prompts": .., "alphas": ..}, of stage 2 {"prompts": ..}.
      optimizer: the optimisers' states.
      lengths: of stage 2 {"image": (N,), "text": (N,)}; None in the search.
    """

    step: jax.Array
    params: dict[str, Any]
    optimizer: Any
    lengths: dict[str, jax.Array] | None = None


def create_search_state(
    params: dict[str, Any], search: FrozenConfigDict, steps_per_epoch: int
) -> State:
    """The state before the first step of a search; ``params`` {"prompts": .., "alphas": ..}."""
    optimizer = search_optimizer(search, steps_per_epoch)
    return State(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def create_train_state(
    prompts: dict[str, jax.Array],
    lengths: Mapping[str, Any],
    train: FrozenConfigDict,
    steps_per_epoch: int,
) -> State:
    """The state before the first step of stage 2."""
    params = {"prompts": prompts}
    optimizer = train_optimizer(train, steps_per_epoch)
    lengths = {tower: jnp.asarray(values, jnp.int32) for tower, values in lengths.items()}
    return State(jnp.zeros((), jnp.int32), params, optimizer.init(params), lengths)


def search_step(
    state: State,
    clip: Clip,
    task: Task,
    train_batch: Batch,
    val_batch: Batch,
    search: FrozenConfigDict,
    steps_per_epoch: int,
) -> tuple[State, Metrics]:
    """One first-order bilevel step: alpha on a validation batch, then the prompts on a train batch.

    Each half-step differentiates with respect to its own group only; the prompts see the new alpha
    (section 3 of the paper, first-order alternation).

    Args:
      state: of the search.
      clip: the frozen CLIP.
      task: for the classes' texts.
      train_batch: normalised images (B, H, W, 3) and labels (B,).
      val_batch: likewise.
      search: ``config.search``.
      steps_per_epoch: for the schedule.
    """
    optimizer = search_optimizer(search, steps_per_epoch)

    def loss(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        return _task_loss(clip, task, batch, mixed(**params), search.distillation)

    state, val = _descend(loss, state, "alphas", val_batch, optimizer)
    state, train = _descend(loss, state, "prompts", train_batch, optimizer)
    return state.replace(step=state.step + 1), {"val": val, "train": train}


def train_step(
    state: State,
    clip: Clip,
    task: Task,
    batch: Batch,
    train: FrozenConfigDict,
    steps_per_epoch: int,
) -> tuple[State, Metrics]:
    """One step of stage 2: the prompts of the chosen lengths descend the loss on a train batch."""
    optimizer = train_optimizer(train, steps_per_epoch)

    def loss(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        prompts = discrete(params["prompts"], state.lengths or {})
        return _task_loss(clip, task, batch, prompts, train.distillation)

    state, metrics = _descend(loss, state, "prompts", batch, optimizer)
    return state.replace(step=state.step + 1), {"train": metrics}


@functools.partial(jax.jit, static_argnames="search", donate_argnames="state")
def search_epoch(
    state: State,
    clip: Clip,
    task: Task,
    train_order: jax.Array,
    val_order: jax.Array,
    *,
    search: FrozenConfigDict,
) -> tuple[State, Metrics]:
    """One epoch of the search as one program; every metric has a leading axis of steps.

    Args:
      state: donated, so it is gone afterwards.
      clip: the frozen CLIP, an argument and never a constant of the program.
      task: images and texts.
      train_order: (steps, B) indices into the train images.
      val_order: (steps, B) indices into the validation images.
      search: ``config.search``.
    """

    def body(state: State, order: tuple[jax.Array, jax.Array]) -> tuple[State, Metrics]:
        train_batch, val_batch = task.train_batch(order[0]), task.val_batch(order[1])
        return search_step(state, clip, task, train_batch, val_batch, search, len(train_order))

    return jax.lax.scan(body, state, (train_order, val_order))


@functools.partial(jax.jit, static_argnames="train", donate_argnames="state")
def train_epoch(
    state: State, clip: Clip, task: Task, train_order: jax.Array, *, train: FrozenConfigDict
) -> tuple[State, Metrics]:
    """One epoch of stage 2 as one program, like :func:`search_epoch`."""

    def body(state: State, order: jax.Array) -> tuple[State, Metrics]:
        return train_step(state, clip, task, task.train_batch(order), train, len(train_order))

    return jax.lax.scan(body, state, train_order)


def _task_loss(
    clip: Clip, task: Task, batch: Batch, prompts: TowerPrompts, distillation: float
) -> tuple[jax.Array, jax.Array]:
    return loss_and_accuracy(
        clip,
        *batch,
        task.texts,
        prompts,
        distillation=distillation,
        teacher_texts=task.teacher_texts,
    )


def _descend(
    loss: Callable[[Params, Batch], tuple[jax.Array, jax.Array]],
    state: State,
    group: str,
    batch: Batch,
    optimizer: optax.GradientTransformation,
) -> tuple[State, Metrics]:
    """One half-step of ``group``; ``loss`` is differentiated with respect to it alone."""

    def of_group(values: Any) -> tuple[jax.Array, jax.Array]:
        return loss(state.params | {group: values}, batch)

    (value, accuracy), gradients = jax.value_and_grad(of_group, has_aux=True)(state.params[group])
    params, opt_state = half_step(optimizer, state.params, state.optimizer, group, gradients)
    leaves = jax.tree.leaves(params[group])
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in [value, *leaves]]).all()
    metrics = {"loss": value, "accuracy": accuracy, "finite": finite}
    return state.replace(params=params, optimizer=opt_state), metrics
