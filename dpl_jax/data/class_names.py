"""Class names as CLIP reads them: which are one text, and which are no text at all."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dpl_jax.errors import ConfigError, TextTooLongError

# How CLIP's tokenizer cuts a text: into words, digits, and runs of all else. Spaces do not count.
PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|[^\s\w]+")


def spoken(name: str) -> str:
    """The name as far as CLIP's tokenizer tells names apart, the same for names of one text.

    It composes accents, lowers case, and cuts between words, digits and other signs, wherever
    there are spaces. Underscores are spaces.
    """
    text = unicodedata.normalize("NFC", name.replace("_", " ")).lower()
    return " ".join(PIECES.findall(text))


def first_same(values: Iterable[Hashable]) -> tuple[int, int] | None:
    """The places of the first value that is there twice."""
    seen: dict[Hashable, int] = {}
    for place, value in enumerate(values):
        first = seen.setdefault(value, place)
        if first != place:
            return first, place
    return None


def check_different(names: Sequence[str], ids: np.ndarray) -> None:
    """Checks that no two classes have the same text.

    Args:
      names: of the C classes.
      ids: (C, S) token ids of their texts.

    Raises:
      ConfigError: naming two that have.
    """
    if same := first_same(row.tobytes() for row in np.ascontiguousarray(ids)):
        raise ConfigError(one_text(names[same[0]], names[same[1]]))


def class_ids(
    tokenize: Callable[[Sequence[str]], np.ndarray],
    names: Sequence[str],
    texts: Sequence[str],
    *,
    same_names: bool = False,
) -> np.ndarray:
    """Token ids (C, S) of the classes' texts, which are checked.

    Args:
      tokenize: of a CLIP.
      names: of the C classes.
      texts: of the C classes.
      same_names: whether two classes may have one text, as in ImageNet's list for CLIP.

    Raises:
      TextTooLongError: naming the first class whose text is too long.
      ConfigError: naming two classes of one text.
    """
    try:
        ids = tokenize(texts)
    except TextTooLongError:
        for name, text in zip(names, texts, strict=True):
            try:
                tokenize([text])
            except TextTooLongError as error:
                raise TextTooLongError(f"The class {name!r}: {error}") from error
        raise
    if not same_names:
        check_different(names, ids)
    return ids


def has_same_names(results: Mapping[str, Any]) -> bool:
    """Whether a run's classes may share names: ImageNet's list for CLIP has two "missile"."""
    return str(results.get("dataset", "")).startswith("imagenet")


def one_text(first: str, second: str) -> str:
    """What is wrong with two classes of one text, in words."""
    return (
        f"The classes {first!r} and {second!r} are one text to CLIP, which reads neither case nor "
        "spaces nor how accents are composed, so no text could tell them apart; rename one of "
        "them, or put their images together."
    )


def undecodable(name: str) -> str:
    """Why a name is no text, or "": bytes of a file's name that are not UTF-8, half a character."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return f"The class name {name!a} is not UTF-8 text that CLIP could read ({_why(name)})"
    return ""


def _why(name: str) -> str:
    try:
        raw = os.fsencode(name)
    except UnicodeEncodeError:
        return "it has half a character, a lone surrogate"
    with contextlib.suppress(UnicodeDecodeError):
        raw.decode()
        return f"Python takes it for {sys.getfilesystemencoding()} here; set PYTHONUTF8=1"
    return f"its bytes are {raw!r}"
