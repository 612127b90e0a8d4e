"""The trained methods of a comparison: all seeds of a method are members of one program."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from dpl_jax.baselines import method as baselines
from dpl_jax.baselines.training import baseline_stage
from dpl_jax.files.json import read_json, write_json
from dpl_jax.members.groups import Grouping, Outcome, group_members, run_groups
from dpl_jax.members.seed_bank import SeedBank
from dpl_jax.members.stages import search_stage, train_stage
from dpl_jax.members.states import Member
from dpl_jax.prompts.lengths_file import Lengths
from dpl_jax.runs.folder import RunFolder
from dpl_jax.training.stage import Stage
from dpl_jax.training.steps import Params

Outcomes = dict[Member, Outcome]


class Trained(NamedTuple):
    """What a stage came to: every member's outcome, and seconds for each (None if interrupted)."""

    outcomes: Outcomes
    seconds: float | None


class Setup(NamedTuple):
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
    searching: SeedBank
    training: SeedBank
    members: Sequence[Member]
    grouping: Grouping

    def with_settings(self, section: str, settings: Mapping[str, Any]) -> Setup:
        """The same with other settings of one section of the config, "search" or "train"."""
        config = self.config.copy_and_resolve_references()
        config[section].update_from_flattened_dict(dict(settings))
        return self._replace(config=config)


def make_setup(
    run: RunFolder,
    config: ConfigDict,
    searching: SeedBank,
    training: SeedBank,
    seeds: Sequence[int],
) -> Setup:
    """The setup of a comparison; see :class:`Setup`."""
    members = [Member(config.search.max_context_length, seed) for seed in seeds]
    grouping = group_members(config, searching, members)
    return Setup(run, config, searching, training, members, grouping)


def run_search(setup: Setup, name: str) -> Trained:
    """The search of all members."""
    mesh = setup.grouping.mesh
    return _run(
        setup, name, lambda group: search_stage(setup.config, setup.searching, mesh, group, name)
    )


def run_train(
    setup: Setup,
    name: str,
    lengths: Mapping[Member, Lengths],
    supernets: Mapping[Member, Params] | None = None,
) -> Trained:
    """Stage 2 of all members with the lengths of each, or of their supernets."""
    stage = functools.partial(
        train_stage, setup.config, setup.training, setup.grouping.mesh, lengths, supernets=supernets
    )
    return _run(setup, name, lambda group: stage(group, name))


def train_baseline(setup: Setup, name: str, method: baselines.Method, inputs: Any) -> Trained:
    """The training of all members by a baseline method."""
    stage = functools.partial(
        baseline_stage, setup.config, setup.training, setup.grouping.mesh, method, inputs
    )
    return _run(setup, name, lambda group: stage(group, name))


def _run(setup: Setup, name: str, stage: Callable[[Sequence[Member]], Stage]) -> Trained:
    """Runs or resumes a stage; its time is known only if nothing interrupted it."""
    record = setup.run.path / f"{name}-seconds.json"
    resumed = any(setup.run.path.glob(f"{name}-members-*/checkpoints/*"))
    began = time.perf_counter()
    outcomes = run_groups(setup.run, setup.config, setup.members, setup.grouping, stage)
    jax.block_until_ready([found.params for found in outcomes.values()])
    if not record.is_file():
        taken = (time.perf_counter() - began) / len(setup.members)
        write_json(record, {"seconds": None if resumed else taken})
    return Trained(outcomes, read_json(record)["seconds"])
