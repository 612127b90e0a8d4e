"""CLIP's tokenizer, read from the folder of the weights."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dpl_jax.clip.config import LEGACY_EOS_ID, TextConfig
from dpl_jax.errors import TextTooLongError, WeightsNotFoundError


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """Turns texts into token ids; the files are read at the first use.

    Attributes:
      folder: where the tokenizer's files lie.
      max_length: positions of the text tower.
    """

    folder: str
    max_length: int

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Tokenizes ``texts`` into (C, S) int32, S the longest, padded behind the end-of-text.

        Raises:
          TextTooLongError: naming the first text that needs more than ``max_length`` tokens.
        """
        tokenizer = _load(self.folder)
        rows = [tokenizer(text)["input_ids"] for text in texts]
        for text, row in zip(texts, rows, strict=True):
            if len(row) > self.max_length:
                raise TextTooLongError(
                    f'The text "{text}" has {len(row)} tokens, more than the '
                    f"{self.max_length} positions of the text tower; shorten the class name or "
                    "the template."
                )
        ids = np.full((len(rows), max(map(len, rows), default=0)), tokenizer.eos_token_id, np.int32)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
        return ids


@functools.lru_cache(maxsize=8)
def _load(folder: str) -> Any:
    if not any((Path(folder) / name).is_file() for name in ("vocab.json", "tokenizer.json")):
        raise WeightsNotFoundError(
            f"{folder} has no tokenizer (vocab.json and merges.txt, or tokenizer.json); put the "
            "files of the CLIP repository there."
        )
    # Without torch, transformers otherwise remarks on it at every start.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def end_positions(input_ids: jax.Array | np.ndarray, config: TextConfig) -> Any:
    """Position (C,) of each row's first end-of-text token, as transformers finds it.

    CLIP pads with the end-of-text token itself, so it must be the first one. Configs with the
    legacy id 2 mean the largest id of the row.
    """
    if config.eos_token_id == LEGACY_EOS_ID:
        return input_ids.argmax(axis=-1)
    return (input_ids == config.eos_token_id).argmax(axis=-1)


def cut_to_longest(input_ids: np.ndarray, config: TextConfig) -> np.ndarray:
    """Cuts (C, S) behind the last end-of-text of any row.

    Exact: the mask is causal and only end-of-text rows are read, so nothing behind them counts.
    """
    return input_ids[:, : int(end_positions(input_ids, config).max()) + 1]
