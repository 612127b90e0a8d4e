"""What a config makes of members: search, the choice of lengths, stage 2, the prompts in the end.

An ablation and a comparison both run these, so that what one obeys the other obeys.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax.configuration import Lengths
from dpl_jax.logits import TowerPrompts, discrete, mixed
from dpl_jax.member_groups import Grouping, Outcome, run_groups
from dpl_jax.members import (
    Member,
    cut_supernet,
    search_members_epoch,
    search_states,
    train_members_epoch,
    train_states,
)
from dpl_jax.pool import Pool
from dpl_jax.relaxation import finished_alphas
from dpl_jax.run_folder import RunFolder
from dpl_jax.selection import select_lengths
from dpl_jax.steps import Metrics, Params, State
from dpl_jax.train import needs_supernet

Outcomes = Mapping[Member, Outcome]


def search_members(
    run: RunFolder,
    config: ConfigDict,
    pool: Pool,
    members: Sequence[Member],
    grouping: Grouping,
    *,
    stage: str = "search",
) -> dict[Member, Outcome]:
    """Stage 1 of all members, in groups named ``stage``; ``config`` has the longest T."""
    search, clip = FrozenConfigDict(config.search), pool.inputs.clip.config
    steps = pool.steps_per_epoch(search.batch_size)

    def start(group: Sequence[Member]) -> State:
        return search_states(group, clip, search, steps)

    def run_steps(
        states: State, group: Sequence[Member], epoch: int, which: slice
    ) -> tuple[State, Metrics]:
        return search_members_epoch(states, pool, group, search, epoch, grouping.mesh, which)

    return run_groups(
        run,
        config,
        members,
        grouping,
        start,
        run_steps,
        stage=stage,
        epochs=search.epochs,
        steps_per_epoch=steps,
    )


def chosen_lengths(config: ConfigDict, pool: Pool, searched: Outcomes) -> dict[Member, Lengths]:
    """The lengths that each member's search comes to, as ``search.selection`` says."""
    inputs = pool.inputs
    assert inputs.val is not None  # they have searched with them
    select = functools.partial(select_lengths, config, inputs.clip, inputs.task, inputs.val)
    return {
        member: select(pool.val[member.seed], cut_supernet(found.params, member.max_context_length))
        for member, found in searched.items()
    }


def finished_supernets(config: ConfigDict, searched: Outcomes) -> dict[Member, Params]:
    """Each member's supernet, its alphas as the last epoch saw them; arrays of the longest T."""
    return {
        member: found.params | {"alphas": finished_alphas(found.params["alphas"], config.search)}
        for member, found in searched.items()
    }


def train_members(
    run: RunFolder,
    config: ConfigDict,
    pool: Pool,
    members: Sequence[Member],
    lengths: Mapping[Member, Lengths],
    grouping: Grouping,
    *,
    stage: str = "train",
    supernets: Mapping[Member, Params] | None = None,
) -> dict[Member, Outcome]:
    """Stage 2 of all members, in groups named ``stage``.

    Args:
      run: the folder that gets the groups' folders.
      config: the whole config.
      pool: the images of all seeds, all shots to train on.
      members: of the stage.
      lengths: of each.
      grouping: how they are split.
      stage: name of the stage.
      supernets: of :func:`finished_supernets`; used where ``config.train`` goes on from them.
    """
    train, clip = FrozenConfigDict(config.train), pool.inputs.clip.config
    steps = pool.steps_per_epoch(train.batch_size)
    started = supernets if needs_supernet(config) else None

    def start(group: Sequence[Member]) -> State:
        return train_states(group, lengths, clip, train, steps, started)

    def run_steps(
        states: State, group: Sequence[Member], epoch: int, which: slice
    ) -> tuple[State, Metrics]:
        return train_members_epoch(states, pool, group, train, epoch, grouping.mesh, which)

    return run_groups(
        run,
        config,
        members,
        grouping,
        start,
        run_steps,
        stage=stage,
        epochs=train.epochs,
        steps_per_epoch=steps,
    )


def supernet_prompts(member: Member, supernet: Params) -> TowerPrompts:
    """How the towers see a member's supernet: the candidates that the member has."""
    return mixed(**cut_supernet(supernet, member.max_context_length))


def trained_prompts(member: Member, trained: Outcome, lengths: Lengths) -> TowerPrompts:
    """How the towers see what stage 2 came to: one length a layer, or a whole supernet."""
    if "alphas" in trained.params:
        return supernet_prompts(member, trained.params)
    return discrete(trained.params["prompts"], lengths)
