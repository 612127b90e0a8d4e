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
from dpl_jax.prompts.alphas import anneal, penalty
from dpl_jax.prompts.learned import Discrete, Supernet
from dpl_jax.prompts.trees import limit_alphas
from dpl_jax.training.inputs import Batch, Task
from dpl_jax.training.loss import loss_and_accuracy
from dpl_jax.training.optimizers import epoch_schedule, half_step, search_optimizer, train_optimizer

Params = dict[str, Any]
Metrics = dict[str, Any]
# (params, batch) to what is minimised, and loss and accuracy to report.
Objective = Callable[[Params, Batch], tuple[jax.Array, tuple[jax.Array, jax.Array]]]


class State(struct.PyTreeNode):
    """All that changes during a run, and all that a checkpoint needs.

    Attributes:
      step: steps done.
      rng: key data; the random crops of a step follow from it and the step's number.
      params: {"prompts": .., "alphas": ..} of a supernet, {"prompts": ..} of chosen lengths.
      optimizer: the optimisers' states.
      lengths: of stage 2 {"image": (N,), "text": (N,)}; None with a supernet.
      max_context_length: () limits a supernet to a smaller T than its arrays have; None for no
        limit.
    """

    step: jax.Array
    rng: jax.Array
    params: dict[str, Any]
    optimizer: Any
    lengths: dict[str, jax.Array] | None = None
    max_context_length: jax.Array | None = None


def create_state(
    params: Params,
    optimizer: optax.GradientTransformation,
    seed: int,
    lengths: Mapping[str, Any] | None = None,
) -> State:
    """The state before the first step of whatever ``optimizer`` trains.

    Args:
      params: {"prompts": .., "alphas": ..} of a supernet, {"prompts": ..} of chosen lengths.
      optimizer: of :mod:`dpl_jax.training.optimizers`.
      seed: of the run.
      lengths: {"image": (N,), "text": (N,)} where they are chosen; None with a supernet.
    """
    rng = jax.random.key_data(jax.random.key(seed))
    state = State(jnp.zeros((), jnp.int32), rng, params, optimizer.init(params))
    if lengths is None:
        return state
    chosen = {tower: jnp.asarray(each, jnp.int32) for tower, each in lengths.items()}
    return state.replace(lengths=chosen)


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
    (section 3 of the paper, first-order alternation). ``search.second_order`` lets alpha see ahead
    by one step of the prompts; see :mod:`dpl_jax.prompts.alphas` for what else alpha may minimise.

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
    epoch = state.step // steps_per_epoch

    def seen_alphas(params: Params) -> Params:
        return _within_limit(state, anneal(params["alphas"], search, epoch))

    def loss(params: Params, batch: Batch) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        prompts = Supernet(params["prompts"], seen_alphas(params)).view()
        value, accuracy = loss_and_accuracy(
            clip,
            *batch,
            task.texts,
            prompts,
            distillation=search.distillation,
            teacher_texts=task.teacher_texts,
        )
        return value, (value, accuracy)

    def alpha_loss(params: Params, batch: Batch) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        if search.second_order:
            rate = epoch_schedule(search.prompts, search.epochs, steps_per_epoch)(state.step)
            params = _unrolled(loss, params, train_batch, rate)
        value, shown = loss(params, batch)
        return value + penalty(seen_alphas(params), search, epoch), shown

    state, val = descend(alpha_loss, state, "alphas", val_batch, optimizer)
    state, train = descend(loss, state, "prompts", train_batch, optimizer)
    return state.replace(step=state.step + 1), {"val": val, "train": train}


def train_step(
    state: State,
    clip: Clip,
    task: Task,
    batch: Batch,
    train: FrozenConfigDict,
    steps_per_epoch: int,
) -> tuple[State, Metrics]:
    """One step of stage 2: the prompts descend the loss on a train batch.

    Without ``state.lengths`` the model is a supernet; its alphas stay as they are, or descend the
    same loss after the prompts (``train.alphas``).
    """
    mixture = state.lengths is None
    optimizer = train_optimizer(train, steps_per_epoch, alphas=mixture)

    def loss(params: Params, batch: Batch) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        if state.lengths is None:
            prompts = Supernet(params["prompts"], _within_limit(state, params["alphas"])).view()
        else:
            prompts = Discrete(params["prompts"], state.lengths).view()
        value, accuracy = loss_and_accuracy(
            clip,
            *batch,
            task.texts,
            prompts,
            distillation=train.distillation,
            teacher_texts=task.teacher_texts,
        )
        return value, (value, accuracy)

    state, metrics = descend(loss, state, "prompts", batch, optimizer)
    if mixture and train.alphas == "learned":
        state, _ = descend(loss, state, "alphas", batch, optimizer)
    return state.replace(step=state.step + 1), {"train": metrics}


