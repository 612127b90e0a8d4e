"""From the config's ``data`` fields to a dataset, and from a dataset to the task of a run."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from dpl_jax.data.coop.layouts import LAYOUTS, read_coop
from dpl_jax.data.digits import read_digits
from dpl_jax.data.errors import DataError
from dpl_jax.data.fewshot import sample_few_shot
from dpl_jax.data.folder import read_folder
from dpl_jax.data.split import Dataset, subsample_classes
from dpl_jax.data.templates import TEMPLATES, check_template
from dpl_jax.data.tfds_source import read_tfds


def load_dataset(data: ConfigDict) -> Dataset:
    """Lists the whole dataset that ``config.data`` names: no image is opened.

    Raises:
        DataError: an unknown name or a dataset that cannot be used.
        DataNotFoundError: the files are not where the message says they were looked for.
    """
    if data.source not in ("files", "tfds"):
        raise DataError(f'data.source is {data.source!r}; it must be "files" or "tfds".')
    if data.name == "digits":
        dataset = read_digits()
    elif data.name == "folder":
        dataset = read_folder(data.root)
    elif data.name not in LAYOUTS:
        raise DataError(f"data.name is {data.name!r}; known are {', '.join(sorted(TEMPLATES))}.")
    elif data.source == "tfds":
        dataset = read_tfds(data.name, data.tfds_dir, data.root, data.split_file)
    else:
        dataset = read_coop(data.name, data.root, data.split_file)
    template = check_template(data.template or dataset.template)
    return dataclasses.replace(dataset, template=template)


def sample(dataset: Dataset, data: ConfigDict, *, seed: int, hold_out: bool = True) -> Dataset:
    """Returns the task of a run: few-shot train and val, then base or new classes; test whole.

    Args:
        hold_out: for a source without validation images, whether part of the few-shot train set
            becomes val (the search) or all of it stays in train (stage 2).

    Raises:
        DataError: too few images for the shots, or an unknown choice of classes.
    """
    train, val = sample_few_shot(
        dataset.train,
        dataset.val,
        data.shots,
        seed,
        allow_fewer=data.allow_fewer_shots,
        hold_out=hold_out,
    )
    return subsample_classes(dataclasses.replace(dataset, train=train, val=val), data.classes)
