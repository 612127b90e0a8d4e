"""Prompt rows as vectors, against loops over them one by one."""

import jax.numpy as jnp
import numpy as np
import pytest

from dpl_jax.inspect.prompt_geometry import (
    Rows,
    chance_cosines,
    cosines,
    layer_similarity,
    nearest_tokens,
    used_rows,
)
from tests.inspect.conftest import Case
from tests.support import naive, small_clip

EMBEDDING = "text_model.embeddings.token_embedding.weight"
POSITIONS = "text_model.embeddings.position_embedding.weight"


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def test_only_rows_in_use_count_and_know_their_layer(case: Case) -> None:
    rows = used_rows(case.prompts["image"], case.lengths["image"])  # 2, 0 and 5 rows
    assert rows.layers.tolist() == [0, 0, 2, 2, 2, 2, 2]
    np.testing.assert_array_equal(rows.vectors[1], case.prompts["image"][0, 1])
    np.testing.assert_array_equal(rows.vectors[6], case.prompts["image"][2, 4])
    assert used_rows(case.prompts["text"], [0, 0]).vectors.shape == (0, 16)


def test_layers_are_as_similar_as_their_rows_are_in_the_mean(case: Case) -> None:
    rows = used_rows(case.prompts["image"], [2, 0, 1])
    a, b, c = rows.vectors.astype(np.float64)
    found = layer_similarity(rows, 3)
    between = (cosine(a, c) + cosine(b, c)) / 2
    nan = np.nan  # layer 1 has no rows, layer 2 no two
    expected = [[cosine(a, b), nan, between], [nan, nan, nan], [between, nan, nan]]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    nothing = Rows(np.zeros((0, 24), np.float32), np.zeros(0, int))
    assert np.isnan(layer_similarity(nothing, 3)).all()


def test_nearest_tokens_of_an_embedding_are_its_own(case: Case) -> None:
    """Whatever its length; the others follow in the order of their cosines."""
    table = case.tensors[EMBEDDING]
    (found,) = nearest_tokens(case.clip, 0.1 * table[4][None], count=10)
    expected = [cosine(table[4], token) for token in table]
    order = np.argsort(expected)[::-1]
    assert order[0] == 4 and found.tokens == [small_clip.PIECES[i] for i in order]
    np.testing.assert_allclose(found.cosines, np.asarray(expected)[order], rtol=0, atol=1e-6)


def test_nearest_tokens_as_the_first_layer_sees_them(case: Case) -> None:
    table, config = case.tensors[EMBEDDING], case.config["text_config"]

    def seen(x: np.ndarray) -> np.ndarray:
        name = "text_model.encoder.layers.0.layer_norm1"
        return np.asarray(naive._norm(case.tensors, config, name, jnp.asarray(x)))

    tokens = seen(table + case.tensors[POSITIONS].mean(axis=0))
    rows = case.prompts["text"][0, :2]
    found = nearest_tokens(case.clip, rows, count=2, as_layer_sees=True)
    for own, row in zip(found, seen(rows), strict=True):
        expected = [cosine(row - tokens.mean(axis=0), t - tokens.mean(axis=0)) for t in tokens]
        best = np.argsort(expected)[::-1][:2]
        assert own.tokens == [small_clip.PIECES[i] for i in best]
        np.testing.assert_allclose(own.cosines, np.asarray(expected)[best], rtol=0, atol=1e-5)


@pytest.mark.parametrize("as_layer_sees", [False, True])
def test_chance_is_what_a_random_vector_comes_to(case: Case, as_layer_sees: bool) -> None:
    draws = np.random.default_rng(3).standard_normal((5, 16), np.float32)
    nearest = nearest_tokens(case.clip, draws, count=1, as_layer_sees=as_layer_sees)
    expected = [own.cosines[0] for own in nearest]
    found = chance_cosines(case.clip, as_layer_sees=as_layer_sees, draws=5, seed=3)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_cosines_do_not_depend_on_lengths() -> None:
    one, other = np.array([[3.0, 0.0], [1.0, 1.0]]), np.array([[0.0, -2.0]])
    np.testing.assert_allclose(cosines(one, other), [[0.0], [-(0.5**0.5)]], atol=1e-12)
