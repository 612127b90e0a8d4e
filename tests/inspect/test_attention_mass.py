"""The attention that prompts get, against an explicit softmax over tokens and prompts together."""

import dataclasses
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from dpl_jax.clip.attention import LayerPrompts, prompt_mass, prompted_attention
from dpl_jax.clip.features import NO_PROMPTS, image_features
from dpl_jax.errors import ConfigError
from dpl_jax.inspect.attention_mass import (
    image_attention_mass,
    mass_at,
    over_image,
    patch_map,
    text_attention_mass,
)
from dpl_jax.prompts.learned import Discrete, Supernet
from tests.inspect.conftest import Case
from tests.support import naive

KINDS = ["chosen lengths", "supernet"]


def fast(case: Case, kind: str) -> dict[str, LayerPrompts]:
    if kind == "supernet":
        return Supernet(case.prompts, case.alphas).view()
    return Discrete(case.prompts, case.lengths).view()


def slow(case: Case, kind: str, tower: str) -> Any:
    prompts = jnp.asarray(case.prompts[tower], jnp.float64)
    if kind == "supernet":
        return naive.supernet_layers(prompts, jnp.asarray(case.alphas[tower], jnp.float64))
    return naive.chosen_layers(prompts, case.lengths[tower])


@pytest.mark.parametrize("kind", KINDS)
def test_the_image_towers_mass_is_that_of_the_explicit_softmax(case: Case, kind: str) -> None:
    mass = image_attention_mass(case.clip, case.images, fast(case, kind)["image"])
    assert mass.shape == (3, 2, 3, 5) and mass.dtype == np.float32
    with jax.enable_x64(True):
        config = case.config["vision_config"]
        images = jnp.asarray(case.images.transpose(0, 3, 1, 2), jnp.float64)
        x = naive.naive_image_embedding(case.tensors, config, images)
        layers = slow(case, kind, "image")
        expected = naive.naive_prompt_mass(case.tensors, config, "vision_model", x, layers)
        expected = np.stack(expected)
    np.testing.assert_allclose(mass, expected, rtol=0, atol=2e-6)
    assert expected.max() > 0.2 and np.ptp(expected[-1]) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_towers_mass_is_that_of_the_explicit_softmax(case: Case, kind: str) -> None:
    mass = text_attention_mass(case.clip, case.input_ids, fast(case, kind)["text"])
    assert mass.shape == (2, 3, 4, 7) and mass.dtype == np.float32
    with jax.enable_x64(True):
        config, ids = case.config["text_config"], case.input_ids
        x = naive.naive_text_embedding(case.tensors, ids)
        seen = naive.naive_causal_mask(ids.shape[1])
        layers = slow(case, kind, "text")
        expected = naive.naive_prompt_mass(case.tensors, config, "text_model", x, layers, seen)
        expected = np.stack(expected)
    np.testing.assert_allclose(mass, expected, rtol=0, atol=2e-6)
    assert expected.max() > 0.2


def test_layers_of_length_zero_get_nothing(case: Case) -> None:
    prompts = fast(case, "chosen lengths")
    image = np.asarray(image_attention_mass(case.clip, case.images, prompts["image"]))
    text = np.asarray(text_attention_mass(case.clip, case.input_ids, prompts["text"]))
    for mass, lengths in ((image, case.lengths["image"]), (text, case.lengths["text"])):
        np.testing.assert_array_equal((mass > 0).all(axis=(1, 2, 3)), lengths > 0)
        np.testing.assert_array_equal((mass == 0).all(axis=(1, 2, 3)), lengths == 0)
    none = image_attention_mass(case.clip, case.images, NO_PROMPTS["image"])
    np.testing.assert_array_equal(none, np.zeros_like(image))
    none = text_attention_mass(case.clip, case.input_ids, NO_PROMPTS["text"])
    np.testing.assert_array_equal(none, np.zeros_like(text))


