"""The search step against other ways to compute it, and what it costs as things grow."""

from __future__ import annotations

import functools
import gc
from typing import Any

import jax

from benchmarks.naive_jax import naive_search_step
from benchmarks.problem import STEPS_PER_EPOCH, Problem, make_problem
from benchmarks.section import Row, Scale, Section, dtypes
from benchmarks.timing import Run, Timing, interleaved, ratio
from dpl_jax.training.memory import fit_memory
from dpl_jax.training.steps import search_step, train_step

OURS, NAIVE, TORCH = "dpl_jax", "naive JAX", "PyTorch"


def baselines(scale: Scale) -> list[Section]:
    """A full search step of ours, of the naive formula in JAX, and of plain PyTorch."""
    return [_baselines(scale, dtype) for dtype in dtypes()]


def growth(scale: Scale) -> list[Section]:
    """Search against stage 2, T = 2 against T = 10, and the number of classes."""
    return [_growth(scale, dtype) for dtype in dtypes()]


def _baselines(scale: Scale, dtype: str) -> Section:
    problem = make_problem(scale.config, classes=scale.classes, dtype=dtype)
    rows = []
    others: dict[str, Run | None] = {TORCH: torch_run(problem), NAIVE: naive_run(problem)}
    targets = {NAIVE: "at least 10", TORCH: "at least 20"}
    ours = search_run(problem)
    while others:  # one at a time, since each of them fills the memory
        name, other = others.popitem()
        if other is None:
            rows.append(Row(f"{name}, one step", "not installed: `pip install torch`"))
            continue
        timings = interleaved({OURS: ours, name: other}, min(scale.rounds, 3))
        rows += [
            Row(f"dpl_jax, one step (beside {name})", _seconds(timings[OURS])),
            Row(f"{name}, one step", _seconds(timings[name])),
            Row(f"{name} / dpl_jax", f"{ratio(timings[name], timings[OURS]):.1f} x", targets[name]),
        ]
        del other
        gc.collect()
    rows += device_rows(problem, timings[OURS])
    note = (
        "A full step is an alpha half-step and a prompts half-step, optimisers included. The naive "
        "ways run one attention for each of the T + 1 candidate lengths, on texts of 77 tokens."
    )
    return Section(f"A search step, {_sizes(scale, problem)}", rows, note)


def _growth(scale: Scale, dtype: str) -> Section:
    problem = make_problem(scale.config, classes=scale.classes, dtype=dtype)
    make = functools.partial(
        make_problem, scale.config, dtype=dtype, params=problem.clip.params, classes=scale.classes
    )
    stage2 = interleaved({"search": search_run(problem), "train": train_run(problem)}, scale.rounds)
    longest = interleaved(
        {f"T = {T}": search_run(make(longest=T)) for T in (2, 6, 10)}, scale.rounds
    )
    classes = interleaved(
        {f"{C} classes": search_run(make(classes=C)) for C in scale.many_classes}, scale.rounds
    )
    least = f"{scale.many_classes[0]} classes"
    rows = [
        Row("search step (two half-steps)", _seconds(stage2["search"])),
        Row("stage-2 step (one half-step)", _seconds(stage2["train"])),
        Row(
            "search half-step / stage-2 half-step",
            f"{ratio(stage2['search'], stage2['train']) / 2:.2f} x",
            "at most 1.15",
        ),
        *(Row(f"search step, {T}", _seconds(timing)) for T, timing in longest.items()),
        Row(
            "T = 10 / T = 2", f"{ratio(longest['T = 10'], longest['T = 2']):.2f} x", "at most 1.15"
        ),
        *(Row(f"search step, {C}", _seconds(timing)) for C, timing in classes.items()),
        *(
            Row(f"{C} / {least}", f"{ratio(timing, classes[least]):.2f} x")
            for C, timing in list(classes.items())[1:]
        ),
    ]
    note = (
        "The image tower's part does not grow with the classes, so the step grows more slowly "
        "than their number. A stage-2 step trains lengths of 0 to T."
    )
    return Section(f"What a search step costs, {_sizes(scale, problem)}", rows, note)


def search_run(problem: Problem) -> Run:
    """A jitted search step from the initial state, again and again."""
    step = jax.jit(search_step, static_argnames=("search", "steps_per_epoch"))
    clip = fit_memory(problem.clip, problem.texts, problem.batches, problem.config)
    return functools.partial(
        step,
        problem.search_state(),
        clip,
        problem.task,
        *problem.batches,
        search=problem.search,
        steps_per_epoch=STEPS_PER_EPOCH,
    )


def train_run(problem: Problem) -> Run:
    """A jitted step of stage 2."""
    step = jax.jit(train_step, static_argnames=("train", "steps_per_epoch"))
    clip = fit_memory(problem.clip, problem.texts, problem.batches, problem.config)
    return functools.partial(
        step,
        problem.train_state(),
        clip,
        problem.task,
        problem.batches[0],
        train=problem.train,
        steps_per_epoch=STEPS_PER_EPOCH,
    )


def naive_run(problem: Problem) -> Run:
    """A jitted search step with T + 1 attentions and 77 tokens."""
    step = jax.jit(naive_search_step, static_argnames=("sizes", "search", "steps_per_epoch"))
    params, state = naive_arguments(problem)
    return functools.partial(
        step,
        params,
        state,
        problem.clip.params,
        problem.input_ids,
        *problem.batches,
        sizes=problem.clip.sizes,
        search=problem.search,
        steps_per_epoch=STEPS_PER_EPOCH,
    )


def naive_arguments(problem: Problem) -> tuple[Any, Any]:
    """The initial parameters and the optimiser's state."""
    state = problem.search_state()
    return state.params, state.optimizer


def torch_run(problem: Problem) -> Run | None:
    """A step of the PyTorch baseline on the same device; None without a PyTorch for it."""
    try:
        import torch

        from benchmarks.torch_baseline import TorchSearch
    except ModuleNotFoundError:
        return None
    device = {"cpu": "cpu", "gpu": "cuda"}[jax.default_backend()]
    if device == "cuda" and not torch.cuda.is_available():
        return None
    search = TorchSearch(
        problem.clip.sizes,
        problem.input_ids,
        problem.batches,
        problem.search.max_context_length,
        device=device,
        bfloat16=problem.clip.dtype == "bfloat16",
    )
    return search.step


def device_rows(problem: Problem, timing: Timing) -> list[Row]:
    """Steps a second, and on a GPU the memory that was in use at most."""
    rows = [Row("dpl_jax, steps per second", f"{1 / timing.median:.2f}")]
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        peak = stats["peak_bytes_in_use"] / 2**30
        rows.append(Row("most memory in use so far, by any of JAX's", f"{peak:.1f} GB"))
    return rows


def _seconds(timing: Timing) -> str:
    spread = f"{min(timing.seconds):.3g} to {max(timing.seconds):.3g}"
    return f"{timing.median:.3g} s ({spread}, {len(timing.seconds)} rounds)"


def _sizes(scale: Scale, problem: Problem) -> str:
    vision, tokens = scale.config.vision, problem.texts.input_ids.shape[1]
    prefix = 0 if problem.texts.prefix is None else len(problem.texts.prefix)
    return (
        f"{vision.num_hidden_layers} layers of width {vision.hidden_size} and "
        f"{scale.config.text.hidden_size}, {scale.classes} classes of {prefix} + {tokens} tokens, "
        f"T = {problem.search.max_context_length}, batch {len(problem.batches[0][1])}, "
        f"{problem.clip.dtype}"
    )
