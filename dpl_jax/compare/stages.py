"""The trained methods of a comparison: all seeds of a method are members of one program."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax.baselines import method as baselines
from dpl_jax.configuration import Lengths
from dpl_jax.fit import fit_members_epoch, fit_states
from dpl_jax.json_files import read_json, write_json
from dpl_jax.member_groups import Grouping, Outcome, group_members, run_groups
from dpl_jax.member_stages import search_members, train_members
from dpl_jax.members import Member
from dpl_jax.pool import Pool
from dpl_jax.run_folder import RunFolder
from dpl_jax.steps import Metrics, Params, State

Outcomes = dict[Member, Outcome]


class Stage(NamedTuple):
    """What a stage came to: every member's outcome, and seconds for each (None if interrupted)."""

    outcomes: Outcomes
    seconds: float | None


class Bench(NamedTuple):
    """What all methods share.

    Attributes:
      run: the comparison's folder.
      config: the whole config.
      searching: images with validation images apart.
      training: images with all shots to train on.
      members: one for each seed.
      grouping: how they are split.
    """

    run: RunFolder
    config: ConfigDict
    searching: Pool
    training: Pool
    members: Sequence[Member]
    grouping: Grouping

    def with_settings(self, section: str, settings: Mapping[str, Any]) -> Bench:
        """The same with other settings of one section of the config, "search" or "train"."""
        config = self.config.copy_and_resolve_references()
        config[section].update_from_flattened_dict(dict(settings))
        return self._replace(config=config)


def make_bench(
    run: RunFolder, config: ConfigDict, searching: Pool, training: Pool, seeds: Sequence[int]
) -> Bench:
    """The bench of a comparison; see :class:`Bench`."""
    members = [Member(config.search.max_context_length, seed) for seed in seeds]
    grouping = group_members(config, searching, members)
    return Bench(run, config, searching, training, members, grouping)


def run_search(bench: Bench, stage: str) -> Stage:
    """The search of all members."""
    run, config, pool, members = bench.run, bench.config, bench.searching, bench.members
    return _timed(
        bench,
        stage,
        lambda: search_members(run, config, pool, members, bench.grouping, stage=stage),
    )


def run_train(
    bench: Bench,
    stage: str,
    lengths: Mapping[Member, Lengths],
    supernets: Mapping[Member, Params] | None = None,
) -> Stage:
    """Stage 2 of all members with the lengths of each, or of their supernets."""
    run, config, pool, members = bench.run, bench.config, bench.training, bench.members
    train = functools.partial(train_members, stage=stage, supernets=supernets)
    return _timed(bench, stage, lambda: train(run, config, pool, members, lengths, bench.grouping))


def run_fit(bench: Bench, stage: str, method: baselines.Method, inputs: Any) -> Stage:
    """The training of all members by a baseline method."""
    pool, train = bench.training, FrozenConfigDict(bench.config.train)
    steps = pool.steps_per_epoch(train.batch_size)

    def start(group: Sequence[Member]) -> State:
        return fit_states(group, method, pool.inputs.clip, inputs, train, steps)

    def run_steps(
        states: State, group: Sequence[Member], epoch: int, which: slice
    ) -> tuple[State, Metrics]:
        mesh = bench.grouping.mesh
        return fit_members_epoch(states, pool, group, method, inputs, train, epoch, mesh, which)

    return _timed(
        bench,
        stage,
        lambda: run_groups(
            bench.run,
            bench.config,
            bench.members,
            bench.grouping,
            start,
            run_steps,
            stage=stage,
            epochs=train.epochs,
            steps_per_epoch=steps,
        ),
    )


def _timed(bench: Bench, stage: str, run: Callable[[], Mapping[Member, Outcome]]) -> Stage:
    """Runs or resumes a stage; its time is known only if nothing interrupted it."""
    record = bench.run.path / f"{stage}-seconds.json"
    resumed = any(bench.run.path.glob(f"{stage}-members-*/checkpoints/*"))
    began = time.perf_counter()
    outcomes = dict(run())
    jax.block_until_ready([found.params for found in outcomes.values()])
    if not record.is_file():
        taken = (time.perf_counter() - began) / len(bench.members)
        write_json(record, {"seconds": None if resumed else taken})
    return Stage(outcomes, read_json(record)["seconds"])
