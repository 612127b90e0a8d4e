"""What an evaluation measures: which images, and the name that its result goes by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from dpl_jax.config import with_absolute_paths
from dpl_jax.data.load import load_dataset, sample
from dpl_jax.data.own_split import SOURCE, check_test, present, run_dataset, same_source
from dpl_jax.data.split import SPLITS, Dataset, Item, list_hash, subsample_classes
from dpl_jax.errors import ConfigError
from dpl_jax.runs.results import data_name


class Measured(NamedTuple):
    """The images of an evaluation.

    Attributes:
      dataset: they are of, for its classes and template.
      split: "train", "val" or "test".
      items: the images, none of them new to a run's own split.
      data: the fields that they were read with.
      label: "test" and so on for the run's own, all of them; else DATASET-CLASSES-SPLIT.
      measures: SHA-256 of all that makes the result one of these images and texts.
    """

    dataset: Dataset
    split: str
    items: Sequence[Item]
    data: ConfigDict
    label: str
    measures: str

    def name(self, evaluations: Mapping[str, Any]) -> str:
        """What the result is called beside others, none of which it takes the place of.

        Args:
          evaluations: of the run's results.json; one that measured the same has the same name.
        """
        known = evaluations.get(self.label)
        if known is None or known.get("measures") == self.measures:
            return self.label
        return f"{self.label}-{self.measures[:8]}"


def measured(
    run: Path, config: ConfigDict, split: str = "test", other: ConfigDict | None = None
) -> Measured:
    """The images that an evaluation of a run measures.

    Args:
      run: folder of a search or a training.
      config: of the run; its ``data.root`` may be another place of the same images.
      split: of :data:`SPLITS`; "train" and "val" are few-shot samples.
      other: a config whose ``data`` is measured instead. Where it reads the images of the run,
        with other classes, say, the split is the run's own too.

    Raises:
      ConfigError: there are no such images.
      RunFolderError: the images are not those that the run was started with.
      DataError: the dataset cannot be listed, or images of it are gone.
    """
    if split not in SPLITS:
        raise ConfigError(f"--split is {split!r}; it must be one of {', '.join(SPLITS)}.")
    data = config.data if other is None else with_absolute_paths(other).data
    own = same_source(data, config.data)
    full = run_dataset(run, data) if own else load_dataset(data)
    if split == "test":  # needs no sample: a dataset may have test images alone
        dataset = subsample_classes(full, data.classes)
    else:
        dataset = sample(full, data, seed=config.seed, hold_out=False)
    if other is None and split == "test":
        check_test(run, dataset)
    items = getattr(dataset, split)
    if not items:
        raise ConfigError(f"{dataset.name} has no {split} images.")
    found = present(items, run, skip=data.skip_unreadable) if own else items
    whole = other is None and len(found) == len(items)
    label = split if other is None else f"{_name(dataset, data)}-{data.classes}-{split}"
    measures = _measures(dataset, split, found, data, whole)
    return Measured(dataset, split, found, data, label, measures)


def _name(dataset: Dataset, data: ConfigDict) -> str:
    """The dataset's name; of a folder of one's own, the folder's."""
    return data_name(data) if dataset.name == "folder" else dataset.name


def _measures(
    dataset: Dataset, split: str, items: Sequence[Item], data: ConfigDict, whole: bool
) -> str:
    """A run's own whole split is the same wherever it lies; other images are of their source."""
    source = {} if whole else {field: data.get(field, "") for field in SOURCE}
    what = [dataset.name, split, dataset.classnames, dataset.template, list_hash(items), source]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
