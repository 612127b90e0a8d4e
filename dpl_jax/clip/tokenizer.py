"""CLIP's tokenizer, read from the folder of the weights."""

from __future__ import annotations

import dataclasses
import functools
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

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

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The entries of the vocabulary with these ids; "</w>" stands at the end of a word."""
        found: list[str] = _load(self.folder).convert_ids_to_tokens([int(i) for i in ids])
        return found


@functools.lru_cache(maxsize=8)
def _load(folder: str) -> Any:
    if not any((Path(folder) / name).is_file() for name in ("vocab.json", "tokenizer.json")):
        raise WeightsNotFoundError(
            f"{folder} has no tokenizer (vocab.json and merges.txt, or tokenizer.json); put the "
            "files of the CLIP repository there."
        )
    # Without torch, transformers otherwise remarks on it at every start.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    with warnings.catch_warnings():
        # In a notebook without ipywidgets, tqdm would remark on its plain progress bars.
        warnings.filterwarnings("ignore", message="IProgress not found")
        from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
