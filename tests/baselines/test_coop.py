"""CoOp in its limiting cases; the towers behind it are in test_learned_tokens.py."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpl_jax import Clip, load_clip, zero_shot_logits
from dpl_jax.baselines.context import word_context
from dpl_jax.baselines.coop import CoOp
from dpl_jax.baselines.method import count_parameters
from dpl_jax.clip.features import class_logits
from dpl_jax.data.split import Dataset
from dpl_jax.data.templates import prompts_for
from dpl_jax.errors import ConfigError, TextTooLongError

TEMPLATE_TOKENS = len("apictureof")  # the small CLIP reads letter by letter


def zero_shot(clip: Clip, dataset: Dataset, images: np.ndarray) -> np.ndarray:
    texts = clip.tokenize(prompts_for(dataset.classnames, dataset.template))
    return np.asarray(zero_shot_logits(clip, images, texts))


def logits(method: CoOp, clip: Clip, dataset: Dataset, images: np.ndarray) -> np.ndarray:
    inputs = method.inputs(clip, dataset)
    return np.asarray(method.logits(method.init(clip, inputs, 1), clip, inputs, images))


def test_words_start_as_zero_shot(clip: Clip, dataset: Dataset, images: np.ndarray) -> None:
    found = logits(CoOp(words=True), clip, dataset, images)
    np.testing.assert_allclose(found, zero_shot(clip, dataset, images), atol=1e-5)


def test_words_start_as_zero_shot_with_a_tokenizer_of_words(dataset: Dataset) -> None:
    clip = load_clip("tiny")
    side = clip.sizes.vision.image_size
    images = np.random.default_rng(0).standard_normal((2, side, side, 3)).astype(np.float32)
    digits = dataclasses.replace(
        dataset, classnames=("zero", "one", "nine"), template="a photo of the digit {}."
    )
    found = logits(CoOp(words=True), clip, digits, images)
    np.testing.assert_allclose(found, zero_shot(clip, digits, images), atol=1e-4, rtol=1e-5)


def test_the_templates_embeddings_as_context_are_zero_shot(
    clip: Clip, dataset: Dataset, images: np.ndarray
) -> None:
    plain = dataclasses.replace(dataset, template="a picture of {}.")
    method = CoOp(tokens=TEMPLATE_TOKENS)
    inputs = method.inputs(clip, plain)
    words = clip.tokenize(["a picture of"])[0, 1:-1]
    embedding = np.asarray(clip.params["text"]["token_embedding"]["embedding"])[words]
    found = method.logits({"text": jnp.asarray(embedding)[None]}, clip, inputs, images)
    np.testing.assert_allclose(found, zero_shot(clip, plain, images), atol=1e-5)


def test_no_tokens_are_the_class_names_alone(
    clip: Clip, dataset: Dataset, images: np.ndarray
) -> None:
    names = dataclasses.replace(dataset, template="{}.")
    found = logits(CoOp(tokens=0), clip, dataset, images)
    np.testing.assert_allclose(found, zero_shot(clip, names, images), atol=1e-5)


def test_equal_contexts_of_all_classes_are_one_context(
    clip: Clip, dataset: Dataset, images: np.ndarray
) -> None:
    unified, own = CoOp(tokens=5), CoOp(tokens=5, class_specific=True)
    inputs = unified.inputs(clip, dataset)
    params = unified.init(clip, inputs, 3)
    equal = {"text": jnp.repeat(params["text"][:, None], 3, axis=1)}
    np.testing.assert_allclose(
        own.logits(equal, clip, inputs, images),
        unified.logits(params, clip, inputs, images),
        atol=1e-5,
    )


def test_a_class_sees_its_own_context_only(clip: Clip, dataset: Dataset) -> None:
    method = CoOp(tokens=5, class_specific=True)
    inputs = method.inputs(clip, dataset)
    params = method.init(clip, inputs, 3)
    gradient = jax.grad(lambda p: method.text(p, clip, inputs)[1].sum())(params)["text"]
    touched = (gradient != 0).any(axis=(0, 2, 3))  # (C,)
    np.testing.assert_array_equal(touched, [False, True, False])


def test_classes_in_chunks_are_the_same(clip: Clip, dataset: Dataset) -> None:
    method = CoOp(tokens=5, class_specific=True)
    inputs = method.inputs(clip, dataset)
    params = method.init(clip, inputs, 3)

    @jax.jit
    def value(clip: Clip) -> tuple:
        features, back = jax.vjp(lambda p: method.text(p, clip, inputs), params)
        weight = jnp.arange(1.0, features.size + 1).reshape(features.shape)
        return features, back(weight)[0]["text"]

    features, gradient = value(clip)
    chunked_features, chunked_gradient = value(clip.replace(class_chunks=2))
    np.testing.assert_allclose(chunked_features, features, atol=1e-5)
    np.testing.assert_allclose(chunked_gradient, gradient, atol=1e-3, rtol=1e-4)


def test_start_is_normal_of_scale_002_and_follows_from_the_seed(
    clip: Clip, dataset: Dataset
) -> None:
    method = CoOp(tokens=16, class_specific=True)
    inputs = method.inputs(clip, dataset)
    start = method.init(clip, inputs, 1)["text"]
    assert start.shape == (1, 3, 16, 16)
    assert start.dtype == jnp.float32
    assert float(start.std()) == pytest.approx(0.02, rel=0.1)
    np.testing.assert_array_equal(start, method.init(clip, inputs, 1)["text"])
    assert (start != method.init(clip, inputs, 2)["text"]).all()


def test_counts(clip: Clip, dataset: Dataset) -> None:
    for method, tokens in [(CoOp(), 16), (CoOp(tokens=4, class_specific=True), 3 * 4)]:
        params = method.init(clip, method.inputs(clip, dataset), 1)
        assert method.prompt_tokens(params) == tokens
        assert count_parameters(params) == tokens * 16


def test_the_method_is_a_static_argument(clip: Clip, dataset: Dataset, images: np.ndarray) -> None:
    method = CoOp(tokens=5)
    inputs = method.inputs(clip, dataset)
    params = method.init(clip, inputs, 1)

    def logits(method: CoOp, *arguments) -> jax.Array:
        image = method.image(*arguments, images)
        return class_logits(image, method.text(*arguments), clip.params["logit_scale"])

    found = jax.jit(logits, static_argnums=0)(method, params, clip, inputs)
    np.testing.assert_allclose(found, method.logits(params, clip, inputs, images), atol=1e-5)
    assert hash(method) == hash(CoOp(tokens=5)) and method == CoOp(tokens=5) != CoOp(tokens=4)


def test_too_long_a_context_names_the_text(clip: Clip, dataset: Dataset) -> None:
    # "redcat." is the longest name: 7 letters, start and end, in 40 positions
    CoOp(tokens=31).inputs(clip, dataset)
    with pytest.raises(TextTooLongError, match=r'"red cat\." behind 32 learned tokens has 41'):
        CoOp(tokens=32).inputs(clip, dataset)


def test_a_template_without_words_has_nothing_to_start_from(clip: Clip, dataset: Dataset) -> None:
    texture = dataclasses.replace(dataset, template="{} texture.")
    with pytest.raises(ConfigError, match="0 tokens in front of the class name"):
        CoOp(words=True).inputs(clip, texture)


def test_words_must_not_run_into_the_class_name(clip: Clip, dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="put a space"):
        word_context(clip, dataset, "un{}.")
    with pytest.raises(ConfigError, match="tokens is -1"):
        CoOp(tokens=-1)
