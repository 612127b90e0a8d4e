"""Token ids in the shape that costs the text tower least; both cuts are exact.

Only the end-of-text row is read and the mask is causal, so tokens behind the last end-of-text of
any text cannot matter. Tokens that all texts begin with have the same hidden states in all.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dpl_jax.clip.config import LEGACY_EOS_ID, TextConfig


class Texts(struct.PyTreeNode):
    """Tokenized texts.

    Attributes:
      input_ids: (C, S) token ids, behind the prefix.
      end: (C,) position of the end-of-text in each row of ``input_ids``.
      prefix: (L,) token ids that every text begins with, or None.
    """

    input_ids: jax.Array
    end: jax.Array
    prefix: jax.Array | None = None


def prepare_texts(input_ids: Any, config: TextConfig) -> Texts:
    """Cuts token ids (C, S) to the longest text and takes the common prefix out.

    Inside jit, where the ids are not known, they are left whole.
    """
    if isinstance(input_ids, jax.core.Tracer):
        return Texts(input_ids, end_positions(input_ids, config))
    input_ids = np.asarray(input_ids, np.int32)
    end = end_positions(input_ids, config)
    length = common_prefix(input_ids, end)
    return Texts(
        input_ids=jnp.asarray(input_ids[:, length : end.max() + 1]),
        end=jnp.asarray(end - length),
        prefix=jnp.asarray(input_ids[0, :length]) if length else None,
    )


def end_positions(input_ids: Any, config: TextConfig) -> Any:
    """Position (C,) of each row's first end-of-text token, as transformers finds it.

    CLIP pads with the end-of-text token itself, so it must be the first one. Configs with the
    legacy id 2 mean the largest id of the row.
    """
    if config.eos_token_id == LEGACY_EOS_ID:
        return input_ids.argmax(axis=-1)
    return (input_ids == config.eos_token_id).argmax(axis=-1)


def common_prefix(input_ids: np.ndarray, end: np.ndarray) -> int:
    """How many tokens all of several texts (C, S) begin with, at most up to an end-of-text (C,)."""
    if len(input_ids) < 2:
        return 0  # nothing to share
    same = (input_ids == input_ids[0]).all(axis=0)  # (S,)
    return min(int(np.argmin(np.append(same, False))), int(end.min()))
