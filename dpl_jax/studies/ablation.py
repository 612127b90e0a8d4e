"""An ablation: every maximum context length with every seed, searched, trained and evaluated.

All combinations run as members of one program, see :mod:`dpl_jax.members.states`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dpl_jax.clip.features import NO_PROMPTS, TowerPrompts
from dpl_jax.config import with_absolute_paths
from dpl_jax.files.json import write_json
from dpl_jax.inference.encode import predict
from dpl_jax.members.groups import Outcome, group_members, run_groups
from dpl_jax.members.seed_bank import SeedBank, load_seed_bank, save_samples, seed_bank_provenance
from dpl_jax.members.stages import (
    Outcomes,
    chosen_lengths,
    finished_supernets,
    search_stage,
    supernet_prompts,
    train_stage,
    trained_prompts,
)
from dpl_jax.members.states import Member, cut_supernet
from dpl_jax.prompts.lengths_file import Lengths, confidences, prompt_tokens
from dpl_jax.prompts.trees import candidate_rows
from dpl_jax.runs.folder import open_run
from dpl_jax.runs.results import run_name
from dpl_jax.studies.ablation_report import plot
from dpl_jax.studies.checks import check_numbers
from dpl_jax.summary.scores import score
from dpl_jax.training.steps import Params


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
    bank = load_seed_bank(config, seeds, hold_out=True, workdir=workdir)
    grouping = group_members(config, bank, members)
    name = run_name(config).rpartition("-seed")[0]
    with open_run(workdir, "ablate", config, name=name) as run:
        save_samples(run.path, bank)
        search = functools.partial(search_stage, config, bank, grouping.mesh)
        searched = run_groups(run, config, members, grouping, search)
        lengths = chosen_lengths(config, bank, searched)
        nets = finished_supernets(config, searched)
        all_shots = load_seed_bank(config, seeds, hold_out=False, workdir=run.path)
        train = functools.partial(
            train_stage, config, all_shots, grouping.mesh, lengths, supernets=nets
        )
        trained = run_groups(run, config, members, grouping, train)
        devices = grouping.mesh.size
        found = _results(config, bank, searched, trained, lengths, nets, devices)
        write_json(run.path / "ablation.json", found)
        plot(found, run.path / "ablation")
    return run.path


def list_members(config: ConfigDict) -> list[Member]:
    """Every maximum context length with every seed.

    Raises:
      ConfigError: when either list is empty, repeats itself or holds something else than numbers.
    """
    for field, least in (("max_context_length", 1), ("seeds", 0)):
        check_numbers(f"--config.ablate.{field}", config.ablate[field], least)
    return [
        Member(max_context_length, seed)
        for max_context_length in config.ablate.max_context_length
        for seed in config.ablate.seeds
    ]


def _results(
    config: ConfigDict,
    bank: SeedBank,
    searched: Outcomes,
    trained: Outcomes,
    lengths: Mapping[Member, Lengths],
    supernets: Mapping[Member, Params],
    devices: int,
) -> dict[str, Any]:
    """The contents of ablation.json: zero-shot, every member, and where the numbers come from."""
    sampled = bank.inputs.sampled
    methods: dict[str, TowerPrompts] = {"zero_shot": NO_PROMPTS}
    for member in searched:
        methods[f"supernet {member}"] = supernet_prompts(member, supernets[member])
        methods[f"dpl {member}"] = trained_prompts(member, trained[member], lengths[member])
    logits, labels, _ = predict(bank.inputs.clip, sampled, sampled.test, methods, config)
    scores = {name: score(values, labels) for name, values in logits.items()}
    members = [
        {
            **member._asdict(),
            "lengths": lengths[member],
            "confidence": _confidence(member, lengths[member], supernets[member]),
            "prompt_tokens": _prompt_tokens(member, trained[member], lengths[member]),
            "search": searched[member].metrics,
            "train": trained[member].metrics,
            "supernet": scores[f"supernet {member}"],
            "dpl": scores[f"dpl {member}"],
        }
        for member in searched
    ]
    return {
        "kind": "ablate",
        "images": len(labels),
        "zero_shot": scores["zero_shot"],
        "members": members,
    } | seed_bank_provenance(config, bank, devices)


def _confidence(member: Member, lengths: Lengths, supernet: Params) -> Lengths:
    """The softmax weights (N,) of the lengths, among the candidates that the member has."""
    return confidences(lengths, cut_supernet(supernet, member.max_context_length)["alphas"])


def _prompt_tokens(member: Member, trained: Outcome, lengths: Lengths) -> int:
    """Prompt rows of both towers; those of all candidates where a supernet is the final model."""
    if "alphas" not in trained.params:
        return prompt_tokens(lengths)
    layers = sum(len(own) for own in lengths.values())
    return layers * candidate_rows(member.max_context_length)
