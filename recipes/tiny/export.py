"""From the recipe to a folder with the CLIP and the record of its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_collections

from dpl_jax.files.json import write_json
from recipes.clip_folder import describe, new_folder, write_clip
from recipes.tiny.assess import assess
from recipes.tiny.captions import all_captions
from recipes.tiny.train import pretrain
from recipes.tokenizer_training import write_tokenizer


def pretrain_to(workdir: Path, config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Trains a tiny CLIP by the recipe `config` and writes it to the new folder `workdir`.

    The folder appears only when everything is in it. Returns the training record.

    Raises:
      ConfigError: when `workdir` exists and is not empty.
    """
    with new_folder(workdir) as folder:
        write_tokenizer(folder, all_captions(), config.vocab_size, config.context_length)
        params, sizes, record = pretrain(config, folder)
        write_clip(folder, params, sizes)
        record = describe(config) | record | {"digits_accuracy": assess(folder)}
        write_json(folder / "training.json", record)
    return record
