"""Whatever is wrong with the data or the weights is told before the first job."""

from __future__ import annotations

from collections.abc import Mapping

from ml_collections import ConfigDict

from dpl_jax.clip.model import find_folder
from dpl_jax.data.check import check
from dpl_jax.data.load import load_dataset, sample
from dpl_jax.errors import DataError, DplError

LISTED = 3  # missing files of a dataset that are told


def check_ready(configs: Mapping[str, ConfigDict], shots: int, seed: int) -> None:
    """Lists every dataset and looks for its files; no image is opened.

    Args:
      configs: by dataset.
      shots: the most that will be asked of any.
      seed: of a few-shot sample.

    Raises:
      DataError: naming everything that is wrong.
    """
    problems = []
    for name, config in configs.items():
        try:
            find_folder(config.clip.path, config.clip.revision or None)
            _check_data(config, shots, seed)
        except DplError as error:
            problems.append(f"\n- {name}: {error}")
    if problems:
        raise DataError(
            f"No job was started: {len(problems)} of {len(configs)} datasets cannot be used."
            f"{''.join(problems)}"
        )


def _check_data(config: ConfigDict, shots: int, seed: int) -> None:
    config = config.copy_and_resolve_references()
    config.data.shots = shots
    dataset = load_dataset(config.data)
    sample(dataset, config.data, seed=seed)
    problems = check(dataset, read=False).problems
    if problems:
        told = "; ".join(problems[:LISTED])
        raise DataError(
            f"{len(problems)} of its images are missing ({told}{', ..' * (len(problems) > LISTED)})"
            ". python -m dpl_jax.data check lists them."
        )
