"""What alphas say with a smaller T, and how far two searches are apart."""

import numpy as np
import pytest

from dpl_jax.errors import ConfigError
from dpl_jax.inspect.alphas import alpha_distance, choices_within
from dpl_jax.prompts.trees import choose_lengths
from tests.inspect.conftest import Case


def test_every_limit_chooses_among_the_lengths_it_allows(case: Case) -> None:
    """The argmax of the first alphas alone, and their own softmax."""
    choices = choices_within(case.alphas)
    assert list(choices) == [1, 2, 3]
    for limit, choice in choices.items():
        for tower, alphas in case.alphas.items():
            allowed = np.exp(alphas[:, : limit + 1])
            np.testing.assert_array_equal(choice.lengths[tower], allowed.argmax(axis=1))
            expected = allowed.max(axis=1) / allowed.sum(axis=1)
            np.testing.assert_allclose(choice.confidences[tower], expected, rtol=1e-5)
    own = choose_lengths(case.alphas)[0]
    np.testing.assert_array_equal(choices[3].lengths["image"], own["image"])
    assert any((choices[1].lengths[t] != own[t]).any() for t in own)


def test_the_distance_of_two_searches_is_half_of_what_their_weights_differ_by() -> None:
    one = {"image": np.log([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]), "text": np.zeros((1, 3))}
    other = {
        "image": np.log([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]) + 7,
        "text": np.array([[0, 0, 99]]),
    }
    found = alpha_distance(one, other)
    np.testing.assert_allclose(found["image"], [0.3, 0.0], atol=1e-6)
    np.testing.assert_allclose(found["text"], [2 / 3], atol=1e-6)
    apart = alpha_distance({**one, "text": np.array([[99, 0, 0]])}, other)
    np.testing.assert_allclose(apart["text"], [1.0], atol=1e-6)


def test_searches_with_another_maximum_do_not_compare(case: Case) -> None:
    shorter = {tower: alphas[:, :3] for tower, alphas in case.alphas.items()}
    with pytest.raises(ConfigError, match=r"shapes \(3, 4\) and \(3, 3\).*max_context_length"):
        alpha_distance(case.alphas, shorter)
