"""Every method of a comparison on the same images: trained, evaluated, and written down."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dpl_jax.baselines.lengths import random_lengths
from dpl_jax.baselines.method import Method, count_parameters
from dpl_jax.clip.features import TowerPrompts, class_logits
from dpl_jax.clip.model import load_configured
from dpl_jax.config import with_absolute_paths
from dpl_jax.data.split import Item
from dpl_jax.files.json import read_json, write_json
from dpl_jax.inference.encode import encode, predict
from dpl_jax.members.seed_bank import load_seed_bank, save_samples, seed_bank_provenance
from dpl_jax.members.stages import chosen_lengths, finished_supernets
from dpl_jax.members.states import Member
from dpl_jax.prompts.alphas import mean_entropy
from dpl_jax.prompts.learned import Discrete, Supernet
from dpl_jax.prompts.lengths_file import Lengths, prompt_tokens
from dpl_jax.prompts.trees import choose_lengths, inherit_rows
from dpl_jax.runs.folder import open_run
from dpl_jax.runs.results import run_name
from dpl_jax.studies.checks import check_numbers
from dpl_jax.studies.comparison.catalogue import (
    Entry,
    FromFeatures,
    HandSet,
    Learned,
    Searched,
    catalogue,
    choose,
    search_settings,
)
from dpl_jax.studies.comparison.features import Features, Seen, classify, frozen_features
from dpl_jax.studies.comparison.report import plot
from dpl_jax.studies.comparison.stages import (
    Setup,
    Trained,
    make_setup,
    run_search,
    run_train,
    train_baseline,
)
from dpl_jax.summary.scores import score
from dpl_jax.training.steps import Params


class MethodResult(NamedTuple):
    """What a method came to with one seed.

    Attributes:
      logits: (n, C) of the test images.
      labels: (n,).
      parameters: numbers that were learned.
      prompt_tokens: of both towers and all layers; None where the word has no meaning.
      seconds: of training, None if it was interrupted.
      details: anything else, for compare.json.
    """

    logits: np.ndarray
    labels: np.ndarray
    parameters: int
    prompt_tokens: int | None
    seconds: float | None
    details: Mapping[str, Any] = MappingProxyType({})


def compare(config: ConfigDict, workdir: str | Path | None = None) -> Path:
    """Runs a comparison, or goes on with the one in ``workdir``.

    Args:
      config: see :mod:`dpl_jax.config`; ``config.compare`` says what is compared.
      workdir: the folder; None makes a named one under ``runs/``. Methods that are finished there
        are not run again, and further ones can be named.

    Returns:
      The folder, with compare.json, compare.png, compare.svg and METHOD.json for each method.

    Raises:
      DplError: for anything that the user can put right; the message says how.
    """
    seeds = list(config.compare.seeds)
    check_numbers("--config.compare.seeds", seeds, least=0)
    config = with_absolute_paths(config)
    clip = load_configured(config.clip)
    entries = choose(config.compare.methods, catalogue(config, clip.sizes))
    searching = load_seed_bank(config, seeds, hold_out=True, workdir=workdir)
    training = load_seed_bank(config, seeds, hold_out=False, workdir=workdir)
    name = run_name(config).rpartition("-seed")[0]
    harmless = ("compare.methods",)
    with open_run(workdir, "compare", config, name=name, harmless=harmless) as run:
        save_samples(run.path, searching)
        setup = make_setup(run, config, searching, training, seeds)
        _run_missing(setup, entries)
        found = _results(setup, catalogue(config, clip.sizes))
        write_json(run.path / "compare.json", found)
        plot(found, run.path / "compare")
    return run.path


def _run_missing(setup: Setup, entries: Mapping[str, Entry]) -> None:
    """Runs the methods that have no METHOD.json yet; DPL first, which others refer to."""
    features = functools.cache(lambda: _frozen(setup))
    for name in sorted(entries, key=lambda name: name != "dpl"):
        path = setup.run.path / f"{name}.json"
        if path.is_file():
            continue
        match entries[name]:
            case FromFeatures():
                results = _from_features(setup, name, *features())
            case Learned(_, method):
                results = _learned(setup, name, method)
            case HandSet(_, lengths):
                results = _hand_set(setup, name, lengths)
            case Searched() as entry:
                results = _searched(setup, name, entry)
        seeds = {member.seed: _scored(each) for member, each in results.items()}
        write_json(path, {"title": entries[name].title, "seeds": seeds})
        # A compiled program takes hundreds of memory maps, of which Linux grants 65530; those that
        # the next method shares come back from the cache on disk.
        jax.clear_caches()


def _results(setup: Setup, known: Mapping[str, Entry]) -> dict[str, Any]:
    """The contents of compare.json: every method that the folder has, and where all comes from."""
    files = {name: setup.run.path / f"{name}.json" for name in known}
    methods = {name: read_json(path) for name, path in files.items() if path.is_file()}
    budget = setup.config.search.epochs + setup.config.train.epochs
    return {
        "kind": "compare",
        "epochs": budget,
        "max_context_length": setup.config.search.max_context_length,
        "methods": methods,
    } | seed_bank_provenance(setup.config, setup.searching, setup.grouping.mesh.size)


def _from_features(
    setup: Setup, name: str, seen: Mapping[int, Seen], test: Features
) -> dict[Member, MethodResult]:
    inputs, results = setup.training.inputs, {}
    for member in setup.members:
        seed = member.seed
        found = classify(name, inputs.clip, inputs.sampled, seen[seed], test, seed)
        results[member] = MethodResult(found.logits, test.labels, found.parameters, None, None)
    return results


def _learned(setup: Setup, name: str, method: Method) -> dict[Member, MethodResult]:
    setup = _whole_budget(setup)
    clip, dataset = setup.training.inputs.clip, setup.training.inputs.sampled
    inputs = method.inputs(clip, dataset)
    stage = train_baseline(setup, name, method, inputs)
    learned = {member: found.params["prompts"] for member, found in stage.outcomes.items()}
    encoders = {
        str(member): functools.partial(_learned_features, method, params, clip, inputs)
        for member, params in learned.items()
    }
    encoded = encode(clip, dataset.test, encoders, setup.config)
    results = {}
    for member, params in learned.items():
        texts = method.text(params, clip, inputs)  # (C, F)
        features = jnp.asarray(encoded.features[str(member)])  # (n, F)
        logits = np.asarray(class_logits(features, texts, clip.params["logit_scale"]))
        tokens, count = method.prompt_tokens(params), count_parameters(params)
        results[member] = MethodResult(logits, encoded.labels, count, tokens, stage.seconds)
    return results


def _hand_set(setup: Setup, name: str, lengths: Lengths | None) -> dict[Member, MethodResult]:
    given = {
        member: _random_lengths(setup, member.seed) if lengths is None else lengths
        for member in setup.members
    }
    # Nobody searched them, so there is no supernet to go on from.
    setup = setup.with_settings("train", {"final": "discrete", "start": "random"})
    stage = run_train(_whole_budget(setup), name, given)
    return _discrete(setup, stage, given, stage.seconds)


def _searched(setup: Setup, name: str, entry: Searched) -> dict[Member, MethodResult]:
    settings = search_settings(entry)
    setup = setup.with_settings("search", entry.search)
    label = "-".join(f"{field}={value}" for field, value in settings.items()).replace(".", "_")
    search = run_search(setup, f"search-{label or 'default'}")
    lengths = chosen_lengths(setup.config, setup.searching, search.outcomes)
    nets = finished_supernets(setup.config, search.outcomes)
    results = _finished(setup, name, entry, lengths, nets, search.seconds)
    return {
        member: each._replace(details={"lengths": lengths[member]} | _sureness(nets[member]))
        for member, each in results.items()
    }


def _finished(
    setup: Setup,
    name: str,
    entry: Searched,
    lengths: Mapping[Member, Lengths],
    nets: Mapping[Member, Params],
    seconds: float | None,
) -> dict[Member, MethodResult]:
    """What is made of searched supernets; ``seconds`` are the search's."""
    if name == "discretised":
        rows = {m: inherit_rows(nets[m]["prompts"], own) for m, own in lengths.items()}
        prompts = {m: Discrete(rows[m], own).view() for m, own in lengths.items()}
        return _contenders(setup, prompts, rows, lengths, seconds)
    if entry.train is None:
        return _mixtures(setup, nets, seconds)
    setup = _whole_budget(setup) if entry.whole else setup.with_settings("train", entry.train)
    stage = run_train(setup, name, lengths, nets)
    both = seconds + stage.seconds if seconds is not None and stage.seconds is not None else None
    if setup.config.train.final == "mixture":
        nets = {member: found.params for member, found in stage.outcomes.items()}
        return _mixtures(setup, nets, both)
    return _discrete(setup, stage, lengths, both)


