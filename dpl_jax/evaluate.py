"""Accuracy of a finished run beside zero-shot CLIP, on images it has not learned from."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dpl_jax.clip.features import (
    NO_PROMPTS,
    TowerPrompts,
    class_logits,
    image_features,
    text_features,
)
from dpl_jax.clip.model import Clip
from dpl_jax.config import with_absolute_paths
from dpl_jax.data.folder_layout import listed
from dpl_jax.data.own_split import training_images
from dpl_jax.data.split import Dataset, Item, list_hash
from dpl_jax.data.stream import evaluation_batches
from dpl_jax.data.transforms import normalise
from dpl_jax.errors import CheckpointError, ConfigError, RunFolderError
from dpl_jax.files.json import explained_writes, read_json, write_json
from dpl_jax.prompts.alphas import finished_alphas
from dpl_jax.prompts.checks import check_alphas, check_prompt_lengths, check_prompts
from dpl_jax.prompts.learned import Discrete, Supernet
from dpl_jax.report import report_at_end
from dpl_jax.runs import checkpoints
from dpl_jax.runs.folder import HARMLESS, config_differences, read_whole_config, within
from dpl_jax.runs.links import refuse_links
from dpl_jax.runs.lock import lock_folder
from dpl_jax.runs.measured import Measured, measured
from dpl_jax.runs.predictions import Predictions, save_predictions
from dpl_jax.runs.results import check_weights
from dpl_jax.runtime.mesh import data_mesh
from dpl_jax.runtime.processes import gather_parts, is_first, own_part
from dpl_jax.runtime.progress import progress
from dpl_jax.summary.scores import score
from dpl_jax.training.inputs import class_texts, load_on

LOG = logging.getLogger(__name__)
# Where a run's files are: they may lie elsewhere when it is evaluated, if they are the same.
MOVABLE = (
    "clip.path",
    "data.root",
    "data.tfds_dir",
    "data.split_file",
    "data.skip_unreadable",
    "data.max_pixels",
)


# Normalised images (B, H, W, 3) to features (B, F).
Encoder = Callable[[jax.Array], jax.Array]


class Encoded(NamedTuple):
    """Features of the images that could be read.

    Attributes:
      features: (n, F) of each encoder, float32, not normalised.
      labels: (n,).
      read: (items,) bool; an unreadable image that was skipped has False, and no features.
    """

    features: dict[str, np.ndarray]
    labels: np.ndarray
    read: np.ndarray


class Predicted(NamedTuple):
    """Class logits (n, C) of each method; else as :class:`Encoded`."""

    logits: dict[str, np.ndarray]
    labels: np.ndarray
    read: np.ndarray


class Trained(NamedTuple):
    """A finished run.

    Attributes:
      config: of the run.
      clip: frozen.
      params: what it has learned, as :func:`as_prompts` takes it.
    """

    config: ConfigDict
    clip: Clip
    params: dict[str, Any]

    @property
    def prompts(self) -> TowerPrompts:
        """Both towers' view of the prompts that the run ended with."""
        return as_prompts(self.params)


def load_trained(
    run: Path,
    clip_place: str | None = None,
    change: Callable[[ConfigDict], None] | None = None,
) -> Trained:
    """Loads a finished search (its supernet) or training (its prompts).

    Args:
      run: its folder.
      clip_place: folder or hub id of its CLIP; None for the one of its config.
      change: changes the run's config in place, in fields that leave the run what it is:
        :data:`MOVABLE` say where its files are now.

    Raises:
      RunFolderError: when ``run`` is no run, or has not finished.
      CheckpointError: when it has no good checkpoint.
      WeightsError: when the CLIP is not the one that it was trained with.
      ConfigError: for a change of another field.
    """
    config = read_whole_config(run)
    if change is not None:
        config = _changed(config, change)
    if not (run / "results.json").is_file():
        raise RunFolderError(
            f"{run} has no results.json, so it has not finished; start its command again with "
            f"--workdir={run} and it goes on where it stopped."
        )
    if clip_place is not None:
        config.clip.path, config.clip.revision = clip_place, ""
    clip = load_on(data_mesh(config.get("devices", 0), processes=1), config)
    tree = checkpoints.load(run).tree
    params = _learned(tree, clip, run)
    check_weights(clip, _clip_sha256(run))
    if "alphas" in params and _read_results(run)["kind"] == "search":
        params["alphas"] = finished_alphas(params["alphas"], config.search)
    return Trained(config, clip, params)


