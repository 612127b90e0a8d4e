"""Members in groups: how many at a time, on which devices, and a run folder for each group."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
from jax.sharding import AxisType, Mesh
from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax.files.json import explained_writes
from dpl_jax.members.seed_bank import SeedBank
from dpl_jax.members.states import MEMBERS, Member, member_params, search_states
from dpl_jax.runs.folder import RunFolder
from dpl_jax.runs.metrics import read_metrics
from dpl_jax.training.loop import run_epochs
from dpl_jax.training.memory import Plan, memory_limit, step_bytes, step_sizes
from dpl_jax.training.stage import Stage
from dpl_jax.training.steps import Params

M = TypeVar("M", bound=Hashable)


class Grouping(NamedTuple):
    """How members are split.

    Attributes:
      size: of every group; the last one is filled up.
      mesh: of the devices that share a group; their number divides its size.
    """

    size: int
    mesh: Mesh


class Outcome(NamedTuple):
    """What a stage made of one member: its parameters, and the last epoch's mean losses."""

    params: Params
    metrics: dict[str, float]


def use_all_cores() -> None:
    """Makes every processor core a device of its own, each of which runs some of the members.

    A small CLIP's matrices are too small to be shared out to several cores. To be called before
    JAX has looked for devices; without effect where there is a GPU.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    jax.config.update("jax_num_cpu_devices", cores or 1)


def group_members(config: ConfigDict, bank: SeedBank, members: Sequence[Member]) -> Grouping:
    """The largest groups that fit ``config.memory.limit_mb``: at least one member, at most all.

    CLIP and images are counted once per device; a step (:func:`dpl_jax.training.memory.step_bytes`)
    and a state for each member. The devices of a CPU share one memory, other devices have their
    own.

    Args:
      config: with the longest T of all members.
      bank: the images of all seeds.
      members: all of them.
    """
    devices = jax.local_devices()[: config.devices or None]
    limit = memory_limit(config.memory.limit_mb)
    shared, own = _member_bytes(config, bank, members[0])
    if devices[0].platform == "cpu":
        several = min(limit // (shared + own), len(devices))
        devices = devices[: max(several, 1)]
        limit //= len(devices)
    devices = devices[: len(members)]
    fitting = max((limit - shared) // own, 1)
    on_each = min(fitting, -(-len(members) // len(devices)))
    return Grouping(on_each * len(devices), member_mesh(devices))


def member_mesh(devices: Sequence[jax.Device]) -> Mesh:
    """A mesh whose only axis is that of the members."""
    return jax.make_mesh((len(devices),), (MEMBERS,), (AxisType.Auto,), devices=devices)


def run_groups(
    run: RunFolder,
    config: ConfigDict,
    members: Sequence[M],
    grouping: Grouping,
    stage: Callable[[Sequence[M]], Stage],
) -> dict[M, Outcome]:
    """Runs or resumes one stage of all members, each group in ``RUN/STAGE-members-FIRST-LAST``.

    The last group is filled up with its last member, so that all share one compiled program.

    Args:
      run: the folder that gets the groups' folders.
      config: the whole config.
      members: each with whatever tells it from the others.
      grouping: of :func:`group_members`.
      stage: of a group of members; states and metrics have an axis of members.
    """
    outcomes: dict[M, Outcome] = {}
    size = grouping.size
    for first in range(0, len(members), size):
        own = members[first : first + size]
        group = [*own, *[own[-1]] * (size - len(own))]
        of_group = stage(group)
        path = run.path / f"{of_group.name}-members-{first + 1}-{first + size}"
        with explained_writes(path):
            path.mkdir(exist_ok=True)
        folder = dataclasses.replace(run, path=path)
        states = run_epochs(folder, config, of_group)
        params, means = member_params(states), read_metrics(folder)[-1]["members"]
        for index, member in enumerate(own):
            metrics = {name: values[index] for name, values in means.items()}
            outcomes[member] = Outcome(params[index], metrics)
    return outcomes


def _member_bytes(config: ConfigDict, bank: SeedBank, member: Member) -> tuple[int, int]:
    """What a device holds whatever its members, and what each of them adds."""
    clip, task = bank.inputs.clip, bank.inputs.task
    search = FrozenConfigDict(config.search)
    state = jax.eval_shape(lambda: search_states([member], clip.sizes, search, 1))
    plan = Plan(clip.remat, clip.class_chunks)
    step = step_bytes(clip.sizes, step_sizes(task.texts, config), plan)
    return _bytes((clip.params, task)), step + _bytes(state)


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
