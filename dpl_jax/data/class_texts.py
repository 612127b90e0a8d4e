"""The texts that a dataset's classes get, checked before a run."""

from __future__ import annotations

import json
import re

from ml_collections import ConfigDict

from dpl_jax.clip.model import load_tokenizer
from dpl_jax.data.class_names import class_ids
from dpl_jax.data.folder_layout import listed
from dpl_jax.data.split import Dataset
from dpl_jax.data.templates import prompts_for
from dpl_jax.errors import WeightsNotFoundError

SHOWN = 3  # texts that are printed
CAMEL = re.compile(r"(?<=[^\W\d_])(?=[A-Z][a-z])|(?<=[a-z\d])(?=[A-Z])")  # where words are joined
DIGITS = re.compile(r"\d")
WORDS = re.compile(r"[^\W\d_]{3,}")


def first_texts(dataset: Dataset) -> str:
    """The texts of the first classes, in words."""
    texts = prompts_for(dataset.classnames[:SHOWN], dataset.template)
    more = len(dataset.classnames) - len(texts)
    return ", ".join(f'"{text}"' for text in texts) + (f" and {more} more" if more else "")


def check_texts(dataset: Dataset, clip: ConfigDict) -> str:
    """Checks the texts with the tokenizer of the config's CLIP; the weights are not needed.

    Returns:
        Why they could not be checked, or "".

    Raises:
        TextTooLongError: naming the first class whose text is too long for the text tower.
        ConfigError: naming two classes of one text.
        WeightsError: the tokenizer's files are damaged.
    """
    try:
        tokenizer = load_tokenizer(clip.path, clip.revision or None)
        texts = prompts_for(dataset.classnames, dataset.template)
        class_ids(tokenizer, dataset.classnames, texts, same_names=dataset.same_names)
    except WeightsNotFoundError as error:
        return f"The texts of the classes could not be checked with CLIP's tokenizer: {error}"
    return ""


def name_remarks(dataset: Dataset) -> list[str]:
    """What CLIP may not understand in the names of one's own classes, a sentence each."""
    names = dataset.classnames
    joined = [name for name in names if CAMEL.search(name)]
    numbered = [name for name in names if DIGITS.search(name)]
    return [
        _remark(dataset, found, what)
        for found, what in ((joined, "joined words (CamelCase)"), (numbered, "digits"))
        if found
    ]


def _remark(dataset: Dataset, found: list[str], what: str) -> str:
    first = found[0]
    (text,) = prompts_for([first], dataset.template)
    words = WORDS.findall(CAMEL.sub(" ", first).lower())
    better = json.dumps({first: " ".join(words) or "tabby cat"}, ensure_ascii=False)
    return (
        f"{len(found)} of {len(dataset.classnames)} class names have {what}: "
        f'{listed(found, ending="")}. CLIP reads "{text}" as it stands; where that is not what the '
        f"images show, give words in classnames.json, such as {better}, or another text with "
        "--config.data.template (docs/datasets.md)."
    )
