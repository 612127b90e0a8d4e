"""Several runs as one program: members that differ in seed and maximum context length.

The supernet of the longest T serves all: a member with a smaller T masks the alphas beyond it, and
in stage 2 the rows beyond its own lengths. ``jax.vmap`` puts the members beside each other over one
frozen CLIP and one bank of images, so their matrix products become larger ones, and one program is
compiled for all. A member equals the run of its seed and T alone, to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax.clip.config import ClipConfig
from dpl_jax.clip.model import Clip
from dpl_jax.configuration import Lengths
from dpl_jax.errors import ConfigError
from dpl_jax.feed import Feed, ImageSet, chunk_steps
from dpl_jax.loop import join_steps
from dpl_jax.memory import Plan, memory_limit, step_bytes, step_sizes
from dpl_jax.pool import Pool
from dpl_jax.prompts import TOWERS, candidate_rows, init_discrete, init_supernet
from dpl_jax.steps import (
    Metrics,
    Params,
    State,
    create_search_state,
    create_train_state,
    search_epoch,
    train_epoch,
)
from dpl_jax.task import Task

# Which leaves of a state have a leading axis M of members: all but the step, which they share.
AXES: Any = State(None, 0, 0, 0, 0, 0)  # type: ignore[arg-type]


class Member(NamedTuple):
    """One run among several."""

    max_context_length: int
    seed: int


def search_states(
    members: Sequence[Member], clip: ClipConfig, search: FrozenConfigDict, steps_per_epoch: int
) -> State:
    """The members before the first step of their search, leaves (M, ..).

    Args:
      members: M of them.
      clip: sizes of the CLIP.
      search: ``config.search`` with the longest T of all members.
      steps_per_epoch: for the schedule.
    """
    states = []
    for own, seed in members:
        prompts, alphas = init_supernet(clip, search.max_context_length, seed, search.prompt_scale)
        params = {"prompts": prompts, "alphas": alphas}
        state = create_search_state(params, search, steps_per_epoch, seed)
        states.append(state.replace(max_context_length=jnp.asarray(own, jnp.int32)))
    return _stack(states)


def train_states(
    members: Sequence[Member],
    lengths: Mapping[Member, Lengths],
    clip: ClipConfig,
    train: FrozenConfigDict,
    steps_per_epoch: int,
) -> State:
    """The members before the first step of stage 2, leaves (M, ..).

    Args:
      members: M of them.
      lengths: of these and maybe other members; all get as many rows as the longest of these, and
        a member's rows beyond its own are zero.
      clip: sizes of the CLIP.
      train: ``config.train``.
      steps_per_epoch: for the schedule.
    """
    longest = {tower: max(int(np.max(own[tower])) for own in lengths.values()) for tower in TOWERS}
    states = []
    for member in members:
        prompts = init_discrete(clip, lengths[member], member.seed, train.prompt_scale)
        padded = {
            tower: jnp.pad(rows, ((0, 0), (0, longest[tower] - rows.shape[1]), (0, 0)))
            for tower, rows in prompts.items()
        }  # (N, K, D)
        own = lengths[member]
        states.append(create_train_state(padded, own, train, steps_per_epoch, member.seed))
    return _stack(states)


def member_params(states: State, index: int) -> Params:
    """The parameters of one member, without the axis of members."""
    params: Params = jax.tree.map(lambda leaf: leaf[index], states.params)
    return params


def cut_supernet(params: Params, max_context_length: int) -> Params:
    """A supernet's prompts and alphas for a smaller T, which are the first of each layer."""
    rows, candidates = candidate_rows(max_context_length), max_context_length + 1
    return {
        "prompts": {tower: leaf[:, :rows] for tower, leaf in params["prompts"].items()},
        "alphas": {tower: leaf[:, :candidates] for tower, leaf in params["alphas"].items()},
    }


def search_members_epoch(
    states: State, pool: Pool, members: Sequence[Member], search: FrozenConfigDict, epoch: int
) -> tuple[State, Metrics]:
    """One epoch of the members' searches.

    Args:
      states: of :func:`search_states`, donated.
      pool: the images of all seeds.
      members: M of them.
      search: ``config.search`` with the longest T of all members.
      epoch: number of the epoch, from 0.

    Returns:
      The new states, and metrics (steps, M).
    """
    parts = []
    for task, order, val_order in _search_chunks(pool, members, search, epoch):
        states, metrics = _search_program(
            states,
            pool.inputs.clip,
            task,
            order,
            val_order,
            search=search,
            steps_per_epoch=pool.steps_per_epoch(search.batch_size),
        )
        parts.append(metrics)
    return states, join_steps(parts)