def test_tokens_and_prompts_share_all_of_the_attention(case: Case) -> None:
    """The attention of the forward pass, with values that are 1 for one of the two and 0 else."""
    random = np.random.default_rng(0)
    query, key = random.standard_normal((2, 2, 5, 3, 8), np.float32)  # (B, S, H, d) each
    prompt_key = 3 * random.standard_normal((6, 3, 8), np.float32)
    prompts = jax.tree.map(lambda leaf: leaf[0], fast(case, "supernet")["image"])
    mass = prompt_mass(query, key, prompt_key, prompts)  # (B, H, S)

    def share(of_tokens: float, of_prompts: float) -> jax.Array:
        values = jnp.full_like(key, of_tokens), jnp.full_like(prompt_key, of_prompts)
        out = prompted_attention(query, key, values[0], prompt_key, values[1], prompts)
        return jnp.swapaxes(out[..., 0], 1, 2)  # (B, H, S)

    np.testing.assert_allclose(mass, share(0, 1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(1 - mass, share(1, 0), rtol=0, atol=1e-6)
    assert mass.min() > 0 and mass.max() < 1


def test_half_precision_changes_little(case: Case) -> None:
    half = case.clip.replace(dtype="bfloat16")
    prompts = fast(case, "chosen lengths")["image"]
    mass = image_attention_mass(half, case.images, prompts)
    assert mass.dtype == np.float32
    expected = image_attention_mass(case.clip, case.images, prompts)
    np.testing.assert_allclose(mass, expected, rtol=0, atol=0.03)


def test_one_query_of_each_row_can_be_picked() -> None:
    mass = jnp.arange(2 * 3 * 2 * 5, dtype=jnp.float32).reshape(2, 3, 2, 5)
    found = mass_at(mass, np.array([4, 0, 2]))
    expected = [
        [[mass[n, b, h, at] for h in range(2)] for b, at in enumerate([4, 0, 2])] for n in range(2)
    ]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(mass_at(mass, 0), mass[..., 0])


def test_a_map_has_the_patches_in_place_and_leaves_out_the_last_layer(case: Case) -> None:
    """Only the second row's third patch looks at prompts, in one head of the first layer."""
    mass = np.zeros((3, 2, 4, 10), np.float32)
    mass[0, 1, 2, 1 + 5] = 0.8
    mass[:, :, :, 0] = 1.0  # class token
    mass[2] = 1.0
    expected = np.zeros((2, 3, 3), np.float32)
    expected[1, 1, 2] = 0.8 / 4 / 2
    np.testing.assert_allclose(patch_map(jnp.asarray(mass)), expected, rtol=1e-6)
    np.testing.assert_array_equal(patch_map(jnp.asarray(mass[:1])), np.zeros((2, 3, 3)))


def test_a_map_is_spread_over_the_pixels(case: Case) -> None:
    """Sixteen pixels in two patches of eight; or of seven, and two pixels are in none."""
    maps = np.array([[[0.0, 1.0], [0.0, 1.0]]])
    spread = over_image(maps, case.clip.sizes.vision)
    assert spread.shape == (1, 16, 16)
    np.testing.assert_allclose(spread[0, :, :4], 0)
    np.testing.assert_allclose(spread[0, :, 12:], 1)
    np.testing.assert_allclose(spread.mean(), 0.5)
    odd = over_image(maps, dataclasses.replace(case.clip.sizes.vision, patch_size=7))
    np.testing.assert_allclose(odd[0, :, 13:], 1)
    np.testing.assert_allclose(odd[0, :, :14].mean(), 0.5)


def test_images_and_ids_that_do_not_fit_are_refused(case: Case) -> None:
    prompts = fast(case, "supernet")
    with pytest.raises(ConfigError, match=r"images have the shape \(2, 8, 8, 3\)"):
        image_attention_mass(case.clip, case.images[:, :8, :8], prompts["image"])
    with pytest.raises(ConfigError, match="input_ids reach from"):
        text_attention_mass(case.clip, case.input_ids + 5, prompts["text"])


def test_the_towers_program_has_no_layer_inputs_unless_they_are_asked_for(case: Case) -> None:
    """Of the scan over the layers only the hidden states come out, nothing of every layer."""
    prompts = fast(case, "supernet")["image"]
    jaxpr = jax.make_jaxpr(lambda images: image_features(case.clip, images, prompts))(case.images)
    scans = [eqn for eqn in equations(jaxpr.jaxpr) if eqn.primitive.name == "scan"]
    assert len(scans) == 1
    assert [var.aval.shape for var in scans[0].outvars] == [(2, 5, 24)]


def equations(jaxpr: Any) -> Any:
    """All equations, also of the programs within."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from equations(inner)
