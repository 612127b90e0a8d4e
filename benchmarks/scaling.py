"""How a search step is shared out over devices, and what that should be worth on GPUs.

    python -m benchmarks.scaling            # some minutes; writes the tables of docs/scaling.md
    python -m benchmarks.scaling --quick    # two devices, smaller sizes; writes nothing

The first tables are XLA's account of programs compiled for devices of a CPU. The others are a model
(benchmarks/step_time.py): no GPU was measured.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path

import jax

from benchmarks.flops import matmul_costs
from benchmarks.partition import DeviceCost, device_cost
from benchmarks.problem import SMALL, STEPS_PER_EPOCH, VIT_B16, Problem, make_problem
from benchmarks.report import machine, replace_part
from benchmarks.step_time import (
    LAYOUTS,
    MEMORY,
    Cost,
    Exchanged,
    Layout,
    Terms,
    communication_seconds,
    fit_cost,
    launch_seconds,
    on_one_gpu,
    step_terms,
)
from dpl_jax.clip.config import ClipConfig
from dpl_jax.clip.weights import abstract_params
from dpl_jax.summary.table import Cell, markdown_table, print_table
from dpl_jax.training.memory import Plan, choose_plan, plans, step_sizes
from dpl_jax.training.steps import search_step

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scaling.md"
DEVICES = (2, 4, 8)  # beside one
STRONG = (512, 16)  # classes and images in all
WEAK = (64, 2)  # for each device
CLASSES, BATCHES, LONGEST = (100, 1000, 21000), (4, 256), 6
TRACED = [(b, c) for b in (1, 2) for c in (16, 32)]  # costs are bilinear, so four tell all
JAX_SHARE = 0.75  # of the memory, which JAX takes at its start
Table = tuple[str, tuple[str, ...], list[tuple[Cell, ...]]]


def main() -> None:
    """Prints both kinds of tables and writes them into the page."""
    parser = argparse.ArgumentParser("python -m benchmarks.scaling")
    parser.add_argument("--quick", action="store_true", help="small sizes; nothing is written")
    quick = parser.parse_args().quick
    jax.config.update("jax_num_cpu_devices", max(DEVICES))
    partition = partition_tables(SMALL, DEVICES[:1] if quick else DEVICES)
    config = SMALL if quick else VIT_B16
    expected = [model_table(config, dtype) for dtype in ("float32", "bfloat16")]
    for tables, name in ((partition, "partition"), (expected, "model")):
        for table in tables:
            print_table(*table)
        if not quick:
            replace_part(PAGE, name, _markdown(tables))


def partition_tables(sizes: ClipConfig, devices: Sequence[int]) -> list[Table]:
    """Strong scaling, the same step on more devices, and weak, as much for each device."""
    one = device_cost(sizes, 1, *STRONG)
    each = device_cost(sizes, 1, *WEAK)
    columns = ("devices", "classes", "batch", "FLOP", "bytes moved", "bytes held")
    strong: list[tuple[Cell, ...]] = []
    weak: list[tuple[Cell, ...]] = []
    for n in devices:
        ideal = DeviceCost(*(value / n for value in one))
        strong.append((n, *STRONG, *_ratios(device_cost(sizes, n, *STRONG), ideal)))
        grown = WEAK[0] * n, WEAK[1] * n
        weak.append((n, *grown, *_ratios(device_cost(sizes, n, *grown), each)))
    return [
        ("Strong scaling: one device's part / (one device's whole / n)", columns, strong),
        ("Weak scaling: one device's part / what one device alone has", columns, weak),
    ]


def model_table(sizes: ClipConfig, dtype: str) -> Table:
    """Expected milliseconds of a search step on each layout, and where each one's limit lies."""
    step = expected_step(sizes, dtype)
    rows: list[tuple[Cell, ...]] = []
    for classes in CLASSES:
        for batch in BATCHES:
            terms = [step(batch, classes, layout) for layout in LAYOUTS]
            rows.append((classes, batch, *(_shown(term, terms[0]) for term in terms)))
    title = f"Expected time of a search step, T = {LONGEST}, {dtype}"
    return title, ("classes", "batch", *(layout.name for layout in LAYOUTS)), rows


