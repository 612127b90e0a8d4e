"""Class texts with places for learned tokens behind the start-of-text, and how these start."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dpl_jax.clip.model import Clip
from dpl_jax.clip.texts import Texts, end_positions
from dpl_jax.data.split import Dataset
from dpl_jax.data.templates import PHOTO, check_template, prompts_for
from dpl_jax.errors import ConfigError, TextTooLongError

# Standard deviation of learned tokens at the start, in the released code of CoOp and MaPLe.
SCALE = 0.02


class ContextTexts(NamedTuple):
    """Texts whose tokens 1..M, behind the start-of-text, are learned.

    Attributes:
      texts: of the C classes, without a prefix; their ids at the places do not matter.
      words: (M,) ids of the words that the learned tokens start from, or None for a random start.
    """

    texts: Texts
    words: jax.Array | None


def random_context(clip: Clip, dataset: Dataset, tokens: int) -> ContextTexts:
    """Texts of learned tokens, the class name and a full stop, as CoOp has them.

    Raises:
      TextTooLongError: when a class name leaves no room for that many tokens.
    """
    names = prompts_for(dataset.classnames, "{}.")
    ids = clip.tokenize(names)  # (C, S)
    lengths = tokens + 1 + end_positions(ids, clip.sizes.text)  # (C,)
    room = clip.sizes.text.max_position_embeddings
    if lengths.max() > room:
        raise TextTooLongError(
            f'The text "{names[lengths.argmax()]}" behind {tokens} learned tokens has '
            f"{lengths.max()} tokens, more than the {room} positions of the text tower; shorten "
            "the class name or learn fewer tokens."
        )
    places = np.repeat(ids[:, :1], tokens, axis=1)  # (C, M)
    ids = np.concatenate([ids[:, :1], places, ids[:, 1:]], axis=1)  # (C, S + M)
    return ContextTexts(_whole_texts(ids, clip), None)


def word_context(
    clip: Clip, dataset: Dataset, template: str, tokens: int | None = None
) -> ContextTexts:
    """The template's texts, of which the first words are learned and the others stay.

    Args:
      clip: a frozen CLIP.
      dataset: for its classes.
      template: with ``{}`` where the class name goes.
      tokens: how many are learned; None for all in front of the class name.

    Raises:
      ConfigError: when there are not so many words in front of the class name, or none.
      TextTooLongError: naming the text that is longer than the text tower.
    """
    words = template_words(clip, template)[:tokens]  # (M,)
    if len(words) < (1 if tokens is None else tokens):
        raise ConfigError(
            f"The template {template!r} has {len(words)} tokens in front of the class name, too "
            "few to learn; take a random start, fewer tokens or another template."
        )
    ids = clip.tokenize(prompts_for(dataset.classnames, template))  # (C, S)
    places = ids[:, 1 : 1 + len(words)]  # (C, M)
    if not np.array_equal(places, np.tile(words, (len(ids), 1))):
        raise ConfigError(
            f"The template {template!r} runs into the class name, so its words are not the same "
            "for all classes; put a space in front of {}."
        )
    return ContextTexts(_whole_texts(ids, clip), jnp.asarray(words))


def photo_context(clip: Clip, dataset: Dataset, tokens: int) -> ContextTexts:
    """The texts of MaPLe's and PromptSRC's released code.

    The first of the words "a photo of a" are learned and the others stay. For more tokens than they
    have (4 in CLIP's vocabulary), no word is left and the start is random.
    """
    if tokens <= len(template_words(clip, PHOTO)):
        return word_context(clip, dataset, PHOTO, tokens)
    return random_context(clip, dataset, tokens)


def template_words(clip: Clip, template: str) -> np.ndarray:
    """Token ids (M,) of what stands in front of the class name."""
    front = check_template(template).partition("{}")[0].strip()
    return clip.tokenize([front])[0, 1:-1]


def word_embeddings(clip: Clip, words: jax.Array) -> jax.Array:
    """Input embeddings (M, D) of token ids (M,), without positions."""
    embeddings: jax.Array = clip.params["text"]["token_embedding"]["embedding"][words]
    return embeddings


def _whole_texts(ids: np.ndarray, clip: Clip) -> Texts:
    """Cut to the longest text; a prefix would lie in front of the learned tokens."""
    end = end_positions(ids, clip.sizes.text)  # (C,)
    return Texts(jnp.asarray(ids[:, : end.max() + 1]), jnp.asarray(end))
