"""What a config makes of members: search, the choice of lengths, stage 2, the prompts in the end.

An ablation and a comparison both run these, so that what one obeys the other obeys.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from jax.sharding import Mesh
from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax.clip.features import TowerPrompts
from dpl_jax.members.groups import Outcome
from dpl_jax.members.seed_bank import SeedBank
from dpl_jax.members.states import (
    M,
    Member,
    cut_supernet,
    members_program,
    place,
    search_states,
    train_states,
)
from dpl_jax.prompts.alphas import finished_alphas
from dpl_jax.prompts.learned import Discrete, Supernet
from dpl_jax.prompts.lengths_file import Lengths
from dpl_jax.training.selection import select_lengths
from dpl_jax.training.stage import Stage, run_chunks
from dpl_jax.training.start import needs_supernet
from dpl_jax.training.steps import Metrics, Params, State, search_epoch, train_epoch

Outcomes = Mapping[Member, Outcome]


def search_stage(
    config: ConfigDict, bank: SeedBank, mesh: Mesh, group: Sequence[Member], name: str = "search"
) -> Stage:
    """Stage 1 of a group of members; ``config`` has the longest T."""
    search, clip = FrozenConfigDict(config.search), bank.inputs.clip
    steps, seeds = bank.steps_per_epoch(search.batch_size), [member.seed for member in group]
    program = members_program(search_epoch, mesh, search=search, steps_per_epoch=steps)
    bank.inputs.need_validation()

    def start() -> State:
        return place(search_states(group, clip.sizes, search, steps), mesh)

    def run_steps(states: State, epoch: int, which: slice) -> tuple[State, Metrics]:
        order = bank.train_orders(seeds, search.batch_size, epoch)  # (steps, M, B)
        val_order = bank.validation_orders(seeds, search.val_batch_size, steps, epoch)
        chunks = bank.inputs.chunks(order[which], val_order[which])
        return run_chunks(program, states, clip, chunks)

    return Stage(name, search.epochs, steps, start, run_steps, members=group)


def chosen_lengths(config: ConfigDict, bank: SeedBank, searched: Outcomes) -> dict[Member, Lengths]:
    """The lengths that each member's search comes to, as ``search.selection`` says."""
    inputs, val = bank.inputs, bank.inputs.need_validation()
    select = functools.partial(select_lengths, config, inputs.clip, inputs.task, val)
    return {
        member: select(bank.val[member.seed], cut_supernet(found.params, member.max_context_length))
        for member, found in searched.items()
    }


def finished_supernets(config: ConfigDict, searched: Outcomes) -> dict[Member, Params]:
    """Each member's supernet, its alphas as the last epoch saw them; arrays of the longest T."""
    return {
        member: found.params | {"alphas": finished_alphas(found.params["alphas"], config.search)}
        for member, found in searched.items()
    }


def train_stage(
    config: ConfigDict,
    bank: SeedBank,
    mesh: Mesh,
    lengths: Mapping[M, Lengths],
    group: Sequence[M],
    name: str = "train",
    supernets: Mapping[M, Params] | None = None,
) -> Stage:
    """Stage 2 of a group of members.

    Args:
      config: the whole config.
      bank: the images of all seeds, all shots to train on.
      mesh: of the devices.
      lengths: of all members, whatever their group: they decide the shapes.
      group: of members.
      name: of the stage.
      supernets: of :func:`finished_supernets`; used where ``config.train`` goes on from them.
    """
    train, clip = FrozenConfigDict(config.train), bank.inputs.clip
    steps, seeds = bank.steps_per_epoch(train.batch_size), [member.seed for member in group]
    program = members_program(train_epoch, mesh, train=train, steps_per_epoch=steps)
    started = supernets if needs_supernet(config) else None

    def start() -> State:
        return place(train_states(group, lengths, clip.sizes, train, steps, started), mesh)

    def run_steps(states: State, epoch: int, which: slice) -> tuple[State, Metrics]:
        order = bank.train_orders(seeds, train.batch_size, epoch)  # (steps, M, B)
        return run_chunks(program, states, clip, bank.inputs.chunks(order[which]))

    return Stage(name, train.epochs, steps, start, run_steps, members=group)


def supernet_prompts(member: Member, supernet: Params) -> TowerPrompts:
    """How the towers see a member's supernet: the candidates that the member has."""
    return Supernet(**cut_supernet(supernet, member.max_context_length)).view()


def trained_prompts(member: Member, trained: Outcome, lengths: Lengths) -> TowerPrompts:
    """How the towers see what stage 2 came to: one length per layer, or a whole supernet."""
    if "alphas" in trained.params:
        return supernet_prompts(member, trained.params)
    return Discrete(trained.params["prompts"], lengths).view()
