"""The transformer that both towers of CLIP share: pre-norm layers, stacked and scanned.

Every layer can take prompt rows as extra keys and values of its self-attention.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpl_jax.clip.attention import LayerPrompts, Shared, attention, prompted_attention
from dpl_jax.clip.config import TowerConfig
from dpl_jax.clip.learned_tokens import deeper_tokens, put_tokens


def layer_norm(config: TowerConfig, name: str) -> nn.LayerNorm:
    """CLIP's LayerNorm, always in float32; the two-pass variance is the one PyTorch computes."""
    return nn.LayerNorm(epsilon=config.layer_norm_eps, use_fast_variance=False, name=name)


def activation(name: str, x: jax.Array) -> jax.Array:
    """OpenAI's quick_gelu, x * sigmoid(1.702 x), or the exact gelu of LAION's weights."""
    return x * jax.nn.sigmoid(1.702 * x) if name == "quick_gelu" else nn.gelu(x, approximate=False)


class SelfAttention(nn.Module):
    """Multi-head self-attention in which prompt rows are extra keys and values."""

    config: TowerConfig
    dtype: Any = None

    @nn.compact
    def __call__(
        self,
        queries: jax.Array,
        x: jax.Array,
        prompts: LayerPrompts | None,
        shared: Shared | None,
        mask: jax.Array | None,
    ) -> tuple[jax.Array, Shared]:
        """Lets normalised ``queries`` (B, Q, D) attend to normalised tokens ``x`` (B, S, D).

        Returns:
          (B, Q, D), and the tokens' keys and values (B, S, H, d) for those who share them.
        """
        width, heads = self.config.hidden_size, self.config.num_attention_heads
        query, key, value, out = (
            nn.Dense(width, dtype=self.dtype, name=name)
            for name in ("query", "key", "value", "out")
        )

        def split(y: jax.Array) -> jax.Array:
            return y.reshape(*y.shape[:-1], heads, width // heads)  # (..., H, d)

        q, k, v = split(query(queries)), split(key(x)), split(value(x))  # (B, S, H, d) each
        if prompts is None:
            mixed = attention(q, k, v, mask, shared)[0].astype(v.dtype)  # (B, Q, H, d)
        else:
            prompt_k, prompt_v = split(key(prompts.rows)), split(value(prompts.rows))  # (P, H, d)
            mixed = prompted_attention(q, k, v, prompt_k, prompt_v, prompts, mask, shared)
        return out(mixed.reshape(*mixed.shape[:-2], width)), (k, v)  # (B, Q, D)


class Block(nn.Module):
    """One pre-norm transformer layer; prompts never enter the residual stream."""

    config: TowerConfig
    dtype: Any = None

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        prompts: LayerPrompts | None = None,
        shared: Shared | None = None,
        mask: jax.Array | None = None,
        read: jax.Array | None = None,
    ) -> tuple[jax.Array, Shared]:
        """Maps (B, S, D) to (B, S, D); prompts pass through the same LayerNorm as tokens.

        Args:
          x: (B, S, D) hidden states.
          prompts: of this layer.
          shared: keys and values that all rows of the batch see besides their own.
          mask: of the attention, see :func:`dpl_jax.clip.attention.attention`.
          read: (B,) the only position that is wanted; the result is then (B, 1, D).

        Returns:
          The new hidden states, and this layer's keys and values.
        """
        norm1 = layer_norm(self.config, "layer_norm1")
        y = norm1(x)
        if prompts is not None:
            prompts = prompts.replace(rows=norm1(prompts.rows))
        queries = y
        if read is not None:
            rows = jnp.arange(x.shape[0])
            x, queries = x[rows, read][:, None], y[rows, read][:, None]  # (B, 1, D)
        attend = SelfAttention(self.config, self.dtype, name="attention")
        attended, keys_values = attend(queries, y, prompts, shared, mask)
        x = x + attended
        y = layer_norm(self.config, "layer_norm2")(x)
        y = nn.Dense(self.config.intermediate_size, dtype=self.dtype, name="fc1")(y)
        y = activation(self.config.hidden_act, y)
        return x + nn.Dense(self.config.hidden_size, dtype=self.dtype, name="fc2")(y), keys_values


