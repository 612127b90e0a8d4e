"""Does it matter which layers get the prompt tokens? What a search could win at most.

    python -m benchmarks.configurations --config=configs/digits.py

Trains random configurations of the same number of prompt tokens, every one with every seed, and
splits the variance of their test accuracy into what the configuration explains, what the seed
explains (which images were sampled), and the rest (two-way analysis of variance without
replication). A search that finds the best configuration wins about two standard deviations of the
first part; one that is chosen by a noisy measure wins less.
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict
from scipy import stats

from benchmarks.ablation import run_stage
from dpl_jax.baselines.lengths import random_lengths, uniform_lengths
from dpl_jax.inference.encode import predict
from dpl_jax.members.groups import group_members, use_all_cores
from dpl_jax.members.seed_bank import SeedBank, load_seed_bank
from dpl_jax.members.stages import train_stage
from dpl_jax.members.states import Member, member_params
from dpl_jax.prompts.learned import Discrete
from dpl_jax.prompts.lengths_file import Lengths, prompt_tokens
from dpl_jax.runs.config_files import load_config
from dpl_jax.summary.scores import score
from dpl_jax.summary.table import print_table


class Configured(NamedTuple):
    """One training: the number of its configuration, and its seed."""

    configuration: int
    seed: int


class Variance(NamedTuple):
    """Standard deviations of the parts, in the unit of the numbers, and the F-test's p."""

    configuration: float
    seed: float
    rest: float
    p: float


def variance_parts(values: np.ndarray) -> Variance:
    """Splits numbers (configurations, seeds); a part that comes out negative counts as 0."""
    configurations, seeds = values.shape
    rows, columns = values.mean(axis=1), values.mean(axis=0)
    rest = values - rows[:, None] - columns + values.mean()
    freedom = (configurations - 1) * (seeds - 1)
    square = (rest**2).sum() / freedom
    of_rows = seeds * rows.var(ddof=1)
    of_columns = configurations * columns.var(ddof=1)
    return Variance(
        configuration=max((of_rows - square) / seeds, 0) ** 0.5,
        seed=max((of_columns - square) / configurations, 0) ** 0.5,
        rest=square**0.5,
        p=float(stats.f.sf(of_rows / square, configurations - 1, freedom)),
    )


def accuracies(config: ConfigDict, bank: SeedBank, lengths: list[Lengths]) -> np.ndarray:
    """Test accuracy (configurations, seeds) in percent, all trained as members."""
    members = [Configured(number, seed) for number in range(len(lengths)) for seed in bank.samples]
    own = {member: lengths[member.configuration] for member in members}
    size, mesh = group_members(config, bank, [Member(config.search.max_context_length, 1)] * 64)
    found: dict[Configured, float] = {}
    for first in range(0, len(members), size):
        group = members[first : first + size]
        group += [group[-1]] * (size - len(group))
        states = run_stage(train_stage(config, bank, mesh, own, group))
        prompts = {
            member: Discrete(params["prompts"], own[member]).view()
            for member, params in zip(group, member_params(states), strict=True)
        }
        found |= _test(config, bank, prompts)
        print(f"{min(first + size, len(members))} of {len(members)} trained", flush=True)
    return np.reshape([found[member] for member in members], (len(lengths), -1))


def _test(config: ConfigDict, bank: SeedBank, prompts: dict[Configured, Any]) -> dict[Any, float]:
    inputs = bank.inputs
    named = {str(member): each for member, each in prompts.items()}
    predicted = predict(inputs.clip, inputs.sampled, inputs.sampled.test, named, config)
    return {
        member: 100 * score(predicted.logits[str(member)], predicted.labels)["accuracy"]
        for member in prompts
    }


def main() -> None:
    """Trains, and prints the parts of the variance."""
    parser = argparse.ArgumentParser("python -m benchmarks.configurations")
    parser.add_argument("--config", default="configs/digits.py")
    parser.add_argument("--configurations", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=14, help="of both towers and all layers")
    arguments = parser.parse_args()
    use_all_cores()
    config = load_config(arguments.config)
    config.progress = "off"
    bank = load_seed_bank(config, range(1, arguments.seeds + 1), hold_out=False)
    clip, longest = bank.inputs.clip.sizes, config.search.max_context_length
    lengths = [
        random_lengths(clip.layers, longest, arguments.tokens, number)
        for number in range(arguments.configurations)
    ]
    uniform = uniform_lengths(clip, round(arguments.tokens / sum(clip.layers.values())))
    values = accuracies(config, bank, [*lengths, uniform])
    parts = variance_parts(values[:-1])
    means = values[:-1].mean(axis=1)
    rows = [
        ("mean of the random configurations", f"{means.mean():.2f}"),
        ("worst and best of them, means over the seeds", f"{means.min():.2f}, {means.max():.2f}"),
        (f"uniform, {prompt_tokens(uniform)} tokens", f"{values[-1].mean():.2f}"),
        ("standard deviation that the configuration explains", f"{parts.configuration:.2f}"),
        ("... that the seed explains", f"{parts.seed:.2f}"),
        ("... the rest", f"{parts.rest:.2f}"),
        ("p of the configuration's F-test", f"{parts.p:.2g}"),
    ]
    title = (
        f"{arguments.configurations} configurations of {arguments.tokens} tokens, "
        f"{arguments.seeds} seeds, {config.train.epochs} epochs: test accuracy in percent"
    )
    print_table(title, ("what", "value"), rows)
    best = lengths[int(means.argmax())]
    print("best:", {tower: own.tolist() for tower, own in best.items()})


if __name__ == "__main__":
    main()
