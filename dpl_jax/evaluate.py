"""Accuracy of a finished run beside zero-shot CLIP, on images it has not learned from."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dpl_jax.clip.features import NO_PROMPTS
from dpl_jax.data.folder_layout import listed
from dpl_jax.data.own_split import training_images
from dpl_jax.data.split import list_hash
from dpl_jax.errors import RunFolderError
from dpl_jax.files.json import explained_writes, write_json
from dpl_jax.inference.encode import Predicted, predict
from dpl_jax.inference.trained import load_trained, read_results
from dpl_jax.report import report_at_end
from dpl_jax.runs.links import refuse_links
from dpl_jax.runs.lock import lock_folder
from dpl_jax.runs.measured import Measured, measured
from dpl_jax.runs.predictions import Predictions, save_predictions
from dpl_jax.runtime.processes import is_first
from dpl_jax.summary.scores import score

LOG = logging.getLogger(__name__)


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
    before = read_results(run)
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
        if read_results(run) | {"evaluations": {}} != before | {"evaluations": {}}:
            raise RunFolderError(f"{run} was trained further meanwhile; evaluate it again.")
        results = read_results(run)
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
