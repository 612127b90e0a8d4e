"""The text tower's cuts are exact, and the end-of-text is where CLIP reads it."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpl_jax import Clip, load_clip
from dpl_jax.clip.config import TextConfig
from dpl_jax.clip.features import text_features
from dpl_jax.clip.texts import common_prefix, end_positions, prepare_texts
from dpl_jax.errors import TextTooLongError
from dpl_jax.prompts.trees import supernet_prompts
from tests.support.naive import naive_text_features
from tests.support.small_clip import EOS, random_tensors, small_config, write_clip

POSITIONS = 40
TEXTS = ["a photo of a cat.", "a photo of a large dog.", "a photo of an owl."]

# Under jit the ids are not known, so nothing is cut: the whole rows go through the tower.
whole_features = jax.jit(text_features)


@pytest.fixture(scope="module")
def prompts(clip: Clip) -> Any:
    random = np.random.default_rng(2)
    rows = jnp.asarray(random.standard_normal((2, 3, 16)), jnp.float32)
    return supernet_prompts(rows, jnp.asarray(random.standard_normal((2, 3)), jnp.float32))


def padded(ids: np.ndarray, filling: Any = EOS) -> np.ndarray:
    """Ids with all positions of the tower; behind the first end-of-text stands ``filling``."""
    full = np.full((len(ids), POSITIONS), filling, np.int32)
    for row, end in enumerate((ids == EOS).argmax(axis=1)):
        full[row, : end + 1] = ids[row, : end + 1]
    return full


def test_cuts_change_nothing(clip: Clip, prompts: Any) -> None:
    """Cut and with the common prefix apart, against whole rows of 40 tokens."""
    ids = clip.tokenize(TEXTS)
    texts = prepare_texts(padded(ids), clip.sizes.text)
    assert texts.prefix is not None and texts.prefix.shape[0] + texts.input_ids.shape[1] < 30
    for layer_prompts in (None, prompts):
        expected = whole_features(clip, padded(ids), layer_prompts)
        np.testing.assert_allclose(
            text_features(clip, padded(ids), layer_prompts), expected, rtol=0, atol=1e-5
        )


def test_tokens_behind_the_end_do_not_matter(clip: Clip, prompts: Any) -> None:
    """Not even other end-of-text tokens: CLIP pads with them, so the first one is meant."""
    ids = clip.tokenize(TEXTS)
    expected = whole_features(clip, padded(ids), prompts)
    for filling in (0, 7):
        np.testing.assert_array_equal(whole_features(clip, padded(ids, filling), prompts), expected)
        np.testing.assert_allclose(
            text_features(clip, padded(ids, filling), prompts), expected, rtol=0, atol=1e-5
        )


def test_a_text_has_the_same_features_in_any_company(clip: Clip, prompts: Any) -> None:
    """Alone, twice, with its prefix shared, and beside a text that shares nothing."""
    expected = whole_features(clip, padded(clip.tokenize(TEXTS)), prompts)
    for texts in ([TEXTS[0]], [TEXTS[0], TEXTS[0]], [TEXTS[0], "an owl"], [TEXTS[0], ""]):
        features = text_features(clip, clip.tokenize(texts), prompts)
        np.testing.assert_allclose(features[0], expected[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("ids", "length"),
    [
        ([[1, 2, 3, 9], [1, 2, 4, 9]], 2),
        ([[1, 2, 3, 9], [5, 2, 3, 9]], 0),
        ([[1, 2, 9, 9], [1, 2, 9, 9]], 2),  # the end-of-text itself stays
        ([[1, 9, 9, 9], [1, 9, 3, 4]], 1),
        ([[1, 2, 3, 9]], 0),
    ],
)
def test_common_prefix(ids: list[list[int]], length: int) -> None:
    config = TextConfig(eos_token_id=9, vocab_size=10)
    rows = np.array(ids)
    assert common_prefix(rows, end_positions(rows, config)) == length


def test_end_of_text() -> None:
    """The first end-of-text id; with the legacy id 2, the first of the largest."""
    rows = np.array([[49406, 2, 5, 49407, 49407], [49406, 49407, 2, 7, 49407]])
    for eos in (49407, 2):
        config = TextConfig(eos_token_id=eos)
        np.testing.assert_array_equal(end_positions(rows, config), [3, 1])
        np.testing.assert_array_equal(end_positions(jnp.asarray(rows), config), [3, 1])


def test_legacy_config_reads_the_largest_id(tmp_path: Path) -> None:
    """A config with id 2 and tokens that hold a 2 before their end, against the naive tower."""
    config = small_config(text={"eos_token_id": 2})
    tensors = random_tensors(config)
    clip = load_clip(write_clip(tmp_path, config, tensors))
    ids = np.array([[EOS - 1, 2, 70, EOS, EOS, EOS], [EOS - 1, 9, 2, 8, 2, EOS]])
    expected = naive_text_features(tensors, config["text_config"], ids)
    np.testing.assert_allclose(text_features(clip, ids), expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(whole_features(clip, ids), expected, rtol=0, atol=1e-4)


def test_tokens_of_texts(clip: Clip) -> None:
    """Start, letters, end; padded with the end-of-text to the longest, as CLIP does."""
    ids = clip.tokenize(["ab", "a"])
    assert ids.dtype == np.int32 and ids.shape == (2, 4)
    assert ids[:, 0].tolist() == [EOS - 1] * 2
    assert ids[0, -1] == EOS and ids[1, 2:].tolist() == [EOS, EOS]
    assert clip.tokenize([]).shape[0] == 0


def test_a_text_that_is_too_long_is_named(clip: Clip) -> None:
    fits = "x" * (POSITIONS - 2)
    assert clip.tokenize([fits]).shape == (1, POSITIONS)
    with pytest.raises(TextTooLongError, match=f'The text "{fits}y" has 41 tokens.*40 positions'):
        clip.tokenize(["short", fits + "y"])
