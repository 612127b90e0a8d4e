"""From the config's ``data`` fields to a dataset, and from a dataset to the task of a run."""

from __future__ import annotations

import dataclasses
import functools
import sys
from pathlib import Path

from ml_collections import ConfigDict

from dpl_jax.data.class_texts import name_remarks
from dpl_jax.data.coop.layouts import LAYOUTS, read_coop
from dpl_jax.data.digits import read_digits
from dpl_jax.data.fewshot import sample_few_shot, short_classes
from dpl_jax.data.folder import read_folder
from dpl_jax.data.folder_layout import listed
from dpl_jax.data.split import Dataset, subsample_classes
from dpl_jax.data.templates import TEMPLATES, check_template
from dpl_jax.data.tfds_source import read_tfds
from dpl_jax.errors import DataError
from dpl_jax.files.printable import printable
from dpl_jax.runtime.processes import is_first


def load_dataset(data: ConfigDict, own_split: Path | None = None) -> Dataset:
    """Lists the whole dataset that ``config.data`` names: no image is opened.

    Args:
        data: see :mod:`dpl_jax.config`.
        own_split: a run's split.json, to keep to whatever the folders hold now.

    Raises:
        DataError: an unknown name or a dataset that cannot be used.
        DataNotFoundError: the files are not where the message says they were looked for.
    """
    if data.source not in ("files", "tfds"):
        raise DataError(f'data.source is {data.source!r}; it must be "files" or "tfds".')
    labels = data.get("labels", "")  # which runs of older versions do not have
    if labels and data.name != "folder":
        raise DataError(f"data.labels is for --config=folder; data.name is {data.name!r}.")
    if data.name == "digits":
        dataset = read_digits()
    elif data.name == "folder":
        dataset = read_folder(data.root, labels, own_split)
    elif data.name not in LAYOUTS:
        raise DataError(f"data.name is {data.name!r}; known are {', '.join(sorted(TEMPLATES))}.")
    elif data.source == "tfds":
        dataset = read_tfds(data.name, data.tfds_dir, data.root, data.split_file)
    else:
        dataset = read_coop(data.name, data.root, str(own_split or data.split_file))
    template = check_template(data.template or dataset.template)
    return dataclasses.replace(dataset, template=template)


def sample(dataset: Dataset, data: ConfigDict, *, seed: int, hold_out: bool = True) -> Dataset:
    """Returns the task of a run: few-shot train and val, then base or new classes; test whole.

    Args:
        hold_out: for a source without validation images, whether part of the few-shot train set
            becomes val (the search) or all of it stays in train (stage 2).

    Raises:
        DataError: too few images for the shots, no test images, or an unknown choice of classes.
    """
    train, val = sample_few_shot(
        dataset.train,
        dataset.val,
        data.shots,
        seed,
        allow_fewer=data.allow_fewer_shots,
        hold_out=hold_out,
    )
    sampled = subsample_classes(dataclasses.replace(dataset, train=train, val=val), data.classes)
    check_test_images(sampled)
    return sampled


def check_test_images(dataset: Dataset) -> None:
    """Says before a run, not at its end, that there is nothing to measure it on.

    Raises:
        DataError: there are no test images.
    """
    if not dataset.test:
        raise DataError(
            f"{dataset.name} has no test images, so that no accuracy can be measured; see "
            "docs/datasets.md for where they are looked for."
        )


def remarks(dataset: Dataset, data: ConfigDict) -> list[str]:
    """What will limit a run, a sentence each: classes with few or no images, or odd names."""
    said = []
    short = short_classes(dataset.train, data.shots) if dataset.train else ""
    if short and not data.allow_fewer_shots:
        said.append(
            f"data.shots is {data.shots}, more training images than some classes have: {short}. "
            "Set --config.data.shots to fewer, or --config.data.allow_fewer_shots=true."
        )
    return said + _untested(dataset) + _name_remarks(dataset, data)


def _name_remarks(dataset: Dataset, data: ConfigDict) -> list[str]:
    """Of one's own images alone: the names of the other datasets are the published ones."""
    numbers = data.get("labels", "") and all(map(str.isdecimal, dataset.classnames))
    if data.name != "folder" or numbers:  # of numbers in a list its reader tells
        return []
    return name_remarks(dataset)


def _untested(dataset: Dataset) -> list[str]:
    tested = {item.label for item in dataset.test}
    untested = [name for label, name in enumerate(dataset.classnames) if label not in tested]
    if not dataset.test or not untested:
        return []
    return [
        f"{len(untested)} of {len(dataset.classnames)} classes have no test images, so that "
        f"their accuracy is not measured: {listed(untested, ending='')}."
    ]


def tell(dataset: Dataset, config: ConfigDict) -> None:
    """Prints on stderr, before a run, what images of one's own were taken for."""
    data = config.data
    if data.name != "folder" or config.progress == "off" or not is_first():
        return
    counts = f"{len(dataset.train)} training, {len(dataset.val)} validation and"
    _say_once(
        f"{data.root}: {dataset.split}. {len(dataset.classnames)} classes, {counts} "
        f"{len(dataset.test)} test images."
    )
    # Too few images for the shots are an error right after.
    for remark in (*_untested(dataset), *_name_remarks(dataset, data)):
        _say_once(remark)


@functools.cache
def _say_once(text: str) -> None:
    """Comparisons and protocols load the same images for each of their runs."""
    print(printable(text), file=sys.stderr)