@functools.partial(jax.jit, static_argnames=("search", "steps_per_epoch"), donate_argnames="state")
def search_epoch(
    state: State,
    clip: Clip,
    task: Task,
    train_order: jax.Array,
    val_order: jax.Array,
    *,
    search: FrozenConfigDict,
    steps_per_epoch: int,
) -> tuple[State, Metrics]:
    """An epoch of the search (or a chunk of one) as one program; metrics have an axis of steps.

    Args:
      state: donated, so it is gone afterwards.
      clip: the frozen CLIP, an argument and never a constant of the program.
      task: images and texts.
      train_order: (steps, B) indices into the train images.
      val_order: (steps, B) indices into the validation images.
      search: ``config.search``.
      steps_per_epoch: for the schedule.
    """

    def body(state: State, order: tuple[jax.Array, jax.Array]) -> tuple[State, Metrics]:
        train_batch = task.train_batch(order[0], step_key(state))
        val_batch = task.val_batch(order[1])
        return search_step(state, clip, task, train_batch, val_batch, search, steps_per_epoch)

    return jax.lax.scan(body, state, (train_order, val_order))


@functools.partial(jax.jit, static_argnames=("train", "steps_per_epoch"), donate_argnames="state")
def train_epoch(
    state: State,
    clip: Clip,
    task: Task,
    train_order: jax.Array,
    *,
    train: FrozenConfigDict,
    steps_per_epoch: int,
) -> tuple[State, Metrics]:
    """An epoch of stage 2 (or a chunk of one) as one program, like :func:`search_epoch`."""

    def body(state: State, order: jax.Array) -> tuple[State, Metrics]:
        batch = task.train_batch(order, step_key(state))
        return train_step(state, clip, task, batch, train, steps_per_epoch)

    return jax.lax.scan(body, state, train_order)


def step_key(state: State) -> jax.Array:
    """The random key of the step that comes next, whatever came before a resume."""
    return jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)


def _within_limit(state: State, alphas: Params) -> Params:
    """Alphas without the candidates beyond ``state.max_context_length``."""
    if state.max_context_length is None:
        return alphas
    return limit_alphas(alphas, state.max_context_length)


def _unrolled(loss: Objective, params: Params, batch: Batch, rate: jax.Array) -> Params:
    """``params`` after one gradient step of the prompts, as a function of alpha.

    DARTS, equation 7 (Liu et al., ICLR 2019), with the second-order term exact, not by finite
    differences; momentum and decay are left out of the step.
    """

    def of_prompts(prompts: Any) -> jax.Array:
        return loss(params | {"prompts": prompts}, batch)[0]

    gradients = jax.grad(of_prompts)(params["prompts"])
    ahead = jax.tree.map(lambda leaf, slope: leaf - rate * slope, params["prompts"], gradients)
    return params | {"prompts": ahead}


def descend(
    objective: Objective,
    state: State,
    group: str,
    batch: Batch,
    optimizer: optax.GradientTransformation,
) -> tuple[State, Metrics]:
    """One half-step of ``group``; ``objective`` is differentiated with respect to it alone.

    Args:
      objective: (params, batch) to what is minimised, and the loss and accuracy to report.
      state: before.
      group: of ``state.params``.
      batch: images and labels.
      optimizer: of all groups.
    """

    def of_group(values: Any) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        return objective(state.params | {group: values}, batch)

    gradient = jax.value_and_grad(of_group, has_aux=True)
    (value, (loss, accuracy)), gradients = gradient(state.params[group])
    params, opt_state = half_step(optimizer, state.params, state.optimizer, group, gradients)
    leaves = jax.tree.leaves(params[group])
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in [value, *leaves]]).all()
    metrics = {"loss": loss, "accuracy": accuracy, "finite": finite}
    return state.replace(params=params, optimizer=opt_state), metrics
