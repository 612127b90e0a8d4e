"""What makes a step fast or small changes neither its values nor its gradients."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core

from benchmarks import naive_jax
from benchmarks.flops import matmul_flops
from benchmarks.problem import SMALL, STEPS_PER_EPOCH, Problem, make_problem
from dpl_jax import Clip
from dpl_jax.clip.features import class_logits, image_features, text_features
from dpl_jax.clip.texts import Texts, end_positions, prepare_texts
from dpl_jax.prompts.learned import Supernet
from dpl_jax.prompts.trees import TOWERS, init_supernet
from dpl_jax.training.steps import search_step
from tests.support.naive import naive_logits, supernet_layers
from tests.support.small_clip import EOS, random_tensors, small_config

CLASSES, LENGTH, LONGEST = 5, 20, 2
COMMON = (7, 8, 9)
Tree = dict[str, Any]


@pytest.fixture(scope="module")
def input_ids() -> np.ndarray:
    """Texts (C, S) with a common beginning, of different lengths, padded to S."""
    random = np.random.default_rng(0)
    ids = np.full((CLASSES, LENGTH), EOS, np.int32)
    ids[:, : len(COMMON)] = COMMON
    for row, tokens in enumerate((1, 2, 3, 4, 6)):
        ids[row, 3 : 3 + tokens] = random.integers(0, EOS - 1, tokens)
    return ids


@pytest.fixture(scope="module")
def images() -> jax.Array:
    return jax.random.normal(jax.random.key(1), (3, 16, 16, 3))


@pytest.fixture(scope="module")
def params(clip: Clip) -> Tree:
    prompts, alphas = init_supernet(clip.sizes, LONGEST, 1, {"image": 1.0, "text": 1.0})
    return {"prompts": prompts, "alphas": alphas}


def loss(logits: jax.Array) -> jax.Array:
    """Depends on every logit in its own way."""
    return (logits * jnp.cos(jnp.arange(logits.size)).reshape(logits.shape)).sum()


@pytest.fixture(scope="module")
def expected(input_ids: np.ndarray, images: jax.Array, params: Tree) -> tuple[Any, Any]:
    """Loss and gradients of whole texts, whole last layers and T + 1 attentions."""
    config = small_config()
    tensors = random_tensors(config)

    def slow(params: Tree) -> jax.Array:
        layers = [supernet_layers(params["prompts"][t], params["alphas"][t]) for t in TOWERS]
        pixels = images.transpose(0, 3, 1, 2)  # (B, 3, H, W)
        return loss(naive_logits(tensors, config, pixels, input_ids, *layers))

    return jax.jit(jax.value_and_grad(slow))(params)


def ours(clip: Clip, texts: Texts, images: jax.Array, params: Tree) -> tuple[Any, Any]:
    def fast(params: Tree) -> jax.Array:
        seen = Supernet(**params).view()
        image = image_features(clip, images, seen["image"])
        text = text_features(clip, texts, seen["text"])
        return loss(class_logits(image, text, clip.params["logit_scale"]))

    return jax.jit(jax.value_and_grad(fast))(params)


def whole(input_ids: np.ndarray, clip: Clip) -> Texts:
    return Texts(jnp.asarray(input_ids), jnp.asarray(end_positions(input_ids, clip.sizes.text)))


@pytest.mark.parametrize(
    "saving",
    [{}, {"remat": True}, {"class_chunks": 2}, {"class_chunks": 5, "remat": True}],
    ids=["fastest", "remat", "2 chunks", "5 chunks and remat"],
)
def test_every_way_equals_the_slow_one(
    clip: Clip, input_ids: np.ndarray, images: jax.Array, params: Tree, expected: Any, saving: dict
) -> None:
    texts = prepare_texts(input_ids, clip.sizes.text)
    assert texts.prefix is not None and len(texts.prefix) == len(COMMON)
    assert_close(ours(clip.replace(**saving), texts, images, params), expected)


def test_whole_texts_equal_the_slow_way_too(
    clip: Clip, input_ids: np.ndarray, images: jax.Array, params: Tree, expected: Any
) -> None:
    assert_close(ours(clip, whole(input_ids, clip), images, params), expected)


def test_bfloat16_is_close(
    clip: Clip, input_ids: np.ndarray, images: jax.Array, params: Tree, expected: Any
) -> None:
    """Rounding to 8 bits of mantissa, over a few layers: some percent of a gradient."""
    texts = prepare_texts(input_ids, clip.sizes.text)
    found = ours(clip.replace(dtype="bfloat16"), texts, images, params)
    for ours_leaf, leaf in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert ours_leaf.dtype == jnp.float32
        error = np.linalg.norm(np.asarray(ours_leaf - leaf))
        assert 0 < error < 0.1 * np.linalg.norm(np.asarray(leaf))


def test_the_naive_benchmark_computes_the_same(
    clip: Clip, input_ids: np.ndarray, images: jax.Array, params: Tree, expected: Any
) -> None:
    """The ratio in docs/performance.md compares two programs with one result."""

    def naive(params: Tree) -> jax.Array:
        return loss(naive_jax.naive_logits(clip.params, clip.sizes, images, input_ids, params))

    assert_close(jax.jit(jax.value_and_grad(naive))(params), expected)


def test_bfloat16_stays_inside_the_towers() -> None:
    """Parameters, state, LayerNorm, softmax and logits are float32; most products are not."""
    problem = make_problem(two_layers(), classes=4, longest=2, batch=2, dtype="bfloat16")
    equations = list(equations_of(problem))
    for name in ("exp", "log", "sqrt", "rsqrt", "reduce_max", "erf_inv"):
        assert all(dtypes(e) == {"float32"} for e in equations if e.primitive.name == name), name
    products = [e for e in equations if e.primitive.name == "dot_general"]
    narrow = [e for e in products if str(e.invars[0].aval.dtype) == "bfloat16"]
    assert len(narrow) > len(products) / 2
    features = problem.clip.sizes.projection_dim
    logits = [e for e in products if tuple(e.outvars[0].aval.shape) == (2, 4)]
    assert logits and all(e.invars[0].aval.shape[-1] == features for e in logits)
    assert all(dtypes(e) == {"float32"} for e in logits)

    step = jax.eval_shape(lambda *args: step_of(problem)(*args)[0], *step_arguments(problem))
    kinds = {leaf.dtype for leaf in jax.tree.leaves((step.params, step.optimizer))}
    assert kinds <= {jnp.dtype("float32"), jnp.dtype("int32")}


def test_products_are_counted_through_loops_and_gradients() -> None:
    def layers(x: jax.Array, weights: jax.Array) -> jax.Array:
        layer = jax.checkpoint(
            lambda x, w: (x @ w, None), policy=jax.checkpoint_policies.dots_saveable
        )
        return jax.lax.scan(layer, x, weights)[0].sum()

    x, weights = jnp.ones((3, 5)), jnp.ones((7, 5, 5))
    once = 2 * 3 * 5 * 5
    assert matmul_flops(layers, x, weights) == 7 * once
    assert matmul_flops(jax.grad(layers), x, weights) == 14 * once
    assert matmul_flops(jax.grad(layers, argnums=(0, 1)), x, weights) == 21 * once


def assert_close(found: tuple[Any, Any], expected: tuple[Any, Any]) -> None:
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-4)
    leaves = zip(jax.tree.leaves(found[1]), jax.tree.leaves(expected[1]), strict=True)
    for ours_leaf, leaf in leaves:
        error = np.linalg.norm(np.asarray(ours_leaf - leaf, np.float64))
        assert error < 1e-4 * np.linalg.norm(np.asarray(leaf, np.float64))


def two_layers() -> Any:
    return dataclasses.replace(
        SMALL,
        text=dataclasses.replace(SMALL.text, num_hidden_layers=2),
        vision=dataclasses.replace(SMALL.vision, num_hidden_layers=2),
    )


def step_of(problem: Problem) -> Any:
    def step(*args: Any) -> Any:
        return search_step(*args, search=problem.search, steps_per_epoch=STEPS_PER_EPOCH)

    return step


def step_arguments(problem: Problem) -> tuple[Any, ...]:
    return problem.search_state(), problem.clip, problem.task, *problem.batches


def equations_of(problem: Problem) -> Iterator[core.JaxprEqn]:
    """Every equation of a search step, those inside loops and functions too."""
    stack = [jax.make_jaxpr(step_of(problem))(*step_arguments(problem)).jaxpr]
    while stack:
        for equation in stack.pop().eqns:
            yield equation
            for value in equation.params.values():
                inner = getattr(value, "jaxpr", value)
                if isinstance(inner, core.Jaxpr):
                    stack.append(inner)


def dtypes(equation: core.JaxprEqn) -> set[str]:
    return {str(variable.aval.dtype) for variable in equation.invars}
