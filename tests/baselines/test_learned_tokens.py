"""VPT, IVLP, MaPLe and CoOp against slow towers in float64, and what their tokens may touch."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpl_jax import Clip, zero_shot_logits
from dpl_jax.baselines.coop import CoOp
from dpl_jax.baselines.ivlp import IVLP
from dpl_jax.baselines.maple import MaPLe
from dpl_jax.baselines.method import Method, count_parameters
from dpl_jax.baselines.vpt import VPT
from dpl_jax.clip.features import text_features
from dpl_jax.clip.texts import prepare_texts
from dpl_jax.data.split import Dataset
from dpl_jax.data.templates import PHOTO, prompts_for
from dpl_jax.errors import ConfigError
from tests.baselines.slow import slow_image_features, slow_logits, slow_text_features

LAYERS, WIDTHS = {"image": 4, "text": 3}, {"image": 24, "text": 16}
METHODS = [
    CoOp(tokens=5),
    VPT(tokens=2, deep=False),
    IVLP(tokens=2, depth=2),
    IVLP(tokens=12, depth=9),
    MaPLe(tokens=2, depth=9),
]
IDS = [repr(method) for method in METHODS]


def start(method: Method, clip: Clip, inputs: Any) -> dict[str, np.ndarray]:
    """Parameters as far from the start as the tokens of a CLIP, float64."""
    random = np.random.default_rng(7)
    params = method.init(clip, inputs, 1)
    return {
        name: np.asarray(leaf, np.float64) + 0.3 * random.standard_normal(leaf.shape)
        for name, leaf in params.items()
    }


def slow_texts(method: Method, clip: Clip, dataset: Dataset) -> list[list[int]]:
    """Token ids without places for the learned ones, as the papers spell the texts."""
    if isinstance(method, CoOp):
        texts = prompts_for(dataset.classnames, "{}.")
    elif isinstance(method, VPT):
        texts = prompts_for(dataset.classnames, dataset.template)
    elif method.tokens > len("aphotoofa"):
        texts = prompts_for(dataset.classnames, "{}.")
    else:
        texts = prompts_for(dataset.classnames, PHOTO)
    ids = [clip.tokenizer([text])[0].tolist() for text in texts]
    words = method.tokens if isinstance(method, IVLP | MaPLe) and method.tokens <= 9 else 0
    return [row[:1] + row[1 + words :] for row in ids]


def slow_tokens(params: dict[str, Any]) -> dict[str, list[Any]]:
    """Tokens (n, D) of each layer that has any, of each tower."""
    tokens = {tower: list(params.get(tower, ())) for tower in LAYERS}
    if "kernel" in params:
        coupled = zip(params["text"], params["kernel"], params["bias"], strict=True)
        tokens["image"] = [
            jnp.stack([row @ kernel + bias for row in rows]) for rows, kernel, bias in coupled
        ]
    return tokens


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_logits_and_gradients_are_those_of_the_slow_towers(
    method: Method,
    clip: Clip,
    dataset: Dataset,
    images: np.ndarray,
    config: dict[str, Any],
    tensors: dict[str, np.ndarray],
) -> None:
    """In float64, the gradient along a direction by differences; no learned row is left out."""
    random = np.random.default_rng(8)
    weight = random.standard_normal((len(images), 3))
    texts = slow_texts(method, clip, dataset)
    with jax.enable_x64(True):
        clip = clip.replace(params=jax.tree.map(lambda leaf: leaf.astype("float64"), clip.params))
        inputs = method.inputs(clip, dataset)
        params = start(method, clip, inputs)
        exact = {name: jnp.asarray(tensor, "float64") for name, tensor in tensors.items()}
        pixels = jnp.asarray(images, "float64")

        def slow(params: dict[str, Any]) -> np.ndarray:
            tokens = slow_tokens(jax.tree.map(jnp.asarray, params))
            image = slow_image_features(exact, config["vision_config"], pixels, tokens["image"])
            text = slow_text_features(exact, config["text_config"], texts, tokens["text"])
            return np.asarray(slow_logits(image, text, exact["logit_scale"]))

        @jax.jit
        def ours(params: dict[str, Any], clip: Clip) -> tuple[jax.Array, dict[str, jax.Array]]:
            logits, back = jax.vjp(lambda p: method.logits(p, clip, inputs, pixels), params)
            return logits, back(jnp.asarray(weight))[0]

        logits, gradient = ours(jax.tree.map(jnp.asarray, params), clip)
        np.testing.assert_allclose(logits, slow(params), atol=1e-9)
        step = {name: 1e-5 * random.standard_normal(leaf.shape) for name, leaf in params.items()}
        ahead, behind = (
            (weight * slow(jax.tree.map(move, params, step))).sum()
            for move in (np.add, np.subtract)
        )
    gradient = jax.tree.map(np.asarray, gradient)
    along = sum((gradient[name] * step[name]).sum() for name in params)
    assert along == pytest.approx((ahead - behind) / 2, rel=1e-6)
    for name, leaf in gradient.items():
        assert (np.abs(leaf).sum(axis=-1) > 0).all(), name


@pytest.mark.parametrize("depth", [1, 3, 9])
def test_only_the_first_layers_have_tokens(depth: int, clip: Clip, dataset: Dataset) -> None:
    for method, layers in (IVLP(depth=depth), LAYERS), (MaPLe(depth=depth), {"text": 3}):
        params = method.init(clip, method.inputs(clip, dataset), 1)
        for tower, most in layers.items():
            assert len(params[tower]) == min(depth, most)


def test_deep_prompts_cover_all_layers_of_the_image_tower(clip: Clip, dataset: Dataset) -> None:
    shapes = {}
    for deep in (False, True):
        method = VPT(tokens=5, deep=deep)
        shapes[deep] = method.init(clip, method.inputs(clip, dataset), 1)["image"].shape
    assert shapes == {False: (1, 5, 24), True: (4, 5, 24)}


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("method", [IVLP, MaPLe])
def test_no_tokens_are_zero_shot(
    method: Any, depth: int, clip: Clip, dataset: Dataset, images: np.ndarray
) -> None:
    method = method(tokens=0, depth=depth)
    inputs = method.inputs(clip, dataset)
    found = method.logits(method.init(clip, inputs, 1), clip, inputs, images)
    expected = zero_shot_logits(clip, images, clip.tokenize(prompts_for(dataset.classnames, PHOTO)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("deep", [False, True])
def test_no_visual_tokens_are_zero_shot(
    deep: bool, clip: Clip, dataset: Dataset, images: np.ndarray
) -> None:
    method = VPT(tokens=0, deep=deep)
    inputs = method.inputs(clip, dataset)
    found = method.logits(method.init(clip, inputs, 1), clip, inputs, images)
    texts = clip.tokenize(prompts_for(dataset.classnames, dataset.template))
    np.testing.assert_allclose(found, zero_shot_logits(clip, images, texts), atol=1e-5)


def test_text_tokens_that_start_from_words_change_nothing_while_shallow(
    clip: Clip, dataset: Dataset
) -> None:
    method = IVLP(tokens=4, depth=1)
    inputs = method.inputs(clip, dataset)
    features = method.text(method.init(clip, inputs, 1), clip, inputs)
    texts = clip.tokenize(prompts_for(dataset.classnames, PHOTO))
    np.testing.assert_allclose(features, text_features(clip, texts), atol=1e-5)


def test_seeds_beside_each_other_are_seeds_alone(
    clip: Clip, dataset: Dataset, images: np.ndarray
) -> None:
    method = MaPLe(tokens=2)
    inputs = method.inputs(clip, dataset)
    members = [method.init(clip, inputs, seed) for seed in (1, 2, 3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)

    def loss(params: dict[str, jax.Array], clip: Clip) -> jax.Array:
        return jax.nn.log_softmax(method.logits(params, clip, inputs, images))[:, 1].mean()

    alone = jax.value_and_grad(loss)
    values, gradients = jax.jit(jax.vmap(alone, in_axes=(0, None)))(stacked, clip)
    for member, params in enumerate(members):
        value, gradient = jax.jit(alone)(params, clip)
        np.testing.assert_allclose(values[member], value, atol=1e-5)
        for name, leaf in gradient.items():
            np.testing.assert_allclose(gradients[name][member], leaf, atol=1e-4, err_msg=name)


def test_remat_and_class_chunks_are_exact(clip: Clip, dataset: Dataset, images: np.ndarray) -> None:
    method = IVLP(tokens=2)
    inputs = method.inputs(clip, dataset)
    params = method.init(clip, inputs, 1)

    @jax.jit
    def gradient(clip: Clip) -> dict[str, jax.Array]:
        return jax.grad(lambda p: method.logits(p, clip, inputs, images)[:, 1].sum())(params)

    plain, frugal = gradient(clip), gradient(clip.replace(remat=True, class_chunks=2))
    for name in params:
        np.testing.assert_allclose(frugal[name], plain[name], atol=1e-4, err_msg=name)


def test_couplings_of_deeper_layers_start_equal_as_in_the_released_code(
    clip: Clip, dataset: Dataset
) -> None:
    method = MaPLe()
    params = method.init(clip, method.inputs(clip, dataset), 1)
    for name in ("kernel", "bias"):
        first, second, third = params[name]
        np.testing.assert_array_equal(second, third)
        assert (first != second).all()
        assert 0.2 < float(jnp.abs(params[name]).max()) <= 0.25  # 1/sqrt(D) of the text tower


def test_counts(clip: Clip, dataset: Dataset) -> None:
    vpt, ivlp, maple = VPT(tokens=2), IVLP(tokens=2, depth=9), MaPLe(tokens=2, depth=9)
    expected = {
        vpt: (2 * 4, 2 * 4 * 24),
        ivlp: (2 * (4 + 3), 2 * (4 * 24 + 3 * 16)),
        maple: (2 * (3 + 3), 3 * (2 * 16 + 16 * 24 + 24)),
    }
    for method, counts in expected.items():
        params = method.init(clip, method.inputs(clip, dataset), 1)
        assert (method.prompt_tokens(params), count_parameters(params)) == counts


def test_learned_tokens_need_whole_texts(clip: Clip, dataset: Dataset) -> None:
    ids = clip.tokenize(prompts_for(dataset.classnames, PHOTO))
    texts = prepare_texts(ids, clip.sizes.text)
    assert texts.prefix is not None
    with pytest.raises(ConfigError, match="whole texts"):
        text_features(clip, texts, tokens=jnp.zeros((1, 2, 16)))


@pytest.mark.parametrize("method", [IVLP, MaPLe])
def test_a_depth_of_zero_is_refused(method: Any) -> None:
    with pytest.raises(ConfigError, match="depth 0"):
        method(depth=0)


def test_methods_are_told_apart_by_their_settings() -> None:
    assert len({*METHODS, *(dataclasses.replace(method) for method in METHODS)}) == len(METHODS)