def _changed(config: ConfigDict, change: Callable[[ConfigDict], None]) -> ConfigDict:
    changed = config.copy_and_resolve_references()
    change(changed)
    changed = with_absolute_paths(changed)
    for name, (old, new) in config_differences(config.to_dict(), changed.to_dict()).items():
        if not within(name, (*MOVABLE, *HARMLESS)):
            raise ConfigError(
                f"{name} is {old!r} in the run and cannot be {new!r} in its evaluation: it says "
                "what the run is. To measure on other images or classes, give --config=FILE."
            )
    return changed


def _clip_sha256(run: Path) -> str:
    try:
        return str(_read_results(run)["clip"]["sha256"])
    except (KeyError, TypeError) as error:
        raise RunFolderError(
            f"{run / 'results.json'} does not tell which weights the run was trained with."
        ) from error


def _learned(tree: Mapping[str, Any], clip: Clip, run: Path) -> dict[str, Any]:
    """Prompts with their lengths or alphas from a checkpoint, on the device.

    Raises:
      CheckpointError: when it holds none that fit the CLIP.
    """
    try:
        params = dict(tree["params"])
        check_prompts(params["prompts"], clip.sizes)
        if "alphas" in params:
            check_alphas(params["alphas"], clip.sizes)
        else:
            params["lengths"] = tree["lengths"]
            check_prompt_lengths(params["lengths"], params["prompts"], clip.sizes)
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The newest checkpoint of {run} holds no prompts for {clip.source} ({error})."
        ) from error
    return jax.tree.map(jnp.asarray, params)


def as_prompts(params: Mapping[str, Any]) -> TowerPrompts:
    """Both towers' view of ``{"prompts": .., "lengths": ..}`` or, of a supernet, with "alphas"."""
    if "alphas" in params:
        return Supernet(params["prompts"], params["alphas"]).view()
    return Discrete(params["prompts"], params["lengths"]).view()


def evaluate(
    run: str | Path,
    split: str = "test",
    other: ConfigDict | None = None,
    change: Callable[[ConfigDict], None] | None = None,
) -> dict[str, Any]:
    """Evaluates a finished run and zero-shot CLIP, and adds both to the run's results.json.

    Args:
      run: folder of a search or a training.
      split: "test"; or "train" or "val", the few-shot images of the run.
      other: a config whose ``data`` is evaluated on instead of the run's own: another dataset, or
        the new classes (prompts do not depend on the classes). Says which of the run's training
        images are among them.
      change: see :func:`load_trained`; ``data.root`` and so on say where the images are now.

    Returns:
      ``{"images": n, "sha256": .., "measures": .., "zero_shot": {..}, "dpl": {..}}``, the last two
      as :func:`dpl_jax.summary.scores.score` gives them, and how many of the images of another
      source are ``training_images`` of the run.

    Raises:
      DplError: for anything that the user can put right; the message says how.
    """
    run = Path(run)
    refuse_links(run)
    trained = load_trained(run, change=change)
    before = _read_results(run)
    which = measured(run, trained.config, split, other)
    methods = {"zero_shot": NO_PROMPTS, "dpl": trained.prompts}
    found = predict(trained.clip, which.dataset, which.items, methods, trained.config)
    scores = {method: score(logits, found.labels) for method, logits in found.logits.items()}
    result = {
        "images": len(found.labels),
        "sha256": list_hash(which.items),
        "measures": which.measures,
        **({} if other is None else {"training_images": _seen_in_training(which, run)}),
        **scores,
    }
    if not is_first():
        return result
    predictions = as_predictions(found, which)
    with explained_writes(run), lock_folder(run, wait=True):  # others may evaluate it too
        if _read_results(run) | {"evaluations": {}} != before | {"evaluations": {}}:
            raise RunFolderError(f"{run} was trained further meanwhile; evaluate it again.")
        results = _read_results(run)
        evaluations = results.setdefault("evaluations", {})
        name = which.name(evaluations)
        save_predictions(run / "predictions" / f"{name}.npz", predictions)
        evaluations[name] = result
        write_json(run / "results.json", results)
    report_at_end(run, trained.config)
    return result