class Layers(nn.Module):
    """All layers of a tower, scanned over their stacked parameters and prompts.

    The last layer stands outside the scan: it computes only the one row that CLIP reads.

    Who makes the collection "intermediates" mutable finds the hidden states (N, B, S, D) that each
    layer was given in it, as "layer_inputs"; without that, the program is the same as if they
    could not be had.
    """

    config: TowerConfig
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        read: jax.Array | None = None,
        *,
        prompts: LayerPrompts | None = None,
        shared: Shared | None = None,
        mask: jax.Array | None = None,
        read_mask: jax.Array | None = None,
        tokens: jax.Array | None = None,
        tokens_at: int = 0,
    ) -> tuple[jax.Array, Shared]:
        """Runs all layers.

        Args:
          x: (B, S, D) hidden states.
          read: (B,) the position that is wanted of each row; None runs every layer in full and
            returns all keys and values.
          prompts: every leaf with a leading axis N.
          shared: keys and values (N, K, H, d) that all rows see, of every layer.
          mask: of all layers but the last; ``read_mask``, that of the last, has one query.
          tokens: (L, n, D) or (L, B, n, D), learned tokens of the first L layers. ``x`` has those
            of the first already; each deeper layer replaces what became of them by its own.
          tokens_at: position of the n tokens in the sequence.

        Returns:
          (B, 1, D) hidden states at ``read`` and no keys and values; or, without ``read``,
          (B, S, D) and the keys and values (N, B, S, H, d).
        """
        block = Block(self.config, self.dtype, parent=None)
        last = self.config.num_hidden_layers - 1
        stacked = self.param("layers", _init_stack, block, x, last + 1)
        watched = self.is_mutable_collection("intermediates")

        def layer(x: jax.Array, inputs: Any) -> tuple[jax.Array, Any]:
            number, prompts, shared, own = inputs
            given = put_tokens(x, own, tokens_at)
            x, keys_values = block.apply(_layer_of(stacked, number), given, prompts, shared, mask)
            return x, (keys_values if read is None else None, given if watched else None)

        # Without remat, the gradient finds what the Dense layers made, and computes scores and
        # elementwise work again: as quick as writing and reading them, in a third of the memory.
        kept = None if self.remat else jax.checkpoint_policies.dots_with_no_batch_dims_saveable
        layer = jax.checkpoint(layer, prevent_cse=False, policy=kept)
        inputs = (jnp.arange(last + 1), prompts, shared, deeper_tokens(tokens, last + 1))
        if read is None:
            x, (keys_values, _) = jax.lax.scan(layer, x, inputs)
            return x, keys_values
        x, (_, given) = jax.lax.scan(layer, x, jax.tree.map(lambda leaf: leaf[:-1], inputs))
        _, prompts, shared, own = jax.tree.map(lambda leaf: leaf[-1], inputs)
        x = put_tokens(x, own, tokens_at)
        if watched:
            self.sow("intermediates", "layer_inputs", jnp.concatenate([given, x[None]]))
        return block.apply(_layer_of(stacked, last), x, prompts, shared, read_mask, read)


def _layer_of(stacked: Any, number: Any) -> Any:
    """The variables of one layer; sliced where they are used, so that no copy of all is made."""
    params = jax.tree.map(
        lambda leaf: jax.lax.dynamic_index_in_dim(leaf, number, keepdims=False), stacked
    )
    return {"params": params}


def _init_stack(key: jax.Array, block: Block, x: jax.Array, layers: int) -> Any:
    """Parameters of ``layers`` blocks, stacked on a leading axis."""
    keys = jax.random.split(key, layers)
    return jax.vmap(lambda key: block.init(key, x)["params"])(keys)
