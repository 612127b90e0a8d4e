"""Agreement between seeds, on lengths made for it."""

import pytest

from dpl_jax.studies.comparison.stability import agreement, stability_table


def lengths(*values: int) -> dict[str, list[int]]:
    return {"image": list(values[:2]), "text": list(values[2:])}


def test_agreement_by_hand() -> None:
    found = agreement([lengths(1, 2, 3, 4), lengths(1, 2, 4, 3), lengths(1, 0, 3, 4)])
    assert found.equal == pytest.approx((2 / 4 + 3 / 4 + 1 / 4) / 3)
    # Pairs of layers with the same length, of 16: 4 in the first pair, 3 in the others.
    assert found.chance == pytest.approx((4 + 3 + 3) / 16 / 3)
    assert found.distance == pytest.approx((2 / 4 + 2 / 4 + 4 / 4) / 3)


def test_equal_seeds_agree_beyond_chance() -> None:
    found = agreement([lengths(0, 1, 2, 3)] * 3)
    assert (found.equal, found.chance, found.distance) == (1, 0.25, 0)
    uniform = agreement([lengths(2, 2, 2, 2)] * 2)
    assert uniform.equal == uniform.chance == 1  # nothing that chance would not give


def test_one_seed_agrees_with_nobody() -> None:
    with pytest.raises(ValueError, match="at least two"):
        agreement([lengths(0, 1, 2, 3)])


def test_the_table_has_the_searched_methods() -> None:
    searched = {"lengths": lengths(1, 2, 3, 4), "confidence": 0.25}
    other = {"lengths": lengths(1, 2, 3, 0), "confidence": 0.75}
    methods = {
        "dpl": {"title": "DPL", "seeds": {"1": searched, "2": other}},
        "mixture": {"title": "of the same search", "seeds": {"1": searched, "2": other}},
        "uniform": {"title": "u", "seeds": {"1": {"lengths": lengths(1, 1, 1, 1)}, "2": {}}},
    }
    _, rows = stability_table({"methods": methods})
    assert rows == [["DPL", 75.0, 18.75, 1.0, 8.0, 0.5]]
