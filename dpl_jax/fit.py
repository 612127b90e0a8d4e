"""Training a baseline by gradient: several seeds as members of one program, like stage 2."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from ml_collections import FrozenConfigDict

from dpl_jax.baselines.method import Method
from dpl_jax.clip.model import Clip
from dpl_jax.loop import join_steps
from dpl_jax.members import ALL_STEPS, Seeded, member_chunks, over_members, stack
from dpl_jax.optimizers import train_optimizer
from dpl_jax.pool import Pool
from dpl_jax.steps import Metrics, Params, State, create_state, descend, step_key
from dpl_jax.task import Batch, Task


def fit_states(
    members: Sequence[Seeded],
    method: Method,
    clip: Clip,
    inputs: Any,
    train: FrozenConfigDict,
    steps_per_epoch: int,
) -> State:
    """The members before their first step, leaves (M, ..); the method's parameters as "prompts".

    Args:
      members: M of them.
      method: a baseline.
      clip: a frozen CLIP.
      inputs: of the method, the same for all members.
      train: ``config.train``.
      steps_per_epoch: for the schedule.
    """
    optimizer = train_optimizer(train, steps_per_epoch)
    return stack(
        [
            create_state(
                {"prompts": method.init(clip, inputs, member.seed)}, optimizer, member.seed
            )
            for member in members
        ]
    )


def fit_members_epoch(
    states: State,
    pool: Pool,
    members: Sequence[Seeded],
    method: Method,
    inputs: Any,
    train: FrozenConfigDict,
    epoch: int,
    mesh: Mesh,
    which: slice = ALL_STEPS,
) -> tuple[State, Metrics]:
    """One epoch of the members, as :func:`dpl_jax.members.train_members_epoch`."""
    steps, parts = pool.steps_per_epoch(train.batch_size), []
    for task, order in member_chunks(pool, members, train.batch_size, epoch, which):
        states, metrics = _fit_program(
            states,
            pool.inputs.clip,
            (task, inputs),
            order,
            method=method,
            train=train,
            steps_per_epoch=steps,
            mesh=mesh,
        )
        parts.append(metrics)
    return states, join_steps(parts)


def fit_step(
    state: State,
    clip: Clip,
    inputs: Any,
    batch: Batch,
    method: Method,
    train: FrozenConfigDict,
    steps_per_epoch: int,
) -> tuple[State, Metrics]:
    """One step: the method's parameters descend the cross-entropy of a train batch."""

    def loss(params: Params, batch: Batch) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        images, labels = batch
        logits = method.logits(params["prompts"], clip, inputs, images)  # (B, C)
        value = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return value, (value, (logits.argmax(axis=-1) == labels).mean())

    optimizer = train_optimizer(train, steps_per_epoch)
    state, metrics = descend(loss, state, "prompts", batch, optimizer)
    return state.replace(step=state.step + 1), {"train": metrics}


@functools.partial(
    jax.jit,
    static_argnames=("method", "train", "steps_per_epoch", "mesh"),
    donate_argnames="states",
)
def _fit_program(
    states: State,
    clip: Clip,
    task_and_inputs: tuple[Task, Any],
    order: jax.Array,
    *,
    method: Method,
    train: FrozenConfigDict,
    steps_per_epoch: int,
    mesh: Mesh,
) -> tuple[State, Metrics]:
    """An epoch of every member as one program; order (steps, M, B)."""

    def epoch(
        state: State, clip: Clip, shared: tuple[Task, Any], order: jax.Array
    ) -> tuple[State, Metrics]:
        task, inputs = shared

        def body(state: State, indices: jax.Array) -> tuple[State, Metrics]:
            batch = task.train_batch(indices, step_key(state))
            return fit_step(state, clip, inputs, batch, method, train, steps_per_epoch)

        return jax.lax.scan(body, state, order)

    return over_members(epoch, mesh, states, clip, task_and_inputs, order)