def _sureness(supernet: Params) -> dict[str, float]:
    """Mean over the layers of the likeliest length's softmax weight, and of the entropy in nats."""
    confidences = choose_lengths(supernet["alphas"])[1]
    return {
        "confidence": float(np.mean(np.concatenate(list(confidences.values())))),
        "entropy": float(mean_entropy(supernet["alphas"])),
    }


def _discrete(
    setup: Setup, stage: Trained, lengths: Mapping[Member, Lengths], seconds: float | None
) -> dict[Member, MethodResult]:
    """MethodResults of stage 2 with one length per layer."""
    rows = {member: found.params["prompts"] for member, found in stage.outcomes.items()}
    prompts = {member: Discrete(rows[member], lengths[member]).view() for member in rows}
    return _contenders(setup, prompts, rows, lengths, seconds)


def _mixtures(
    setup: Setup, nets: Mapping[Member, Params], seconds: float | None
) -> dict[Member, MethodResult]:
    """MethodResults that are whole supernets: all their rows count as prompt tokens."""
    prompts = {member: Supernet(**params).view() for member, params in nets.items()}
    rows = {member: params["prompts"] for member, params in nets.items()}
    found = _contenders(setup, prompts, rows, None, seconds)
    return {
        member: each._replace(parameters=count_parameters(nets[member]))
        for member, each in found.items()
    }


