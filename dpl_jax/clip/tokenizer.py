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

from dpl_jax.clip.config import LEGACY_EOS_ID
from dpl_jax.errors import TextTooLongError, WeightsError, WeightsNotFoundError
from dpl_jax.files import limits
from dpl_jax.files.json import read_json
from dpl_jax.files.regular import read_bytes


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """Turns texts into token ids; the files are read at the first use.

    Attributes:
      folder: where the tokenizer's files lie.
      max_length: positions of the text tower.
      words: ids that the text tower knows; None before there is one.
      end: id of the end-of-text that the text tower reads; ``LEGACY_EOS_ID`` for the largest of
        each text.
    """

    folder: str
    max_length: int
    words: int | None = None
    end: int = LEGACY_EOS_ID

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Tokenizes ``texts`` into (C, S) int32, S the longest, padded behind the end-of-text.

        Raises:
          TextTooLongError: naming the first text that needs more than ``max_length`` tokens.
          WeightsError: when the tokenizer cannot be read, or is not that of these weights.
        """
        tokenizer = _load(self.folder)
        self._check_belongs(tokenizer)
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
        if self.words is not None and ids.size and not 0 <= ids.min() <= ids.max() < self.words:
            raise WeightsError(
                f"{self.folder}: the tokenizer gives ids up to {ids.max()}, but config.json has a "
                f"vocab_size of {self.words}; the files belong to different checkpoints."
            )
        return ids

    def _check_belongs(self, tokenizer: Any) -> None:
        """Raises WeightsError where the text tower would look for another end-of-text, or words."""
        words, end = len(tokenizer), tokenizer.eos_token_id
        wrong = ""
        if self.words is not None and words != self.words:
            wrong = f"has {words} words, but the text tower has a vocab_size of {self.words}"
        elif self.end not in (end, LEGACY_EOS_ID):
            wrong = f"ends texts with {end}, but the text tower reads the eos_token_id {self.end}"
        elif self.end == LEGACY_EOS_ID != end and end != words - 1:
            wrong = (
                f"ends texts with {end}, but the text tower reads the largest id, which is "
                f"{words - 1} (eos_token_id {self.end} in config.json)"
            )
        if wrong:
            raise WeightsError(
                f"{self.folder}: the tokenizer {wrong}. The files belong to different checkpoints: "
                "take the tokenizer's files and config.json from where the weights are from."
            )

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
    _check_files(Path(folder))
    # Without torch, transformers otherwise remarks on it at every start.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    with warnings.catch_warnings():
        # In a notebook without ipywidgets, tqdm would remark on its plain progress bars.
        warnings.filterwarnings("ignore", message="IProgress not found")
        from transformers import CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the engine behind it raises bare Exceptions
        raise WeightsError(
            f"{folder}: the tokenizer cannot be read ({error!s:.300}); download its files again."
        ) from error
    if not isinstance(tokenizer.eos_token_id, int):
        raise WeightsError(f"{folder}: the tokenizer has no end-of-text; download it again.")
    return tokenizer


def _check_files(folder: Path) -> None:
    """Refuses files that no tokenizer has, before the libraries read them whole.

    Raises:
      WeightsError: naming the file.
    """
    try:
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            if (folder / name).exists() and not isinstance(read_json(folder / name), dict):
                raise ValueError(f"{folder / name} holds no mapping")
        if (folder / "vocab.json").exists():
            _check_vocabulary(read_json(folder / "vocab.json"))
        if (folder / "merges.txt").exists():
            read_bytes(folder / "merges.txt", limits.TEXT_BYTES).decode("utf-8")
    except (ValueError, OSError) as error:
        raise WeightsError(f"{folder}: the tokenizer cannot be read ({error}).") from error


def _check_vocabulary(words: Any) -> None:
    if not isinstance(words, dict) or not 0 < len(words) <= limits.CLIP_WORDS:
        raise ValueError("vocab.json is no mapping from words to ids")
    for word, number in words.items():
        if type(number) is not int or not 0 <= number <= limits.CLIP_WORDS:
            raise ValueError(f"vocab.json: {word!r:.50} has the id {number!r:.50}")
