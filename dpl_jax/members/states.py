"""Several runs as one program: members that differ in seed and maximum context length.

The supernet of the longest T serves all: a member with a smaller T masks the alphas beyond it, and
in stage 2 the rows beyond its own lengths. ``jax.vmap`` puts the members beside each other over one
frozen CLIP and one bank of images, so their matrix products become larger ones, and one program is
compiled for all. A mesh shares them out to the devices, which never talk to each other. A member
equals the run of its seed and T alone, to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import FrozenConfigDict

from dpl_jax.clip.config import ClipConfig
from dpl_jax.clip.model import Clip
from dpl_jax.prompts.lengths_file import Lengths
from dpl_jax.prompts.trees import TOWERS, candidate_rows, init_supernet
from dpl_jax.training.optimizers import search_optimizer, train_optimizer
from dpl_jax.training.start import start_prompts
from dpl_jax.training.steps import Metrics, Params, State, create_state

# The axis of the mesh; the size of its every part must be the same.
MEMBERS = "members"
WHOLE, OWN = PartitionSpec(), PartitionSpec(MEMBERS)
ALL_STEPS = slice(None)
OF_STEPS = PartitionSpec(None, MEMBERS)  # leaves (steps, M, ..)
# Which leaves of a state have a leading axis M of members: all but the step, which they share.
AXES: Any = State(None, 0, 0, 0, 0, 0)  # type: ignore[arg-type]
SPECS: Any = State(WHOLE, OWN, OWN, OWN, OWN, OWN)  # type: ignore[arg-type]


class Member(NamedTuple):
    """One run among several."""

    max_context_length: int
    seed: int


class Seeded(Protocol):
    """Whatever tells a member of stage 2 from the others; its seed does the rest."""

    @property
    def seed(self) -> int:
        """Of its images, their order, and its first prompts."""
        ...


M = TypeVar("M", bound=Seeded)


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
        state = create_state(params, search_optimizer(search, steps_per_epoch), seed)
        states.append(state.replace(max_context_length=jnp.asarray(own, jnp.int32)))
    return stack(states)


def train_states(
    members: Sequence[M],
    lengths: Mapping[M, Lengths],
    clip: ClipConfig,
    train: FrozenConfigDict,
    steps_per_epoch: int,
    supernets: Mapping[M, Params] | None = None,
) -> State:
    """The members before the first step of stage 2, leaves (M, ..).

    Args:
      members: M of them.
      lengths: of these and maybe other members; all get as many rows as the longest of these, and
        a member's rows beyond its own are zero.
      clip: sizes of the CLIP.
      train: ``config.train``.
      steps_per_epoch: for the schedule.
      supernets: of each member, where :func:`dpl_jax.training.start.needs_supernet`.
    """
    longest = {tower: max(int(np.max(own[tower])) for own in lengths.values()) for tower in TOWERS}
    states = []
    for member in members:
        seed, own = member.seed, lengths[member]
        supernet = supernets[member] if supernets else None
        if supernet is not None and train.final == "mixture":
            state = create_state(
                supernet, train_optimizer(train, steps_per_epoch, alphas=True), seed
            )
            if isinstance(member, Member):  # its supernet has the arrays of the longest T
                limit = jnp.asarray(member.max_context_length, jnp.int32)
                state = state.replace(max_context_length=limit)
            states.append(state)
            continue
        prompts = start_prompts(train, clip, own, supernet, seed)
        padded = {
            tower: jnp.pad(rows, ((0, 0), (0, longest[tower] - rows.shape[1]), (0, 0)))
            for tower, rows in prompts.items()
        }  # (N, K, D)
        states.append(
            create_state({"prompts": padded}, train_optimizer(train, steps_per_epoch), seed, own)
        )
    return stack(states)


def place(states: State, mesh: Mesh) -> State:
    """Lays the members over the devices of a mesh whose size divides their number."""
    own, whole = NamedSharding(mesh, OWN), NamedSharding(mesh, WHOLE)
    shardings = jax.tree.map(lambda leaf: own, states).replace(step=whole)
    placed: State = jax.device_put(states, shardings)
    return placed


def member_params(states: State) -> list[Params]:
    """The parameters of each of the members, without the axis of members."""
    params = jax.device_get(states.params)
    members = len(jax.tree.leaves(params)[0])
    return [
        jax.tree.map(lambda leaf, index=index: jnp.asarray(leaf[index]), params)
        for index in range(members)
    ]


def cut_supernet(params: Params, max_context_length: int) -> Params:
    """A supernet's prompts and alphas for a smaller T, which are the first of each layer."""
    rows, candidates = candidate_rows(max_context_length), max_context_length + 1
    return {
        "prompts": {tower: leaf[:, :rows] for tower, leaf in params["prompts"].items()},
        "alphas": {tower: leaf[:, :candidates] for tower, leaf in params["alphas"].items()},
    }


@functools.cache
def members_program(epoch: Callable[..., tuple[State, Metrics]], mesh: Mesh, **fixed: Any) -> Any:
    """``epoch`` of many members as one compiled program; one for the same arguments.

    Args:
      epoch: of one member, such as :func:`dpl_jax.training.steps.search_epoch`.
      mesh: of the devices.
      **fixed: keyword arguments of ``epoch`` that are not arrays.

    Returns:
      A :class:`dpl_jax.training.stage.Program`: leaves of the states (M, ..), orders (steps, M, B),
      metrics (steps, M). The states are donated.
    """
    of_one = functools.partial(epoch, **fixed)

    def of_all(states: State, clip: Clip, task: Any, *orders: jax.Array) -> tuple[State, Metrics]:
        return over_members(of_one, mesh, states, clip, task, *orders)

    of_all.__name__ = f"members_{epoch.__name__}"  # what profiles and logs call the program
    return jax.jit(of_all, donate_argnums=0)


def over_members(
    epoch: Callable[..., tuple[State, Metrics]],
    mesh: Mesh,
    states: State,
    clip: Clip,
    task: Any,
    *orders: jax.Array,
) -> tuple[State, Metrics]:
    """``epoch`` of every member: side by side on a device, and each device for itself.

    Args:
      epoch: of one member, (state, clip, task, *orders) to the next state and metrics.
      mesh: of the devices.
      states: leaves (M, ..).
      clip: frozen, the same for all members.
      task: a pytree that is the same for all members.
      *orders: (steps, M, B) each.
    """
    on_device = jax.vmap(epoch, in_axes=(AXES, None, None, *[1] * len(orders)), out_axes=(AXES, 1))
    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(SPECS, WHOLE, WHOLE, *[OF_STEPS] * len(orders)),
        out_specs=(SPECS, OF_STEPS),
        check_vma=False,  # texts are the same everywhere until a member's prompts touch them
    )(states, clip, task, *orders)


def stack(states: Sequence[State]) -> State:
    """The states of members, at the same step, with a leading axis of members."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return stacked.replace(step=states[0].step)