def _contenders(
    setup: Setup,
    prompts: Mapping[Member, TowerPrompts],
    rows: Mapping[Member, Mapping[str, jax.Array]],
    lengths: Mapping[Member, Lengths] | None,
    seconds: float | None,
) -> dict[Member, MethodResult]:
    """MethodResults of key and value prompts ``rows`` (N, K, D); without lengths all rows count."""
    inputs = setup.training.inputs
    methods = {str(member): each for member, each in prompts.items()}
    found = predict(inputs.clip, inputs.sampled, inputs.sampled.test, methods, setup.config)
    results = {}
    for member, own in rows.items():
        tokens, details = sum(leaf[..., 0].size for leaf in own.values()), {}
        count = sum(leaf.size for leaf in own.values())
        if lengths is not None:
            chosen, widths = lengths[member], inputs.clip.sizes.widths
            tokens, details = prompt_tokens(chosen), {"lengths": chosen}
            count = sum(int(np.sum(chosen[tower])) * widths[tower] for tower in chosen)
        results[member] = MethodResult(
            found.logits[str(member)], found.labels, count, tokens, seconds, details
        )
    return results


def _whole_budget(setup: Setup) -> Setup:
    """With as many epochs as search and stage 2 of DPL have together."""
    epochs = setup.config.search.epochs + setup.config.train.epochs
    return setup.with_settings("train", {"epochs": epochs})


def _random_lengths(setup: Setup, seed: int) -> Lengths:
    """As many prompt tokens as the seed's DPL, laid out at random."""
    found = read_json(setup.run.path / "dpl.json")["seeds"][str(seed)]
    longest = setup.config.search.max_context_length
    layers = setup.training.inputs.clip.sizes.layers
    return random_lengths(layers, longest, prompt_tokens(found["lengths"]), seed)


def _frozen(setup: Setup) -> tuple[dict[int, Seen], Features]:
    """Frozen features of what every seed may see, and of the test images."""
    encode_items: Callable[[tuple[Item, ...]], Features] = functools.cache(
        lambda items: frozen_features(setup.training.inputs.clip, items, setup.config)
    )
    seen = {}
    for member in setup.members:
        shots, own = setup.training.samples[member.seed], setup.searching.samples[member.seed]
        seen[member.seed] = Seen(*map(encode_items, (shots.train, own.train, own.val)))
    return seen, encode_items(setup.training.inputs.sampled.test)


def _scored(result: MethodResult) -> dict[str, Any]:
    numbers = result._asdict()
    scores = score(numbers.pop("logits"), numbers.pop("labels"))
    images = {"images": len(result.labels)}
    details = numbers.pop("details")
    return images | scores | numbers | dict(details)


@functools.partial(jax.jit, static_argnums=0)
def _learned_features(
    method: Method, params: Any, clip: Any, inputs: Any, images: jax.Array
) -> jax.Array:
    return method.image(params, clip, inputs, images)
