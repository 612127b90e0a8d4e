"""Whatever is wrong with the data or the weights is told before the first job."""

from __future__ import annotations

from collections.abc import Mapping

from ml_collections import ConfigDict

from dpl_jax.clip.model import find_folder
from dpl_jax.clip.weights import check_sha256
from dpl_jax.data.check import check
from dpl_jax.data.load import load_dataset, sample
from dpl_jax.errors import DataError, DplError
from dpl_jax.studies.sweep.grid import Cell, cell_config

LISTED = 3  # missing files of a dataset that are told
MORE = "; and {} more, which python -m dpl_jax.data check lists"


def check_ready(configs: Mapping[str, ConfigDict], shots: int, seed: int) -> None:
    """Lists every dataset and looks for its files; no image is opened.

    Args:
      configs: by dataset.
      shots: the most that will be asked of any.
      seed: of a few-shot sample.

    Raises:
      DataError: naming everything that is wrong.
    """
    wrong = []
    for name in configs:
        config = cell_config(configs, Cell(name, shots, seed))
        try:
            clip = config.clip
            check_sha256(find_folder(clip.path, clip.revision or None), clip.sha256, clip.path)
            dataset = load_dataset(config.data)
            sample(dataset, config.data, seed=seed)
            problems = check(dataset, read=False).problems
        except DplError as error:
            problems = (str(error),)
        if problems:
            more = MORE.format(len(problems) - LISTED) if len(problems) > LISTED else ""
            wrong.append(f"\n- {name}: {'; '.join(problems[:LISTED])}{more}")
    if wrong:
        raise DataError(
            f"No job was started: {len(wrong)} of {len(configs)} datasets cannot be used."
            f"{''.join(wrong)}"
        )