def _seen_in_training(which: Measured, run: Path) -> int:
    """How many of the images the run was trained on, or chose its lengths by; warns of them."""
    seen = training_images(which.items, run)
    if seen:
        names = listed([item.name for item in seen], ending="")
        LOG.warning(
            "%d of the %d %s images are training images of %s, so that their accuracy says little "
            "of new ones: %s.",
            len(seen),
            len(which.items),
            which.split,
            run,
            names,
        )
    return len(seen)


def _read_results(run: Path) -> dict[str, Any]:
    """A finished run's results.json.

    Raises:
      RunFolderError: when it is damaged or missing.
    """
    try:
        results = read_json(run / "results.json")
        if not isinstance(results, dict) or "kind" not in results:
            raise ValueError(f"{run / 'results.json'} is no result of a run.")
    except (ValueError, FileNotFoundError) as error:
        raise RunFolderError(
            f"{error} The command of the run, started again with --workdir={run}, writes it anew."
        ) from error
    return results


def predict(
    clip: Clip,
    dataset: Dataset,
    items: Sequence[Item],
    methods: Mapping[str, TowerPrompts],
    config: ConfigDict,
) -> Predicted:
    """Class logits of several prompts in one pass over the images, read ahead in batches.

    Args:
      clip: a frozen CLIP.
      dataset: for its classes and template.
      items: images to classify.
      methods: the prompts of each method by its name.
      config: of the run.
    """
    classes = class_texts(clip, dataset)
    encoders = {
        name: functools.partial(image_features, clip, prompts=method["image"])
        for name, method in methods.items()
    }
    encoded = encode(clip, items, encoders, config)
    scale, logits = clip.params["logit_scale"], {}
    for name, method in methods.items():
        texts = text_features(clip, classes, method["text"])  # (C, F)
        features = jnp.asarray(encoded.features[name])  # (n, F)
        logits[name] = np.asarray(class_logits(features, texts, scale))
    return Predicted(logits, encoded.labels, encoded.read)


def encode(
    clip: Clip, items: Sequence[Item], encoders: Mapping[str, Encoder], config: ConfigDict
) -> Encoded:
    """Image features by several encoders in one pass over the images, read ahead in batches.

    Of several processes each reads and encodes its part of the images, and all get the whole.

    Args:
      clip: a frozen CLIP, for its test transform.
      items: images.
      encoders: by name.
      config: of the run.
    """
    preprocessing = clip.preprocessing
    features: dict[str, list[np.ndarray]] = {name: [] for name in encoders}
    labels: list[np.ndarray] = []
    reads: list[np.ndarray] = []
    data, own = config.data, items[own_part(len(items))]
    reading = {name: data[name] for name in ("skip_unreadable", "max_pixels", "workers")}
    size = max(min(config.evaluate.batch_size, len(own)), 1)
    with progress(len(own), "evaluate", config.progress if is_first() else "off") as bar:
        for batch in evaluation_batches(own, preprocessing, size, **reading):
            read = batch.weights > 0  # (B,)
            images = normalise(jnp.asarray(batch.images), preprocessing.mean, preprocessing.std)
            for name, encoder in encoders.items():
                features[name].append(np.asarray(encoder(images))[read])
            labels.append(batch.labels[read])
            reads.append(read)
            bar.update(min(len(labels) * size, len(own)))
    joined = {name: np.concatenate(batches) for name, batches in features.items()}
    joined, of_read = gather_parts((joined, np.concatenate(labels)), len(items))
    return Encoded(joined, of_read, gather_parts(np.concatenate(reads)[: len(own)], len(items)))


def as_predictions(found: Predicted, which: Measured) -> Predictions:
    """What is kept of the prediction of some images."""
    items = itertools.compress(which.items, found.read)
    return Predictions(
        dataset=which.dataset.name,
        split=which.split,
        data=which.data.to_dict(),
        classnames=which.dataset.classnames,
        names=tuple(item.name for item in items),
        labels=found.labels,
        logits=found.logits,
    )
