"""The few-shot samples of several seeds in one bank of images, and the order each seed sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from dpl_jax.config import check_config
from dpl_jax.data.load import sample, tell
from dpl_jax.data.order import steps_per_epoch, train_order, validation_order
from dpl_jax.data.own_split import save_lists
from dpl_jax.data.split import Dataset, Item
from dpl_jax.errors import ConfigError
from dpl_jax.files.json import explained_writes
from dpl_jax.runs.results import provenance
from dpl_jax.training.inputs import Inputs, list_images, prepare_inputs

# Positions (n,) in the bank of the images of each seed.
Rows = dict[int, np.ndarray]


class SeedBank(NamedTuple):
    """What members with several seeds read.

    Attributes:
      inputs: as of one run, with the images of all seeds.
      samples: the few-shot task of each seed.
      train: the positions of each seed's train images among ``inputs.train``.
      val: likewise; of no image where there is no validation.
    """

    inputs: Inputs
    samples: dict[int, Dataset]
    train: Rows
    val: Rows

    def steps_per_epoch(self, batch_size: int) -> int:
        """Steps in one epoch, the same for every seed."""
        return steps_per_epoch(_images(self.train), batch_size)

    def train_orders(self, seeds: Sequence[int], batch_size: int, epoch: int) -> np.ndarray:
        """(steps, M, B) positions in the bank: what each seed alone would train on."""
        images = _images(self.train)
        return np.stack(
            [self.train[seed][train_order(images, batch_size, seed, epoch)] for seed in seeds],
            axis=1,
        )

    def validation_orders(
        self, seeds: Sequence[int], batch_size: int, steps: int, epoch: int
    ) -> np.ndarray:
        """(steps, M, B) positions in the bank of validation images."""
        images = _images(self.val)
        return np.stack(
            [
                self.val[seed][validation_order(images, batch_size, steps, seed, epoch)]
                for seed in seeds
            ],
            axis=1,
        )


def load_seed_bank(
    config: ConfigDict,
    seeds: Sequence[int],
    *,
    hold_out: bool,
    workdir: str | Path | None = None,
) -> SeedBank:
    """Samples the task once for each seed and loads every image that any of them needs, once.

    Args:
      config: see :mod:`dpl_jax.config`; ``config.seed`` does not matter.
      seeds: of the members.
      hold_out: as in :func:`dpl_jax.training.inputs.load_inputs`.
      workdir: of the run; what it has started with is its split.

    Raises:
      ConfigError: when the seeds' samples differ in size, or an image cannot be read.
    """
    check_config(config)
    full = list_images(config.data, [workdir])
    tell(full, config)
    samples = {seed: sample(full, config.data, seed=seed, hold_out=hold_out) for seed in seeds}
    train, train_rows = _union({seed: dataset.train for seed, dataset in samples.items()})
    val, val_rows = _union({seed: dataset.val for seed, dataset in samples.items()})
    joined = dataclasses.replace(samples[seeds[0]], train=train, val=val)
    inputs = prepare_inputs(config, full, joined)
    unread = len(train) - len(inputs.train)
    unread += len(val) - len(inputs.val) if inputs.val is not None else 0
    if unread:
        raise ConfigError(
            f"{unread} of the sampled images cannot be read, and members need all of theirs: "
            "find them with `python -m dpl_jax.data check`, and replace or remove them."
        )
    return SeedBank(inputs, samples, train_rows, val_rows)


def seed_bank_provenance(config: ConfigDict, bank: SeedBank, devices: int) -> dict[str, Any]:
    """:func:`dpl_jax.runs.results.provenance`, but with the sampled images of every seed.

    Args:
      config: of the run.
      bank: the images of all seeds.
      devices: how many share out the members.
    """
    of_seeds = {
        seed: provenance(config, bank.inputs.clip, sampled, devices)
        for seed, sampled in bank.samples.items()
    }
    common = dict(next(iter(of_seeds.values())))
    del common["seed"]
    files = {seed: each["sampled_files"] for seed, each in of_seeds.items()}
    return common | {"sampled_files": files}


def save_samples(folder: Path, bank: SeedBank) -> None:
    """Records each seed's sample in ``folder/seedN/sampled.json``, and the first's as the split."""
    save_lists(folder, bank.inputs.full, next(iter(bank.samples.values())))
    for seed, sampled in bank.samples.items():
        own = folder / f"seed{seed}"
        with explained_writes(own):
            own.mkdir(exist_ok=True)
        save_lists(own, bank.inputs.full, sampled)


def _union(lists: Mapping[int, tuple[Item, ...]]) -> tuple[tuple[Item, ...], Rows]:
    """All items of several lists, each once, and where those of each list are."""
    sizes = {seed: len(items) for seed, items in lists.items()}
    if len(set(sizes.values())) > 1:
        raise ConfigError(
            f"The samples of the seeds differ in size ({sizes}); members need equal ones. "
            "Run these seeds one by one."
        )
    position: dict[Item, int] = {}
    for items in lists.values():
        for item in items:
            position.setdefault(item, len(position))
    rows = {
        seed: np.array([position[item] for item in items], np.int32)
        for seed, items in lists.items()
    }
    return tuple(position), rows


def _images(rows: Rows) -> int:
    return len(next(iter(rows.values())))
