"""Several maximum context lengths and seeds: as members of one program, or run by run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict, FrozenConfigDict

from benchmarks.section import Row, Scale, Section
from benchmarks.timing import seconds
from configs import digits
from dpl_jax.members.groups import group_members
from dpl_jax.members.seed_bank import SeedBank, load_seed_bank
from dpl_jax.members.stages import search_stage, train_stage
from dpl_jax.members.states import Member, cut_supernet, member_params
from dpl_jax.prompts.trees import HostTree, choose_lengths, init_discrete, init_supernet
from dpl_jax.training.optimizers import search_optimizer, train_optimizer
from dpl_jax.training.stage import Stage
from dpl_jax.training.steps import State, create_state, search_epoch, train_epoch


def members(scale: Scale) -> list[Section]:
    """Search and stage 2 of all members on the digits, compilation included."""
    config = digits.get_config()
    config.search.epochs = config.train.epochs = scale.epochs
    config.search.max_context_length = max(scale.lengths)
    bank = load_seed_bank(config, scale.seeds, hold_out=True)
    runs = [Member(length, seed) for length in scale.lengths for seed in scale.seeds]
    with no_stored_programs():
        jax.clear_caches()
        together = seconds(lambda: run_together(config, bank, runs))
        jax.clear_caches()
        alone = seconds(lambda: [run_alone(config, bank, run) for run in runs])
    rows = [
        Row(f"{len(runs)} runs as members of one program", f"{together:.1f} s"),
        Row(f"{len(runs)} runs one after another", f"{alone:.1f} s"),
        Row("one after another / members", f"{alone / together:.1f} x", "at least 2"),
    ]
    note = (
        f"Search and stage 2, {scale.epochs} epochs each, the tiny CLIP on the digits with "
        f"{config.data.shots} shots, T = {scale.lengths}, seeds {scale.seeds}; each way starts "
        "with nothing compiled, and runs of equal shapes share a program. Measured once."
    )
    return [Section("Several T and seeds, compilation included", rows, note)]


def run_together(config: ConfigDict, bank: SeedBank, runs: list[Member]) -> State:
    """All runs at once; returns the states after stage 2."""
    size, mesh = group_members(config, bank, runs)
    group = [*runs, *[runs[-1]] * (size - len(runs))]
    states = run_stage(search_stage(config, bank, mesh, group))
    lengths: dict[Member, HostTree] = {}
    for run, params in zip(group, member_params(states), strict=True):
        lengths[run] = choose_lengths(cut_supernet(params, run.max_context_length)["alphas"])[0]
    return run_stage(train_stage(config, bank, mesh, lengths, group))


def run_stage(stage: Stage) -> State:
    """All epochs of a stage, without a run folder."""
    states = stage.start()
    for epoch in range(stage.epochs):
        states, _ = stage.run_steps(states, epoch, slice(None))
    return states


def run_alone(config: ConfigDict, bank: SeedBank, run: Member) -> State:
    """One run as `launch/search.py` and `launch/train.py` do it; the state after stage 2."""
    config = config.copy_and_resolve_references()
    config.search.max_context_length = run.max_context_length
    search, train = FrozenConfigDict(config.search), FrozenConfigDict(config.train)
    clip, task, seed = bank.inputs.clip, bank.inputs.task, run.seed
    steps = bank.steps_per_epoch(search.batch_size)
    prompts, alphas = init_supernet(clip.sizes, run.max_context_length, seed, search.prompt_scale)
    state = create_state(
        {"prompts": prompts, "alphas": alphas}, search_optimizer(search, steps), seed
    )
    for epoch in range(search.epochs):
        order = bank.train_orders([seed], search.batch_size, epoch)[:, 0]  # (steps, B)
        val_order = bank.validation_orders([seed], search.val_batch_size, steps, epoch)[:, 0]
        orders = jnp.asarray(order), jnp.asarray(val_order)
        state, _ = search_epoch(state, clip, task, *orders, search=search, steps_per_epoch=steps)
    lengths = choose_lengths(state.params["alphas"])[0]
    rows = init_discrete(clip.sizes, lengths, seed, train.prompt_scale)
    state = create_state({"prompts": rows}, train_optimizer(train, steps), seed, lengths)
    for epoch in range(train.epochs):
        order = bank.train_orders([seed], train.batch_size, epoch)[:, 0]
        state, _ = train_epoch(
            state, clip, task, jnp.asarray(order), train=train, steps_per_epoch=steps
        )
    return state


@contextlib.contextmanager
def no_stored_programs() -> Iterator[None]:
    """Compiles everything anew, whatever an earlier process has stored."""
    enabled = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", enabled)
