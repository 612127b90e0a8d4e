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
from dpl_jax.clip.model import load_configured
from dpl_jax.config import with_absolute_paths
from dpl_jax.data.split import Item
from dpl_jax.errors import ConfigError
from dpl_jax.evaluate import encode, predict
from dpl_jax.files.json import read_json, write_json
from dpl_jax.members.seed_bank import load_pool, pool_provenance, save_samples
from dpl_jax.members.stages import chosen_lengths, finished_supernets
from dpl_jax.members.states import Member
from dpl_jax.prompts.alphas import mean_entropy
from dpl_jax.prompts.lengths_file import Lengths, prompt_tokens
from dpl_jax.prompts.logits import TowerPrompts, class_logits, discrete, mixed
from dpl_jax.prompts.trees import choose_lengths, inherit_rows
from dpl_jax.runs.folder import open_run
from dpl_jax.runs.results import run_name
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
    Bench,
    Trained,
    make_bench,
    run_fit,
    run_search,
    run_train,
)
from dpl_jax.summary.scores import score
from dpl_jax.training.steps import Params


class Contender(NamedTuple):
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
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"compare.seeds is {seeds}; it must list different whole numbers.")
    config = with_absolute_paths(config)
    clip = load_configured(config.clip)
    entries = choose(config.compare.methods, catalogue(config, clip.config))
    searching = load_pool(config, seeds, hold_out=True, workdir=workdir)
    training = load_pool(config, seeds, hold_out=False, workdir=workdir)
    name = run_name(config).rpartition("-seed")[0]
    harmless = ("compare.methods",)
    with open_run(workdir, "compare", config, name=name, harmless=harmless) as run:
        save_samples(run.path, searching)
        bench = make_bench(run, config, searching, training, seeds)
        _run_missing(bench, entries)
        found = _results(bench, catalogue(config, clip.config))
        write_json(run.path / "compare.json", found)
        plot(found, run.path / "compare")
    return run.path


def _run_missing(bench: Bench, entries: Mapping[str, Entry]) -> None:
    """Runs the methods that have no METHOD.json yet; DPL first, which others refer to."""
    features = functools.cache(lambda: _frozen(bench))
    for name in sorted(entries, key=lambda name: name != "dpl"):
        path = bench.run.path / f"{name}.json"
        if path.is_file():
            continue
        match entries[name]:
            case FromFeatures():
                contenders = _from_features(bench, name, *features())
            case Learned(_, method):
                contenders = _learned(bench, name, method)
            case HandSet(_, lengths):
                contenders = _hand_set(bench, name, lengths)
            case Searched() as entry:
                contenders = _searched(bench, name, entry)
        seeds = {member.seed: _scored(each) for member, each in contenders.items()}
        write_json(path, {"title": entries[name].title, "seeds": seeds})
        # A compiled program takes hundreds of memory maps, of which Linux grants 65530; those that
        # the next method shares come back from the cache on disk.
        jax.clear_caches()


def _results(bench: Bench, known: Mapping[str, Entry]) -> dict[str, Any]:
    """The contents of compare.json: every method that the folder has, and where all comes from."""
    files = {name: bench.run.path / f"{name}.json" for name in known}
    methods = {name: read_json(path) for name, path in files.items() if path.is_file()}
    budget = bench.config.search.epochs + bench.config.train.epochs
    return {
        "kind": "compare",
        "epochs": budget,
        "max_context_length": bench.config.search.max_context_length,
        "methods": methods,
    } | pool_provenance(bench.config, bench.searching, bench.grouping.mesh.size)


def _from_features(
    bench: Bench, name: str, seen: Mapping[int, Seen], test: Features
) -> dict[Member, Contender]:
    inputs, contenders = bench.training.inputs, {}
    for member in bench.members:
        seed = member.seed
        found = classify(name, inputs.clip, inputs.sampled, seen[seed], test, seed)
        contenders[member] = Contender(found.logits, test.labels, found.parameters, None, None)
    return contenders


def _learned(bench: Bench, name: str, method: Method) -> dict[Member, Contender]:
    bench = _whole_budget(bench)
    clip, dataset = bench.training.inputs.clip, bench.training.inputs.sampled
    inputs = method.inputs(clip, dataset)
    stage = run_fit(bench, name, method, inputs)
    learned = {member: found.params["prompts"] for member, found in stage.outcomes.items()}
    encoders = {
        str(member): functools.partial(_learned_features, method, params, clip, inputs)
        for member, params in learned.items()
    }
    encoded = encode(clip, dataset.test, encoders, bench.config)
    contenders = {}
    for member, params in learned.items():
        texts = method.text(params, clip, inputs)  # (C, F)
        features = jnp.asarray(encoded.features[str(member)])  # (n, F)
        logits = np.asarray(class_logits(features, texts, clip.params["logit_scale"]))
        tokens, count = method.prompt_tokens(params), count_parameters(params)
        contenders[member] = Contender(logits, encoded.labels, count, tokens, stage.seconds)
    return contenders


def _hand_set(bench: Bench, name: str, lengths: Lengths | None) -> dict[Member, Contender]:
    given = {
        member: _random_lengths(bench, member.seed) if lengths is None else lengths
        for member in bench.members
    }
    # Nobody searched them, so there is no supernet to go on from.
    bench = bench.with_settings("train", {"final": "discrete", "start": "random"})
    stage = run_train(_whole_budget(bench), name, given)
    return _discrete(bench, stage, given, stage.seconds)


