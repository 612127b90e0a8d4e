"""What a search step takes by XLA's account, beside the estimate that decides what is kept."""

from __future__ import annotations

from typing import Any

import jax

from benchmarks.problem import STEPS_PER_EPOCH, Problem, make_problem
from benchmarks.section import Row, Scale, Section
from dpl_jax.clip.weights import abstract_params
from dpl_jax.training.memory import Plan, step_bytes, step_sizes
from dpl_jax.training.steps import search_step

GB = 1e9
PLANS = Plan(False, 1), Plan(False, 4), Plan(True, 1)


def memory(scale: Scale) -> list[Section]:
    """Compiled programs of the largest number of classes, in every way of saving memory."""
    classes = scale.many_classes[-1]
    problem = make_problem(scale.config, classes=classes, params=abstract_params(scale.config))
    sizes = step_sizes(problem.texts, problem.config)
    rows = []
    for plan in PLANS:
        took, temporary = compiled_bytes(problem, plan)
        estimate = step_bytes(scale.config, sizes, plan)
        name = {
            Plan(False, 1): "as it is",
            Plan(False, 4): "classes in 4 parts",
            Plan(True, 1): "only hidden states between layers kept",
        }[plan]
        rows.append(Row(f"search step, {name}", f"{took / GB:.2f} GB", "below 16 GB"))
        rows.append(
            Row(
                "... of that besides weights and state",
                f"{temporary / GB:.2f} GB (estimated {estimate / GB:.2f})",
            )
        )
    note = (
        "By `memory_analysis()` of the compiled step: nothing of it is run. dpl_jax computes again "
        "only what does not fit (memory.limit_mb)."
    )
    title = f"Memory of a search step, {classes} classes, batch {sizes.images}, float32"
    return [Section(title, rows, note)]


def compiled_bytes(problem: Problem, plan: Plan) -> tuple[int, int]:
    """Bytes in all, and bytes of temporary values, of the compiled search step."""
    clip = problem.clip.replace(remat=plan.remat, class_chunks=plan.class_chunks)
    step = jax.jit(search_step, static_argnums=(5, 6), donate_argnums=0)
    state = jax.eval_shape(problem.search_state)
    task = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), problem.task)
    lowered = step.lower(state, clip, task, *problem.batches, problem.search, STEPS_PER_EPOCH)
    found: Any = lowered.compile().memory_analysis()
    own = found.output_size_in_bytes - found.alias_size_in_bytes
    return (
        found.argument_size_in_bytes + own + found.temp_size_in_bytes,
        found.temp_size_in_bytes,
    )
