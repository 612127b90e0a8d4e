"""What is left of a run, and the sums of an epoch that a checkpoint has cut in two."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpl_jax.files.json import to_json
from dpl_jax.training.progress_in_epochs import START, EpochProgress, chunks, epoch_means


@given(
    epochs=st.integers(1, 4),
    steps=st.integers(1, 12),
    every=st.integers(0, 14),
    done=st.integers(0, 50),
)
def test_every_step_once_and_cut_where_a_run_that_never_stopped_is_cut(
    epochs: int, steps: int, every: int, done: int
) -> None:
    whole = list(chunks(START, epochs, steps, every))
    seen = [(epoch, step) for epoch, part in whole for step in range(steps)[part]]
    assert seen == [(epoch, step) for epoch in range(epochs) for step in range(steps)]
    assert len(whole) == epochs * (-(-steps // every) if every else 1)
    at = min(done, len(whole))  # any end of a chunk
    epoch, step = (whole[at][0], whole[at][1].start) if at < len(whole) else (epochs, 0)
    assert list(chunks(EpochProgress(epoch, step, {}), epochs, steps, every)) == whole[at:]


def test_a_position_between_the_cuts_goes_on_to_the_next_one() -> None:
    """As when ``every_steps`` is another one than before."""
    left = list(chunks(EpochProgress(1, 3, {}), 2, 10, 4))
    assert left == [(1, slice(3, 4)), (1, slice(4, 8)), (1, slice(8, 10))]


def random_metrics(steps: int, members: tuple[int, ...]) -> dict[str, dict[str, np.ndarray]]:
    """Losses of very different sizes, so that another order of adding gives another sum."""
    random = np.random.default_rng(steps)
    shape = (steps, *members)
    return {
        split: {
            "loss": np.exp(20 * random.standard_normal(shape)).astype(np.float32),
            "accuracy": random.random(shape).astype(np.float32),
            "finite": np.ones(shape, bool),
        }
        for split in ("train", "val")
    }


@pytest.mark.parametrize("members", [(), (3,)])
def test_means_do_not_depend_on_where_an_epoch_is_cut(members: tuple[int, ...]) -> None:
    metrics = random_metrics(40, members)
    rows = []
    for cuts in ((0, 40), (0, 1, 40), (0, 13, 17, 39, 40), tuple(range(41))):
        done = EpochProgress(6, 0, {})
        for start, stop in pairwise(cuts):
            part = {
                split: {name: leaf[start:stop] for name, leaf in values.items()}
                for split, values in metrics.items()
            }
            stored = json.dumps(to_json(done.after(part).to_metadata()))
            done = EpochProgress.from_metadata(json.loads(stored))
        assert (done.epoch, done.step) == (6, 40)
        rows.append(json.dumps(to_json(epoch_means(done))))
    assert len(set(rows)) == 1
    row = json.loads(rows[0])
    for split, values in metrics.items():
        for name in ("loss", "accuracy"):
            mean = np.mean(values[name], axis=0, dtype=np.float64)
            assert row[f"{split}_{name}"] == pytest.approx(mean.mean(), rel=1e-12)
            if members:
                assert row["members"][f"{split}_{name}"] == pytest.approx(mean, rel=1e-12)


def test_a_checkpoint_of_a_whole_epoch_needs_no_sums() -> None:
    assert EpochProgress.from_metadata({"epoch": 3, "order_seed": 1}) == EpochProgress(3, 0, {})
    after = START.after(random_metrics(2, ())).after_epoch()
    assert after == EpochProgress(1, 0, {})
