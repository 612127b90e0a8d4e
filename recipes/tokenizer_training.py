"""Trains a byte-pair tokenizer in CLIP's own file format (vocab.json and merges.txt)."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from tokenizers import Regex, pre_tokenizers

from dpl_jax.clip.tokenizer import Tokenizer
from dpl_jax.errors import TextTooLongError
from recipes.common_words import COMMON_WORDS

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
# What CLIP's tokenizer cuts a lower-case text into before it looks for pairs (openai/CLIP,
# simple_tokenizer.py): contractions, words, single digits, runs of punctuation.
PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_WORD_WEIGHT = 20  # how often a common word counts, so that it is worth its merges


def train_tokenizer(
    captions: Iterable[str], vocab_size: int, context_length: int
) -> dict[str, str]:
    """Contents by file name of a CLIP tokenizer trained on captions and common English words.

    The vocabulary is CLIP's: 256 bytes, 256 bytes that end a word, the merges in order, then start
    and end of text; the end has the largest id, vocab_size - 1.
    """
    corpus = [*captions, *(word for word in COMMON_WORDS for _ in range(_WORD_WEIGHT))]
    merges = _train_merges(corpus, vocab_size - 2 * 256 - 2)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, *(byte + WORD_END for byte in alphabet), *map("".join, merges)]
    pieces += [f"<|unused{i}|>" for i in range(vocab_size - 2 - len(pieces))] + [START, END]
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    return {
        "vocab.json": json.dumps({piece: i for i, piece in enumerate(pieces)}, ensure_ascii=False),
        "merges.txt": "\n".join(lines) + "\n",
        "tokenizer_config.json": json.dumps(_settings(context_length), indent=2),
        "special_tokens_map.json": json.dumps(_SPECIAL, indent=2),
    }


_SPECIAL = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}


def _settings(context_length: int) -> dict[str, object]:
    settings = {"tokenizer_class": "CLIPTokenizer", "do_lower_case": True}
    return settings | {"model_max_length": context_length} | _SPECIAL


def write_tokenizer(
    folder: Path, captions: Iterable[str], vocab_size: int, context_length: int
) -> None:
    """Train the tokenizer and write its files into an existing folder."""
    for name, text in train_tokenizer(captions, vocab_size, context_length).items():
        (folder / name).write_text(text, encoding="utf-8")


def padded_tokenizer(tokenizer: Tokenizer, length: int) -> Callable[[str], np.ndarray]:
    """Returns a cached function from a caption to its ids (length,) int32, padded with the end.

    It raises TextTooLongError for a caption with more than `length` tokens.
    """

    @cache
    def tokenize(caption: str) -> np.ndarray:
        ids = tokenizer([caption])[0]
        if len(ids) > length:
            raise TextTooLongError(
                f"{caption!r} has {len(ids)} tokens; raise caption_length ({length})."
            )
        return np.pad(ids, (0, length - len(ids)), constant_values=ids[-1])

    return tokenize


def _train_merges(corpus: Iterable[str], count: int) -> list[tuple[str, str]]:
    """At most `count` merges, the most frequent pair first, ties in alphabetical order.

    Byte-pair encoding (Sennrich et al., 2016). Not the trainer of `tokenizers`: that one breaks
    ties differently from run to run.
    """
    words = _count_words(corpus)
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, frequency in words.items():
            for pair in pairwise(word):
                pairs[pair] += frequency
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = Counter({_merged(word, best): n for word, n in words.items()})
    return merges


def _count_words(corpus: Iterable[str]) -> Counter[tuple[str, ...]]:
    """How often each word, as a tuple of byte symbols, the last one marked, occurs."""
    split = pre_tokenizers.Split(Regex(PIECES), behavior="removed", invert=True)
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    cut = pre_tokenizers.Sequence([split, to_bytes])
    counts: Counter[tuple[str, ...]] = Counter()
    for text, times in Counter(corpus).items():
        for piece, _ in cut.pre_tokenize_str(text.lower()):
            counts[(*piece[:-1], piece[-1] + WORD_END)] += times
    return counts


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """The word with every occurrence of the pair joined, from left to right."""
    if pair[0] not in word:
        return word
    joined: list[str] = []
    for symbol in word:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return tuple(joined)
