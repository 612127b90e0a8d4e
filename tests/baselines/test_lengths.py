import collections
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpl_jax import Clip
from dpl_jax.baselines.lengths import random_lengths, uniform_lengths
from dpl_jax.errors import ConfigError
from dpl_jax.prompts.lengths_file import prompt_tokens
from dpl_jax.prompts.trees import check_lengths


@given(st.data())
def test_total_and_bounds_hold(data: st.DataObject) -> None:
    layers = {"image": data.draw(st.integers(1, 12)), "text": data.draw(st.integers(1, 12))}
    longest = data.draw(st.integers(0, 8))
    total = data.draw(st.integers(0, longest * sum(layers.values())))
    lengths = random_lengths(layers, longest, total, data.draw(st.integers(0, 2**32)))
    assert prompt_tokens(lengths) == total
    for tower, count in layers.items():
        assert lengths[tower].shape == (count,)
        assert lengths[tower].min() >= 0 and lengths[tower].max() <= longest


def test_all_feasible_lengths_are_equally_likely() -> None:
    """Against all of them written out; the chi-square of 5 000 draws stays below its 99.9 %."""
    layers, longest, total = {"image": 2, "text": 2}, 3, 5
    feasible = [
        lengths
        for lengths in itertools.product(range(longest + 1), repeat=4)
        if sum(lengths) == total
    ]
    draws = [random_lengths(layers, longest, total, seed) for seed in range(5000)]
    counts = collections.Counter(
        tuple(int(n) for n in (*draw["image"], *draw["text"])) for draw in draws
    )
    assert set(counts) == set(feasible)
    expected = len(draws) / len(feasible)
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(feasible) == 40 and chi_square < 72.1  # 39 degrees of freedom


def test_the_same_seed_draws_the_same() -> None:
    one, two, other = (random_lengths({"image": 12, "text": 12}, 6, 60, s) for s in (1, 1, 2))
    assert all((one[tower] == two[tower]).all() for tower in one)
    assert any((one[tower] != other[tower]).any() for tower in one)


@pytest.mark.parametrize(("longest", "total"), [(3, 13), (3, -1), (0, 1), (-1, 0)])
def test_an_impossible_total_is_refused(longest: int, total: int) -> None:
    with pytest.raises(ConfigError, match=f"cannot have {total} in total"):
        random_lengths({"image": 2, "text": 2}, longest, total, 1)


def test_uniform_lengths(clip: Clip) -> None:
    everywhere, shallow = uniform_lengths(clip.sizes, 2), uniform_lengths(clip.sizes, 3, depth=1)
    np.testing.assert_array_equal(everywhere["image"], [2, 2, 2, 2])
    np.testing.assert_array_equal(everywhere["text"], [2, 2, 2])
    np.testing.assert_array_equal(shallow["image"], [3, 0, 0, 0])
    np.testing.assert_array_equal(shallow["text"], [3, 0, 0])
    deeper = uniform_lengths(clip.sizes, 1, depth=9)
    assert prompt_tokens(deeper) == 7
    for lengths in (everywhere, shallow, deeper):
        check_lengths(lengths, clip.sizes, "here")
    with pytest.raises(ConfigError, match="depth -1"):
        uniform_lengths(clip.sizes, 1, depth=-1)
