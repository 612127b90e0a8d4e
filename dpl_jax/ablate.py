"""An ablation: every maximum context length with every seed, searched, trained and evaluated.

All combinations run as members of one program, see :mod:`dpl_jax.members`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax.ablation_report import plot
from dpl_jax.config import with_absolute_paths
from dpl_jax.configuration import Lengths, prompt_tokens
from dpl_jax.errors import ConfigError
from dpl_jax.evaluate import predict
from dpl_jax.json_files import write_json
from dpl_jax.logits import NO_PROMPTS, TowerPrompts, discrete, mixed
from dpl_jax.member_groups import Grouping, Outcome, group_members, run_groups
from dpl_jax.members import (
    Member,
    cut_supernet,
    search_members_epoch,
    search_states,
    train_members_epoch,
    train_states,
)
from dpl_jax.pool import Pool, load_pool, pool_provenance, save_samples
from dpl_jax.prompts import HostTree, choose_lengths, limit_alphas
from dpl_jax.results import run_name
from dpl_jax.run_folder import RunFolder, open_run
from dpl_jax.scores import score
from dpl_jax.steps import Metrics, Params, State

Outcomes = Mapping[Member, Outcome]


def ablate(config: ConfigDict, workdir: str | Path | None = None) -> Path:
    """Runs an ablation, or resumes the one in ``workdir``.

    Args:
      config: see :mod:`dpl_jax.config`; ``config.ablate`` says what varies.
      workdir: the run's folder; None makes a named one under ``runs/``.

    Returns:
      The run's folder, with ablation.json, ablation.png and ablation.svg.

    Raises:
      DplError: for anything that the user can put right; the message says how.
    """
    members = list_members(config)
    seeds = list(config.ablate.seeds)
    config = with_absolute_paths(config)
    config.search.max_context_length = max(config.ablate.max_context_length)
    pool = load_pool(config, seeds, hold_out=True, workdir=workdir)
    grouping = group_members(config, pool, members)
    name = run_name(config).rpartition("-seed")[0]
    with open_run(workdir, "ablate", config, name=name) as run:
        save_samples(run.path, pool)
        searched = search_members(run, config, pool, members, grouping)
        lengths = {member: _chosen(member, searched[member])[0] for member in members}
        all_shots = load_pool(config, seeds, hold_out=False, workdir=run.path)
        trained = train_members(run, config, all_shots, members, lengths, grouping)
        found = _results(config, pool, searched, trained, lengths)
        write_json(run.path / "ablation.json", found)
        plot(found, run.path / "ablation")
    return run.path


def list_members(config: ConfigDict) -> list[Member]:
    """Every maximum context length with every seed.

    Raises:
      ConfigError: when either list is empty, repeats itself or holds something else than numbers.
    """
    for field, least in (("max_context_length", 1), ("seeds", 0)):
        values = config.ablate[field]
        whole = all(isinstance(value, int) and value >= least for value in values)
        if not values or not whole or len(set(values)) < len(values):
            raise ConfigError(
                f"ablate.{field} is {values!r}; it must list different whole numbers of at least "
                f"{least}, such as --config.ablate.{field}=1,2,3"
            )
    return [
        Member(max_context_length, seed)
        for max_context_length in config.ablate.max_context_length
        for seed in config.ablate.seeds
    ]


def search_members(
    run: RunFolder,
    config: ConfigDict,
    pool: Pool,
    members: Sequence[Member],
    grouping: Grouping,
    *,
    stage: str = "search",
) -> Outcomes:
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
) -> Outcomes:
    """Stage 2 of all members with the lengths (or from the supernet) of each, in groups."""
    train, clip = FrozenConfigDict(config.train), pool.inputs.clip.config
    steps = pool.steps_per_epoch(train.batch_size)

    def start(group: Sequence[Member]) -> State:
        return train_states(group, lengths, clip, train, steps, supernets)

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


def _results(
    config: ConfigDict,
    pool: Pool,
    searched: Outcomes,
    trained: Outcomes,
    lengths: Mapping[Member, Lengths],
) -> dict[str, Any]:
    """The contents of ablation.json: zero-shot, every member, and where the numbers come from."""
    sampled = pool.inputs.sampled
    methods: dict[str, TowerPrompts] = {"zero_shot": NO_PROMPTS}
    for member in searched:
        params, longest = searched[member].params, member.max_context_length
        alphas = limit_alphas(params["alphas"], longest)
        methods[f"supernet {member}"] = mixed(params["prompts"], alphas)
        methods[f"dpl {member}"] = discrete(trained[member].params["prompts"], lengths[member])
    logits, labels, _ = predict(pool.inputs.clip, sampled, sampled.test, methods, config)
    scores = {name: score(values, labels) for name, values in logits.items()}
    members = [
        _found(member, searched[member], trained[member], lengths[member])
        | {"supernet": scores[f"supernet {member}"], "dpl": scores[f"dpl {member}"]}
        for member in searched
    ]
    return {
        "kind": "ablate",
        "images": len(labels),
        "zero_shot": scores["zero_shot"],
        "members": members,
    } | pool_provenance(config, pool)


def _chosen(member: Member, searched: Outcome) -> tuple[HostTree, HostTree, HostTree]:
    """:func:`dpl_jax.prompts.choose_lengths` among the candidates that the member has."""
    return choose_lengths(cut_supernet(searched.params, member.max_context_length)["alphas"])


def _found(member: Member, searched: Outcome, trained: Outcome, lengths: Lengths) -> dict[str, Any]:
    """What a member's two stages came to, without its accuracy on test images."""
    return member._asdict() | {
        "lengths": lengths,
        "confidence": _chosen(member, searched)[1],
        "prompt_tokens": prompt_tokens(lengths),
        "search": searched.metrics,
        "train": trained.metrics,
    }