def train_members_epoch(
    states: State, pool: Pool, members: Sequence[Member], train: FrozenConfigDict, epoch: int
) -> tuple[State, Metrics]:
    """One epoch of the members' stage 2, like :func:`search_members_epoch`."""
    feed, steps = pool.inputs.train, pool.steps_per_epoch(train.batch_size)
    orders = pool.train_orders([m.seed for m in members], train.batch_size, epoch)  # (steps, M, B)
    parts = []
    for images, order in _chunks(feed, orders, chunk_steps(orders, feed)):
        task = pool.inputs.task.replace(train=images, val=None)
        states, metrics = _train_program(
            states, pool.inputs.clip, task, order, train=train, steps_per_epoch=steps
        )
        parts.append(metrics)
    return states, join_steps(parts)


def group_size(config: ConfigDict, pool: Pool, members: Sequence[Member]) -> int:
    """How many members fit ``config.memory.limit_mb`` together: at least 1, at most all of them.

    CLIP and images are counted once; a step (:func:`dpl_jax.memory.step_bytes`) and a state for
    each member.

    Args:
      config: with the longest T of all members.
      pool: the images of all seeds.
      members: all of them.
    """
    clip, task = pool.inputs.clip, pool.inputs.task
    search = FrozenConfigDict(config.search)
    state = jax.eval_shape(lambda: search_states(members[:1], clip.config, search, 1))
    plan = Plan(clip.remat, clip.class_chunks)
    own = step_bytes(clip.config, step_sizes(task.texts, config), plan) + _bytes(state)
    free = memory_limit(config.memory.limit_mb) - _bytes((clip.params, task))
    return min(max(free // own, 1), len(members))


@functools.partial(jax.jit, static_argnames=("search", "steps_per_epoch"), donate_argnames="states")
def _search_program(
    states: State,
    clip: Clip,
    task: Task,
    train_order: jax.Array,
    val_order: jax.Array,
    *,
    search: FrozenConfigDict,
    steps_per_epoch: int,
) -> tuple[State, Metrics]:
    """:func:`dpl_jax.steps.search_epoch` over members; orders (steps, M, B)."""

    def epoch(state: State, *orders: jax.Array) -> tuple[State, Metrics]:
        return search_epoch(
            state, clip, task, *orders, search=search, steps_per_epoch=steps_per_epoch
        )

    over_members = jax.vmap(epoch, in_axes=(AXES, 1, 1), out_axes=(AXES, 1))
    return over_members(states, train_order, val_order)


@functools.partial(jax.jit, static_argnames=("train", "steps_per_epoch"), donate_argnames="states")
def _train_program(
    states: State,
    clip: Clip,
    task: Task,
    order: jax.Array,
    *,
    train: FrozenConfigDict,
    steps_per_epoch: int,
) -> tuple[State, Metrics]:
    """:func:`dpl_jax.steps.train_epoch` over members; order (steps, M, B)."""

    def epoch(state: State, order: jax.Array) -> tuple[State, Metrics]:
        return train_epoch(state, clip, task, order, train=train, steps_per_epoch=steps_per_epoch)

    return jax.vmap(epoch, in_axes=(AXES, 1), out_axes=(AXES, 1))(states, order)


def _search_chunks(
    pool: Pool, members: Sequence[Member], search: FrozenConfigDict, epoch: int
) -> Iterator[tuple[Task, jax.Array, jax.Array]]:
    """The epoch's chunks: images, and orders (steps, M, B) into them."""
    seeds, (train, val) = [member.seed for member in members], (pool.inputs.train, pool.inputs.val)
    if val is None:
        raise ConfigError("A search needs validation images; there are none to hold out.")
    steps = pool.steps_per_epoch(search.batch_size)
    orders = pool.train_orders(seeds, search.batch_size, epoch)
    val_orders = pool.validation_orders(seeds, search.val_batch_size, steps, epoch)
    size = chunk_steps(orders, train, val)
    chunks = zip(_chunks(train, orders, size), _chunks(val, val_orders, size), strict=True)
    for (images, order), (val_images, val_order) in chunks:
        yield pool.inputs.task.replace(train=images, val=val_images), order, val_order


def _chunks(feed: Feed, orders: np.ndarray, size: int) -> Iterator[tuple[ImageSet, jax.Array]]:
    """Chunks of at most ``size`` steps of orders (steps, M, B): images, indices into them."""
    steps, members, batch = orders.shape
    for images, indices in feed.chunks(orders.reshape(steps, members * batch), size):
        yield images, indices.reshape(-1, members, batch)  # (steps, M, B)


def _stack(states: Sequence[State]) -> State:
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return stacked.replace(step=states[0].step)


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
