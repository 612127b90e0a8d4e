"""What can be compared: every method by its name, and how it comes about.

All trained methods see the same train images, in the same order, for the same number of epochs in
all: search and stage 2 of DPL together are as long as the training of any other method.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from ml_collections import ConfigDict

from dpl_jax.baselines import method as baselines
from dpl_jax.baselines.coop import CoOp
from dpl_jax.baselines.ivlp import IVLP
from dpl_jax.baselines.lengths import uniform_lengths
from dpl_jax.baselines.maple import MaPLe
from dpl_jax.baselines.vpt import VPT
from dpl_jax.clip.config import ClipConfig
from dpl_jax.errors import ConfigError
from dpl_jax.prompts.lengths_file import Lengths
from dpl_jax.prompts.trees import candidate_rows

Settings: TypeAlias = Mapping[str, Any]
AS_CONFIGURED: Settings = MappingProxyType({})


class FromFeatures(NamedTuple):
    """A classifier of frozen features; see :mod:`dpl_jax.studies.comparison.features`."""

    title: str


class Learned(NamedTuple):
    """A baseline trained by gradient."""

    title: str
    method: baselines.Method


class HandSet(NamedTuple):
    """Key and value prompts of lengths that nobody searched for; None draws them at random.

    A random draw has as many prompt tokens as the DPL of the same seed.
    """

    title: str
    lengths: Lengths | None


class Searched(NamedTuple):
    """A search, and what is made of its supernet.

    Attributes:
      title: for the table.
      search: settings of ``config.search`` that differ; methods with the same ones share a search.
      train: settings of ``config.train`` that differ; None for the supernet as it is.
      whole: stage 2 alone is as long as the training of other methods, so that the lengths are
        compared and not the time that went into finding them.
    """

    title: str
    search: Settings = AS_CONFIGURED
    train: Settings | None = AS_CONFIGURED
    whole: bool = False


Entry: TypeAlias = FromFeatures | Learned | HandSet | Searched

FEATURES = {
    "zero_shot": FromFeatures("zero-shot CLIP"),
    "ensemble": FromFeatures("zero-shot, 8 templates"),
    "linear_probe": FromFeatures("linear probe"),
    "tip_adapter": FromFeatures("Tip-Adapter"),
    "tip_adapter_f": FromFeatures("Tip-Adapter-F"),
}
LEARNED = {
    "coop": Learned("CoOp, 16 tokens", CoOp(16)),
    "coop_class": Learned("CoOp, class-specific", CoOp(16, class_specific=True)),
    "vpt_shallow": Learned("VPT-shallow, 10 tokens", VPT(10, deep=False)),
    "vpt_deep": Learned("VPT-deep, 10 tokens", VPT(10, deep=True)),
    "ivlp_shallow": Learned("IVLP, first layer", IVLP(4, depth=1)),
    "ivlp": Learned("IVLP, 9 layers", IVLP(4, depth=9)),
    "maple": Learned("MaPLe, 9 layers", MaPLe(2, depth=9)),
}
SEARCHED = {
    "dpl": Searched("DPL"),
    "dpl_long": Searched("DPL, stage 2 as long as the others", whole=True),
    "dpl_unit_scale": Searched(
        "DPL, supernet started at scale 1", {"prompt_scale.image": 1.0, "prompt_scale.text": 1.0}
    ),
    "dpl_inherit": Searched("DPL, starts from supernet", train={"start": "supernet"}),
    "dpl_perturbation": Searched("DPL, by perturbation", {"selection": "perturbation"}),
    "dpl_temperature": Searched("DPL, temperature to 0.05", {"final_temperature": 0.05}),
    "dpl_entropy": Searched("DPL, entropy penalty", {"entropy": 1.0}),
    "dpl_budget": Searched("DPL, token budget", {"budget": 0.01}),
    "dpl_second_order": Searched("DPL, second order", {"second_order": True}),
    "dpl_sgd": Searched("DPL, alpha by SGD", {"alphas.name": "sgd"}),
    "supernet": Searched("supernet, not retrained", train=None),
    "discretised": Searched("discretised, not retrained", train=None),
    "mixture": Searched("mixture", train={"final": "mixture"}),
    "mixture_learned": Searched(
        "mixture, alpha learned", train={"final": "mixture", "alphas": "learned"}
    ),
}


def catalogue(config: ConfigDict, clip: ClipConfig) -> dict[str, Entry]:
    """All methods that there are for ``config``'s maximum context length, in the table's order."""
    longest = config.search.max_context_length
    half = max(max(clip.layers.values()) // 2, 1)
    middle = max(longest // 2, 1)
    hand_set: dict[str, Entry] = {
        f"uniform_{n}": HandSet(f"uniform {n}", uniform_lengths(clip, n))
        for n in range(1, longest + 1)
    }
    for depth in sorted({1, half}):
        lengths = uniform_lengths(clip, middle, depth)
        where = "layer" if depth == 1 else f"{depth} layers"
        hand_set[f"first_{depth}"] = HandSet(f"{middle} in the first {where}", lengths)
    rows = candidate_rows(longest)
    hand_set["random"] = HandSet("random, as many as DPL", None)
    hand_set["uniform_rows"] = HandSet(f"uniform {rows}", uniform_lengths(clip, rows))
    return {**FEATURES, **LEARNED, **hand_set, **SEARCHED}


def choose(methods: str, known: Mapping[str, Entry]) -> dict[str, Entry]:
    """The methods named with commas, or all with ""; DPL always, as all are compared with it.

    Raises:
      ConfigError: for a name that is not known.
    """
    names = [name.strip() for name in methods.split(",") if name.strip()]
    wrong = [name for name in names if name not in known]
    if wrong:
        raise ConfigError(
            f"compare.methods names {', '.join(map(repr, wrong))}; there are {', '.join(known)}."
        )
    return {name: known[name] for name in known if not names or name in names or name == "dpl"}


def search_settings(entry: Searched) -> dict[str, Any]:
    """What tells the search of a method from others; how it is read out does not."""
    return {name: value for name, value in entry.search.items() if name != "selection"}