def expected_step(sizes: ClipConfig, dtype: str) -> functools.partial[Terms]:
    """The model's function of (batch, classes, layout) for a CLIP of these sizes."""
    problem = make_problem(sizes, longest=LONGEST, dtype=dtype, params=abstract_params(sizes))
    operations, traffic = traced_costs(sizes, dtype)
    return functools.partial(_expected, problem, operations, traffic)


def traced_costs(sizes: ClipConfig, dtype: str) -> tuple[Cost, Cost]:
    """Operations and bytes of the matrix products of our search step, as they grow."""
    flops: dict[tuple[int, int], float] = {}
    moved: dict[tuple[int, int], float] = {}
    for b, c in TRACED:
        flops[b, c], moved[b, c] = step_costs(sizes, dtype, b, c)
    return fit_cost(flops), fit_cost(moved)


def step_costs(sizes: ClipConfig, dtype: str, batch: int, classes: int) -> tuple[int, int]:
    """:func:`matmul_costs` of a search step on one device."""
    shapes = {"classes": classes, "longest": LONGEST, "batch": batch}
    problem = make_problem(sizes, **shapes, dtype=dtype, params=abstract_params(sizes))
    step = functools.partial(search_step, search=problem.search, steps_per_epoch=STEPS_PER_EPOCH)
    state = jax.eval_shape(problem.search_state)
    return matmul_costs(step, state, problem.clip, problem.task, *problem.batches)


def exchanged_numbers(problem: Problem) -> Exchanged:
    """Sizes of what the collectives carry, from the real trees."""
    params = jax.eval_shape(problem.search_state).params
    sizes = {
        name: sum(leaf.size for leaf in jax.tree.leaves(tree)) for name, tree in params.items()
    }
    return Exchanged(problem.clip.sizes.projection_dim, sizes["prompts"], sizes["alphas"])


def _expected(
    problem: Problem, operations: Cost, traffic: Cost, batch: int, classes: int, layout: Layout
) -> Terms:
    plan, gpus = _plan(problem, batch, classes, layout.gpus), layout.gpus
    return step_terms(
        on_one_gpu(operations, plan, batch, classes, gpus),
        on_one_gpu(traffic, plan, batch, classes, gpus),
        launch_seconds(problem.clip.sizes, plan),
        communication_seconds(exchanged_numbers(problem), batch, classes, layout),
        problem.clip.dtype,
    )


def _plan(problem: Problem, batch: int, classes: int, gpus: int) -> Plan:
    """What dpl_jax computes again to fit one GPU's part into its memory."""
    classes, images = -(-classes // gpus), -(-batch // gpus)
    sizes = step_sizes(problem.texts, problem.config)._replace(images=images, classes=classes)
    weights = sum(4 * leaf.size for leaf in jax.tree.leaves(problem.clip.params))
    candidates = plans(classes, problem.config.memory)
    return choose_plan(problem.clip.sizes, sizes, int(JAX_SHARE * MEMORY) - weights, candidates)


def _ratios(found: DeviceCost, ideal: DeviceCost) -> list[float]:
    return [ours / best for ours, best in zip(found, ideal, strict=True)]


def _shown(terms: Terms, alone: Terms) -> str:
    gain = "" if terms == alone else f", {alone.seconds / terms.seconds:.2g} x"
    return f"{1e3 * terms.seconds:.3g} ms{gain}, {terms.limit}"


def _markdown(tables: Sequence[Table]) -> str:
    parts = [f"**{title}**\n\n{markdown_table(columns, rows)}\n" for title, columns, rows in tables]
    return "\n".join([*parts, f"{machine()}.\n"])


if __name__ == "__main__":
    main()
