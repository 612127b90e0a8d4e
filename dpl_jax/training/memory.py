"""How much memory a step takes, and what to compute again instead of keeping it.

The gradient needs what the forward pass computed. Two exact ways to keep less of it, each for the
price of one more forward pass: encode the classes in parts (``Clip.class_chunks``), or keep only
the hidden states between the layers (``Clip.remat``).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dpl_jax.clip.config import ClipConfig, TowerConfig
from dpl_jax.clip.model import Clip
from dpl_jax.clip.texts import Texts
from dpl_jax.prompts.trees import candidate_rows

LOG = logging.getLogger(__name__)

MB = 2**20
UNKNOWN_DEVICE_MB = 16 * 1024
# Smaller parts of the classes would leave the processor idle.
SMALLEST_CHUNK = 16
# Floats for each token, in units of the width, of the MLP's hidden width, and of a head's scores
# on all keys: what is kept of every layer for the gradient, and what one layer takes while it is
# computed again. Fitted to compiled programs (`make bench BENCH_ARGS=memory` compares). The dtype
# of the matrix products changes little: LayerNorm, softmax and residual stream are float32 anyway.
# Kept: input, query, key, value, output of the attention, and fc1; XLA holds up to two of each.
KEPT_WIDTHS, KEPT_HIDDEN = 6.0, 1.5
WORK_WIDTHS, WORK_HIDDEN, WORK_SCORES = 11.0, 3.0, 2.0
FLOAT_BYTES = 4


class StepSizes(NamedTuple):
    """What the memory of a step depends on, besides the CLIP.

    Attributes:
      images: B, in a batch.
      classes: C.
      text_tokens: S, of the longest text behind the common prefix.
      prefix_tokens: L, of the common prefix.
      prompt_rows: P of the supernet, which is more than stage 2 ever has.
    """

    images: int
    classes: int
    text_tokens: int
    prefix_tokens: int
    prompt_rows: int


class Plan(NamedTuple):
    """What is computed again; the fields of the same names of :class:`Clip`."""

    remat: bool
    class_chunks: int


def fit_memory(clip: Clip, texts: Texts, resident: Any, config: ConfigDict) -> Clip:
    """``clip`` with ``remat`` and ``class_chunks`` as the config says, or so that a step fits.

    Args:
      clip: a frozen CLIP.
      texts: of the classes.
      resident: tree of the other arrays that stay on the device, such as the images.
      config: see :mod:`dpl_jax.config`.
    """
    sizes = on_each_device(step_sizes(texts, config), clip.mesh)
    taken = sum(leaf.nbytes for leaf in jax.tree.leaves((clip.params, resident)))
    free = memory_limit(config.memory.limit_mb) - taken
    plan = choose_plan(clip.sizes, sizes, free, plans(sizes.classes, config.memory))
    return clip.replace(remat=plan.remat, class_chunks=plan.class_chunks)


def step_sizes(texts: Texts, config: ConfigDict) -> StepSizes:
    """The sizes of a run's larger step, be it of the search or of stage 2."""
    batches = config.search.batch_size, config.search.val_batch_size, config.train.batch_size
    classes, tokens = texts.input_ids.shape
    return StepSizes(
        images=max(batches),
        classes=classes,
        text_tokens=tokens,
        prefix_tokens=0 if texts.prefix is None else len(texts.prefix),
        prompt_rows=candidate_rows(config.search.max_context_length),
    )


def on_each_device(step: StepSizes, mesh: Mesh | None) -> StepSizes:
    """What one device of the mesh has of a step: its part of the images and of the classes."""
    if mesh is None:
        return step
    return step._replace(images=-(-step.images // mesh.size), classes=-(-step.classes // mesh.size))


def memory_limit(limit_mb: int) -> int:
    """Bytes that a run may take: ``limit_mb``, or with 0 what the device has (16 GB if unknown)."""
    if limit_mb:
        return limit_mb * MB
    stats = jax.local_devices()[0].memory_stats() or {}  # None on a CPU
    return int(stats.get("bytes_limit", UNKNOWN_DEVICE_MB * MB))


def plans(classes: int, memory: ConfigDict) -> list[Plan]:
    """The plans that ``config.memory`` allows, the fastest first."""
    counts = [1]
    while classes / (2 * counts[-1]) >= SMALLEST_CHUNK:
        counts.append(2 * counts[-1])
    if memory.class_chunks:
        counts = [min(memory.class_chunks, classes)]
    choices = {"auto": (False, True), "on": (True,), "off": (False,)}[memory.remat]
    return [Plan(remat, count) for remat in choices for count in counts]


def choose_plan(sizes: ClipConfig, step: StepSizes, free: int, candidates: Sequence[Plan]) -> Plan:
    """The first plan whose step fits ``free`` bytes; the last one, with a warning, if none does."""
    for plan in candidates:
        needed = step_bytes(sizes, step, plan)
        if needed <= free:
            return plan
    LOG.warning(
        "A step takes an estimated %d MB of memory and %d MB are free. If it fails, use smaller "
        "batches, a smaller CLIP or another device; memory.limit_mb sets what may be used.",
        needed // MB,
        free // MB,
    )
    return plan


def step_bytes(sizes: ClipConfig, step: StepSizes, plan: Plan) -> int:
    """Estimated bytes that one half-step needs besides parameters and images.

    The larger of both half-steps; the two never live at the same time.
    """
    seen = step.text_tokens + step.prefix_tokens + step.prompt_rows
    classes = -(-step.classes // plan.class_chunks)
    text = _tower_bytes(sizes.text, classes, step.text_tokens, seen, plan.remat)
    tokens = sizes.vision.grid**2 + 1
    seen = tokens + step.prompt_rows
    return text + _tower_bytes(sizes.vision, step.images, tokens, seen, plan.remat)


def _tower_bytes(config: TowerConfig, rows: int, tokens: int, seen: int, remat: bool) -> int:
    """What the gradient of one tower keeps for ``rows`` images or texts."""
    scores = WORK_SCORES * config.num_attention_heads * seen
    work = WORK_WIDTHS * config.hidden_size + WORK_HIDDEN * config.intermediate_size + scores
    kept = KEPT_WIDTHS * config.hidden_size + KEPT_HIDDEN * config.intermediate_size
    layer = config.hidden_size if remat else kept
    return int(FLOAT_BYTES * rows * tokens * (config.num_hidden_layers * layer + work))
