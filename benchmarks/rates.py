"""How much arithmetic a step is, how fast it is done, and what the shared prefix saves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.flops import matmul_flops, xla_flops
from benchmarks.problem import STEPS_PER_EPOCH, Problem, make_problem
from benchmarks.section import Row, Scale, Section, dtypes
from benchmarks.steps import search_run
from benchmarks.timing import interleaved, matmul_rate, ratio, seconds
from dpl_jax.clip.features import text_features
from dpl_jax.clip.model import Clip
from dpl_jax.clip.texts import Texts
from dpl_jax.prompts.learned import Supernet
from dpl_jax.prompts.trees import supernet_prompts
from dpl_jax.training.loss import loss_and_accuracy
from dpl_jax.training.steps import search_step

GIGA = 1e9
SQUARE = {"cpu": 2048, "gpu": 8192}


def prefix(scale: Scale) -> list[Section]:
    """The text tower with and without the shared prefix and the cut of the texts."""
    return [_prefix(scale, dtype) for dtype in dtypes()]


def flops(scale: Scale) -> list[Section]:
    """Operations of the step's parts, and the share of the device's rate that it reaches."""
    return [_flops(scale, dtype) for dtype in dtypes()]


def _prefix(scale: Scale, dtype: str) -> Section:
    problem = make_problem(scale.config, classes=scale.classes, dtype=dtype)
    shared, whole = problem.texts, texts_without_prefix(problem)
    full = Texts(jnp.asarray(problem.input_ids), whole.end)
    params = problem.search_state().params
    tower = jax.jit(jax.value_and_grad(text_loss))
    texts = {"shared prefix": shared, "no shared prefix": whole, "77 tokens": full}
    runs = {
        name: functools.partial(tower, params["prompts"]["text"], params, problem.clip, value)
        for name, value in texts.items()
    }
    timings = interleaved(runs, 3 * scale.rounds)
    whole_length = ratio(timings["77 tokens"], timings["shared prefix"])
    saved = 1 - 1 / ratio(timings["no shared prefix"], timings["shared prefix"])
    rows = [
        *(
            Row(f"text tower with its gradient, {name}", f"{timing.median:.3g} s")
            for name, timing in timings.items()
        ),
        Row("time that the shared prefix takes off", f"{saved:.0%}", "at least 25 %"),
        Row("77 tokens / shared prefix", f"{whole_length:.1f} x"),
    ]
    note = "The class tokens differ; the template's words before them are encoded once."
    return Section(f"The text tower, {scale.classes} classes, {dtype}", rows, note)


def _flops(scale: Scale, dtype: str) -> Section:
    problem = make_problem(scale.config, classes=scale.classes, dtype=dtype)
    params = problem.search_state().params
    weights = problem.clip.params
    forward = matmul_flops(loss_of(problem, "prompts"), params["prompts"], weights)
    rows = [Row("forward pass", f"{forward / GIGA:.0f} GFLOP")]
    everything = jax.grad(loss_of_all(problem), argnums=(0, 1))
    all_once = xla_flops(everything, params, weights)
    for group in ("alphas", "prompts"):
        gradient = jax.grad(loss_of(problem, group))
        half = matmul_flops(gradient, params[group], weights)
        measured = f"{half / forward:.2f} x ({half / GIGA:.0f} GFLOP)"
        target = "about 2: no gradient of CLIP's weights"
        rows.append(Row(f"half-step of the {group} / forward pass", measured, target))
        once = xla_flops(gradient, params[group], weights)
        what = f"XLA's count, loop bodies once: {group} alone / CLIP's weights too"
        rows.append(Row(what, f"{once / all_once:.2f} x"))
    more = matmul_flops(everything, params, weights)
    rows.append(Row("gradients of CLIP's weights too / forward pass", f"{more / forward:.2f} x"))
    return Section(
        f"Arithmetic of a search step, {scale.classes} classes, {dtype}",
        rows + rate_rows(problem),
        "Counted: the matrix products of the traced program, the attention's scores twice, since "
        "the gradient computes them again. The device's rate is the best of ten products of large "
        "square matrices, measured between the steps.",
    )


def rate_rows(problem: Problem) -> list[Row]:
    """The step's FLOP/s beside those of one large matrix product, taken in turns."""
    state, run = problem.search_state(), search_run(problem)
    seconds(run)
    side = SQUARE[jax.default_backend()]
    pairs = [(matmul_rate(problem.clip.dtype, side), seconds(run)) for _ in range(5)]

    step = functools.partial(search_step, search=problem.search, steps_per_epoch=STEPS_PER_EPOCH)
    operations = matmul_flops(step, state, problem.clip, problem.task, *problem.batches)
    machine = sorted(rate for rate, _ in pairs)[len(pairs) // 2]
    shares = sorted(operations / taken / rate for rate, taken in pairs)
    share = shares[len(shares) // 2]
    return [
        Row("search step", f"{operations / GIGA:.0f} GFLOP"),
        Row("product of two square matrices", f"{machine / GIGA:.0f} GFLOP/s"),
        Row("search step", f"{share * machine / GIGA:.0f} GFLOP/s"),
        Row("search step / matrix product", f"{share:.0%}", "at least 50 %"),
    ]


def texts_without_prefix(problem: Problem) -> Texts:
    """The texts cut to the longest one, but encoded whole for every class."""
    texts = problem.texts
    before = 0 if texts.prefix is None else len(texts.prefix)
    length = before + texts.input_ids.shape[1]
    return Texts(jnp.asarray(problem.input_ids[:, :length]), texts.end + before)


def text_loss(rows: jax.Array, params: Any, clip: Clip, texts: Texts) -> jax.Array:
    """A number that needs the text tower alone, and its prompts ``rows`` (N, P, D)."""
    seen = supernet_prompts(rows, params["alphas"]["text"])
    return text_features(clip, texts, seen).astype(jnp.float32).sum()


def loss_of(problem: Problem, group: str) -> Callable[[Any, Any], jax.Array]:
    """The search's loss of (one group of parameters, CLIP's weights), the other group fixed."""
    params, loss = problem.search_state().params, loss_of_all(problem)
    return lambda values, weights: loss(params | {group: values}, weights)


def loss_of_all(problem: Problem) -> Callable[[Any, Any], jax.Array]:
    """The search's loss of (prompts and alphas, CLIP's weights)."""

    def loss(params: Any, weights: Any) -> jax.Array:
        clip = problem.clip.replace(params=weights)
        seen = Supernet(**params).view()
        return loss_and_accuracy(clip, *problem.batches[0], problem.texts, seen)[0]

    return loss