def _searched(bench: Bench, name: str, entry: Searched) -> dict[Member, Contender]:
    settings = search_settings(entry)
    bench = bench.with_settings("search", entry.search)
    label = "-".join(f"{field}={value}" for field, value in settings.items()).replace(".", "_")
    search = run_search(bench, f"search-{label or 'default'}")
    lengths = chosen_lengths(bench.config, bench.searching, search.outcomes)
    nets = finished_supernets(bench.config, search.outcomes)
    contenders = _finished(bench, name, entry, lengths, nets, search.seconds)
    return {
        member: each._replace(details={"lengths": lengths[member]} | _sureness(nets[member]))
        for member, each in contenders.items()
    }


def _finished(
    bench: Bench,
    name: str,
    entry: Searched,
    lengths: Mapping[Member, Lengths],
    nets: Mapping[Member, Params],
    seconds: float | None,
) -> dict[Member, Contender]:
    """What is made of searched supernets; ``seconds`` are the search's."""
    if name == "discretised":
        rows = {m: inherit_rows(nets[m]["prompts"], own) for m, own in lengths.items()}
        prompts = {m: discrete(rows[m], own) for m, own in lengths.items()}
        return _contenders(bench, prompts, rows, lengths, seconds)
    if entry.train is None:
        return _mixtures(bench, nets, seconds)
    bench = _whole_budget(bench) if entry.whole else bench.with_settings("train", entry.train)
    stage = run_train(bench, name, lengths, nets)
    both = seconds + stage.seconds if seconds is not None and stage.seconds is not None else None
    if bench.config.train.final == "mixture":
        nets = {member: found.params for member, found in stage.outcomes.items()}
        return _mixtures(bench, nets, both)
    return _discrete(bench, stage, lengths, both)


def _sureness(supernet: Params) -> dict[str, float]:
    """Mean over the layers of the likeliest length's softmax weight, and of the entropy in nats."""
    confidences = choose_lengths(supernet["alphas"])[1]
    return {
        "confidence": float(np.mean(np.concatenate(list(confidences.values())))),
        "entropy": float(mean_entropy(supernet["alphas"])),
    }


def _discrete(
    bench: Bench, stage: Trained, lengths: Mapping[Member, Lengths], seconds: float | None
) -> dict[Member, Contender]:
    """Contenders of stage 2 with one length a layer."""
    rows = {member: found.params["prompts"] for member, found in stage.outcomes.items()}
    prompts = {member: discrete(rows[member], lengths[member]) for member in rows}
    return _contenders(bench, prompts, rows, lengths, seconds)


def _mixtures(
    bench: Bench, nets: Mapping[Member, Params], seconds: float | None
) -> dict[Member, Contender]:
    """Contenders that are whole supernets: all their rows count as prompt tokens."""
    prompts = {member: mixed(**params) for member, params in nets.items()}
    rows = {member: params["prompts"] for member, params in nets.items()}
    found = _contenders(bench, prompts, rows, None, seconds)
    return {
        member: each._replace(parameters=count_parameters(nets[member]))
        for member, each in found.items()
    }


def _contenders(
    bench: Bench,
    prompts: Mapping[Member, TowerPrompts],
    rows: Mapping[Member, Mapping[str, jax.Array]],
    lengths: Mapping[Member, Lengths] | None,
    seconds: float | None,
) -> dict[Member, Contender]:
    """Contenders of key and value prompts ``rows`` (N, K, D); without lengths all rows count."""
    inputs = bench.training.inputs
    methods = {str(member): each for member, each in prompts.items()}
    found = predict(inputs.clip, inputs.sampled, inputs.sampled.test, methods, bench.config)
    contenders = {}
    for member, own in rows.items():
        tokens, details = sum(leaf[..., 0].size for leaf in own.values()), {}
        count = sum(leaf.size for leaf in own.values())
        if lengths is not None:
            chosen, widths = lengths[member], inputs.clip.config.widths
            tokens, details = prompt_tokens(chosen), {"lengths": chosen}
            count = sum(int(np.sum(chosen[tower])) * widths[tower] for tower in chosen)
        contenders[member] = Contender(
            found.logits[str(member)], found.labels, count, tokens, seconds, details
        )
    return contenders


def _whole_budget(bench: Bench) -> Bench:
    """With as many epochs as search and stage 2 of DPL have together."""
    epochs = bench.config.search.epochs + bench.config.train.epochs
    return bench.with_settings("train", {"epochs": epochs})


def _random_lengths(bench: Bench, seed: int) -> Lengths:
    """As many prompt tokens as the seed's DPL, laid out at random."""
    found = read_json(bench.run.path / "dpl.json")["seeds"][str(seed)]
    longest = bench.config.search.max_context_length
    layers = bench.training.inputs.clip.config.layers
    return random_lengths(layers, longest, prompt_tokens(found["lengths"]), seed)


def _frozen(bench: Bench) -> tuple[dict[int, Seen], Features]:
    """Frozen features of what every seed may see, and of the test images."""
    encode_items: Callable[[tuple[Item, ...]], Features] = functools.cache(
        lambda items: frozen_features(bench.training.inputs.clip, items, bench.config)
    )
    seen = {}
    for member in bench.members:
        shots, own = bench.training.samples[member.seed], bench.searching.samples[member.seed]
        seen[member.seed] = Seen(*map(encode_items, (shots.train, own.train, own.val)))
    return seen, encode_items(bench.training.inputs.sampled.test)


def _scored(contender: Contender) -> dict[str, Any]:
    numbers = contender._asdict()
    scores = score(numbers.pop("logits"), numbers.pop("labels"))
    images = {"images": len(contender.labels)}
    details = numbers.pop("details")
    return images | scores | numbers | dict(details)


@functools.partial(jax.jit, static_argnums=0)
def _learned_features(
    method: Method, params: Any, clip: Any, inputs: Any, images: jax.Array
) -> jax.Array:
    return method.image(params, clip, inputs, images)
