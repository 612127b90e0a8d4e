"""From a searched supernet to one length per layer: by alpha, or by what a removal costs."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dpl_jax.clip.model import Clip
from dpl_jax.data.feed import Feed
from dpl_jax.prompts.alphas import finished_alphas
from dpl_jax.prompts.learned import Supernet
from dpl_jax.prompts.trees import TOWERS, HostTree, choose_lengths
from dpl_jax.training.inputs import Batch, Task
from dpl_jax.training.loss import loss_and_accuracy
from dpl_jax.training.steps import Params

BATCH = 100


def select_lengths(
    config: ConfigDict, clip: Clip, task: Task, val: Feed, rows: np.ndarray, params: Params
) -> HostTree:
    """Lengths {"image": (N,), "text": (N,)} as ``config.search.selection`` says.

    Args:
      config: see :mod:`dpl_jax.config`.
      clip: frozen.
      task: for the classes' texts.
      val: where validation images come from.
      rows: (n,) the positions among them that this run may see.
      params: of the searched supernet.
    """
    alphas = finished_alphas(params["alphas"], config.search)
    if config.search.selection == "argmax":
        return choose_lengths(alphas)[0]
    batches = validation_batches(task, val, rows)
    return perturbed_lengths(clip, task, batches, params["prompts"], alphas)


def perturbed_lengths(
    clip: Clip, task: Task, batches: list[Batch], prompts: Any, alphas: Any
) -> HostTree:
    """Lengths by DARTS-PT (Wang et al., ICLR 2021, algorithm 1), without its tuning in between.

    Layer after layer, last one first, both towers in turn: every length is taken out of the
    supernet, the one whose absence raises the validation loss most is kept, and the others of that
    layer are gone from then on. The loss stands for the paper's accuracy, which has many ties on
    few images.

    Args:
      clip: frozen.
      task: for the classes' texts.
      batches: all validation images.
      prompts: {"image": (N, P, D), "text": (N, P, D)}.
      alphas: {"image": (N, T + 1), "text": (N, T + 1)}, as the supernet sees them; a candidate
        with -inf is never chosen.
    """
    alphas = {tower: jnp.asarray(alphas[tower]) for tower in TOWERS}
    lengths = {tower: np.zeros(len(alphas[tower]), np.int32) for tower in TOWERS}
    layers = [(layer, tower) for tower in TOWERS for layer in range(len(alphas[tower]))]
    for layer, tower in sorted(layers, reverse=True):
        losses = sum(
            len(batch[1]) * _losses_without(clip, task, batch, prompts, alphas, layer, tower=tower)
            for batch in batches
        )  # (T + 1,)
        absent = np.isneginf(alphas[tower][layer])
        kept = int(np.where(absent, -np.inf, losses).argmax())  # ties: the shorter
        lengths[tower][layer] = kept
        alphas[tower] = alphas[tower].at[layer].set(-jnp.inf).at[layer, kept].set(0.0)
    return lengths


def validation_batches(task: Task, val: Feed, rows: np.ndarray) -> list[Batch]:
    """All images at ``rows`` (n,) of a feed, in batches of equal size but for the last."""
    whole = len(rows) - len(rows) % BATCH
    orders = [rows[:whole].reshape(-1, BATCH), rows[whole:][None]]  # (steps, B)
    return [
        task.replace(val=images).val_batch(batch)
        for order in orders
        if order.size
        for images, indices in val.chunks(order, len(order))
        for batch in indices
    ]


@functools.partial(jax.jit, static_argnames="tower")
def _losses_without(
    clip: Clip,
    task: Task,
    batch: Batch,
    prompts: Any,
    alphas: Any,
    layer: jax.Array,
    *,
    tower: str,
) -> jax.Array:
    """Losses (T + 1,) of the supernet with one length of one layer taken out."""

    def loss(length: jax.Array) -> jax.Array:
        fewer = alphas | {tower: alphas[tower].at[layer, length].set(-jnp.inf)}
        return loss_and_accuracy(clip, *batch, task.texts, Supernet(prompts, fewer).view())[0]

    return jax.lax.map(loss, jnp.arange(alphas[tower].shape[-1]))
