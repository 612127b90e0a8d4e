"""Training a baseline by gradient: several seeds as members of one program, like stage 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax.baselines.method import Method
from dpl_jax.clip.model import Clip
from dpl_jax.members.seed_bank import SeedBank
from dpl_jax.members.states import Seeded, members_program, place, stack
from dpl_jax.training.inputs import Batch, Task
from dpl_jax.training.optimizers import train_optimizer
from dpl_jax.training.stage import Stage, run_chunks
from dpl_jax.training.steps import Metrics, Params, State, create_state, descend, step_key


def baseline_stage(
    config: ConfigDict,
    bank: SeedBank,
    mesh: Mesh,
    method: Method,
    inputs: Any,
    group: Sequence[Seeded],
    name: str,
) -> Stage:
    """The training of a baseline by a group of members; its parameters are the "prompts".

    Args:
      config: the whole config.
      bank: the images of all seeds.
      mesh: of the devices.
      method: a baseline.
      inputs: of the method, the same for all members.
      group: of members.
      name: of the stage.
    """
    train, clip = FrozenConfigDict(config.train), bank.inputs.clip
    steps, seeds = bank.steps_per_epoch(train.batch_size), [member.seed for member in group]
    program = members_program(
        baseline_epoch,
        mesh,
        method=method,  # type: ignore[arg-type]  # a frozen dataclass can be hashed
        train=train,
        steps_per_epoch=steps,
    )

    def start() -> State:
        optimizer = train_optimizer(train, steps)
        states = [
            create_state({"prompts": method.init(clip, inputs, seed)}, optimizer, seed)
            for seed in seeds
        ]
        return place(stack(states), mesh)

    def run_steps(states: State, epoch: int, which: slice) -> tuple[State, Metrics]:
        order = bank.train_orders(seeds, train.batch_size, epoch)[which]  # (steps, M, B)
        chunks = (((task, inputs), indices) for task, indices in bank.inputs.chunks(order))
        return run_chunks(program, states, clip, chunks)

    return Stage(name, train.epochs, steps, start, run_steps, members=group)


def baseline_epoch(
    state: State,
    clip: Clip,
    task_and_inputs: tuple[Task, Any],
    order: jax.Array,
    *,
    method: Method,
    train: FrozenConfigDict,
    steps_per_epoch: int,
) -> tuple[State, Metrics]:
    """An epoch of one member (or a chunk of one); order (steps, B), metrics (steps,)."""
    task, inputs = task_and_inputs

    def body(state: State, indices: jax.Array) -> tuple[State, Metrics]:
        batch = task.train_batch(indices, step_key(state))
        return baseline_step(state, clip, inputs, batch, method, train, steps_per_epoch)

    return jax.lax.scan(body, state, order)


def baseline_step(
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
