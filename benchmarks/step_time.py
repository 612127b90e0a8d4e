"""Expected time of a search step on GPUs, from its arithmetic, its memory traffic and the links.

Nothing in here is measured. Peak rates are the makers'; how much of them a step reaches, and what a
launch and a collective cost, are assumptions, each a constant with its reason.

    step = max(compute, memory, launches) + communication

The three of the maximum overlap on a GPU. Communication does not: the logits wait for all features,
the optimiser for all gradients.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from dpl_jax.clip.config import ClipConfig
from dpl_jax.training.memory import Plan

# NVIDIA's data sheet of the H100 SXM5, without sparsity. float32 is multiplied in TF32.
PEAK_FLOPS = {"float32": 494.7e12, "bfloat16": 989.4e12}  # FLOP/s
PEAK_MEMORY = 3.35e12  # bytes/s, HBM3; the same data sheet
MEMORY = 80e9  # bytes; the same data sheet
NVLINK4 = 450e9  # bytes/s in one direction: half of the data sheet's 900 GB/s
PCIE5_X16 = 64e9  # bytes/s in one direction: half of the data sheet's 128 GB/s
NDR = 50e9  # bytes/s in one direction: InfiniBand NDR, 400 Gbit/s, one adapter for each GPU
GPUS_PER_MACHINE = 8

# Assumed. On a CPU a step reaches 57 % of the rate of one large product (docs/performance.md);
# such a product reaches some 70 % of an H100's peak.
COMPUTE_SHARE = 0.4
MEMORY_SHARE = 0.8  # of a stream through HBM
LINK_SHARE = 0.7  # of a link, in messages of megabytes
# LayerNorm, activation, softmax and residual read and write about as much again as the products.
ELEMENTWISE = 2.0
# A layer's kernels after fusion: 4 products of the attention's projections, 2 of its scores and
# values, 2 of the MLP, 4 fused groups of elementwise work; a gradient takes two for each.
KERNELS_FORWARD, KERNELS_BACKWARD = 12, 24
KERNEL_SECONDS = 4e-6  # the least that one takes from launch to launch
LATENCY = 20e-6  # of a small collective within a machine, its own launch included
LATENCY_OF_A_LEVEL = 10e-6  # more for each doubling of the machines
HALF_STEPS = 2
RECOMPUTED = 1.5  # three forward passes' worth for two, where the forward pass is done again
FLOAT_BYTES = 4


class Cost(NamedTuple):
    """How a quantity of a search step grows with b images and c classes.

    fixed + image b + text c + pair b c: ``fixed`` is the common prefix of the texts, the weights
    and the prompts' own keys and values, ``pair`` the logits.
    """

    fixed: float
    image: float
    text: float
    pair: float


class Exchanged(NamedTuple):
    """Numbers that one search step's collectives carry.

    Attributes:
      features: F, of an image and of a class.
      prompts: in the prompts of both towers.
      alphas: of both towers.
    """

    features: int
    prompts: int
    alphas: int


class Layout(NamedTuple):
    """GPUs, and the slowest link that a ring through all of them passes."""

    name: str
    gpus: int
    link: float


LAYOUTS = (
    Layout("1 GPU", 1, math.inf),
    Layout("8, NVLink", 8, NVLINK4),
    Layout("8, PCIe", 8, PCIE5_X16),
    Layout("64, NDR", 64, NDR),
)


class Terms(NamedTuple):
    """What a step's time is made of, each in seconds."""

    compute: float
    memory: float
    launches: float
    communication: float

    @property
    def seconds(self) -> float:
        """Of the step."""
        return max(self.compute, self.memory, self.launches) + self.communication

    @property
    def limit(self) -> str:
        """The name of the largest term."""
        return max(zip(self, self._fields, strict=True))[1]


def fit_cost(values: dict[tuple[int, int], float]) -> Cost:
    """The :class:`Cost` through the values at (b, c) of two b and two c."""
    (b, more_b), (c, more_c) = (sorted({key[axis] for key in values}) for axis in (0, 1))
    image_b, text_c = more_b - b, more_c - c
    pair = values[more_b, more_c] - values[more_b, c] - values[b, more_c] + values[b, c]
    pair /= image_b * text_c
    image = (values[more_b, c] - values[b, c]) / image_b - pair * c
    text = (values[b, more_c] - values[b, c]) / text_c - pair * b
    return Cost(values[b, c] - image * b - text * c - pair * b * c, image, text, pair)


def on_one_gpu(cost: Cost, plan: Plan, images: int, classes: int, gpus: int) -> float:
    """What one of ``gpus`` has of a step with ``images`` B and ``classes`` C.

    Its rows of both are rounded up. The logits of all B and C are computed on every device.
    """
    whole = RECOMPUTED if plan.remat else 1.0
    text = RECOMPUTED if plan.remat or plan.class_chunks > 1 else 1.0
    towers = whole * (cost.fixed + cost.image * -(-images // gpus))
    return towers + text * cost.text * -(-classes // gpus) + cost.pair * images * classes


def launch_seconds(sizes: ClipConfig, plan: Plan) -> float:
    """The least time that the layers' kernels take, be they ever so small.

    The text tower passes through its layers twice: for the common prefix, and for what follows.
    """
    once = KERNELS_FORWARD + KERNELS_BACKWARD
    image = once + KERNELS_FORWARD * plan.remat
    text = once + KERNELS_FORWARD * (plan.remat or plan.class_chunks > 1)
    kernels = image * sizes.vision.num_hidden_layers
    kernels += text * 2 * plan.class_chunks * sizes.text.num_hidden_layers
    return HALF_STEPS * kernels * KERNEL_SECONDS


def communication_seconds(exchanged: Exchanged, images: int, classes: int, layout: Layout) -> float:
    """A ring's time for the collectives of a search step that docs/devices.md lists.

    In each half-step the features of B images and of C classes are gathered and the gradients of
    one group summed. With n devices a gathered byte passes (n - 1) / n of a link, a summed one
    twice as much.
    """
    n = layout.gpus
    if n == 1:
        return 0.0
    gathered = HALF_STEPS * (images + classes) * exchanged.features
    summed = exchanged.prompts + exchanged.alphas
    carried = FLOAT_BYTES * (gathered + 2 * summed) * (n - 1) / n
    machines = -(-n // GPUS_PER_MACHINE)
    latency = LATENCY + LATENCY_OF_A_LEVEL * math.log2(machines)
    return carried / (LINK_SHARE * layout.link) + HALF_STEPS * 3 * latency


def step_terms(
    operations: float, traffic: float, launches: float, communication: float, dtype: str
) -> Terms:
    """The terms of a step of ``operations`` and ``traffic`` (bytes) on one GPU."""
    return Terms(
        operations / (COMPUTE_SHARE * PEAK_FLOPS[dtype]),
        ELEMENTWISE * traffic / (MEMORY_SHARE * PEAK_MEMORY),
        launches,
        communication,
    )
