"""Which images a run sees and when: never a validation image in training, and all from the seed."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from configs import digits
from dpl_jax.data.load import load_dataset, sample
from dpl_jax.data.order import steps_per_epoch, train_order, validation_order
from dpl_jax.search import search
from dpl_jax.training.inputs import Task
from dpl_jax.training.steps import Metrics, State


@pytest.mark.parametrize(("images", "batch"), [(16, 4), (17, 4), (3, 4), (1, 4), (5, 1)])
def test_every_train_image_at_most_once(images: int, batch: int) -> None:
    order = train_order(images, batch, seed=3, epoch=2)
    assert order.shape == (steps_per_epoch(images, batch), min(batch, images))
    seen = order.ravel().tolist()
    assert len(set(seen)) == len(seen) and set(seen) <= set(range(images))
    assert len(seen) > images - batch  # only the incomplete batch is left out


@pytest.mark.parametrize(
    ("images", "batch", "steps"), [(7, 3, 5), (40, 4, 3), (2, 4, 3), (4, 4, 2)]
)
def test_validation_passes_are_complete_and_shuffled(images: int, batch: int, steps: int) -> None:
    """Over the epochs every image once, then every image again in another order, and so on."""
    epochs = [validation_order(images, batch, steps, seed=1, epoch=epoch) for epoch in range(20)]
    assert epochs[0].shape == (steps, min(batch, images))
    stream = np.concatenate([epoch.ravel() for epoch in epochs])
    passes = [stream[i : i + images] for i in range(0, len(stream) - images + 1, images)]
    assert all(sorted(each.tolist()) == list(range(images)) for each in passes)
    assert len({tuple(each) for each in passes}) > 1


def test_order_follows_from_seed_and_epoch() -> None:
    """Called in any order, any number of times: the same; another seed or epoch: another order."""

    def both(seed: int, epoch: int) -> tuple[bytes, bytes]:
        val = validation_order(30, 4, 8, seed, epoch)
        return train_order(32, 4, seed, epoch).tobytes(), val.tobytes()

    late = both(1, 5)
    for seed, epoch in ((1, 0), (2, 5), (1, 4)):
        assert all(one != other for one, other in zip(both(seed, epoch), late, strict=True))
    assert both(1, 5) == late


def test_train_and_validation_are_shuffled_apart() -> None:
    train, val = train_order(32, 4, 1, 0), validation_order(32, 4, 8, 1, 0)
    assert not np.array_equal(train, val)


@pytest.mark.parametrize("seed", [1, 2])
def test_samples_are_disjoint(seed: int) -> None:
    """Also where validation is held out of the train images, and never with a test image."""
    data = digits.get_config("shots=4").data
    full = load_dataset(data)
    without_validation = full.__class__(**(vars(full) | {"val": ()}))
    for dataset in (full, without_validation):
        task = sample(dataset, data, seed=seed)
        names = [{item.name for item in split} for split in (task.train, task.val, task.test)]
        assert all(names) and sum(map(len, names)) == len(set.union(*names))
        assert [len(task.train), len(task.val)] == ([40, 40] if dataset is full else [20, 20])


def test_a_search_never_trains_on_a_validation_image(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batches of a whole search, looked at instead of learned from."""
    seen: dict[str, list[Any]] = {"train": [], "val": []}

    def look(
        state: State, clip: Any, task: Task, train: Any, val: Any, **settings: Any
    ) -> tuple[State, Metrics]:
        for name, images, order in (("train", task.train, train), ("val", task.val, val)):
            assert images is not None
            pixels, labels = np.asarray(images.pixels)[order], np.asarray(images.labels)[order]
            seen[name].append((pixels, labels))
        steps = len(train)
        zeros = {"loss": jnp.zeros(steps), "accuracy": jnp.zeros(steps)}
        part = zeros | {"finite": jnp.ones(steps, bool)}
        return state.replace(step=state.step + steps), {"train": part, "val": part}

    monkeypatch.setattr("dpl_jax.search.search_epoch", look)
    config = digits.get_config("shots=3")
    config.clip.path, config.progress = str(clip_folder), "off"
    config.search.epochs = 3
    search(config, tmp_path / "run")

    images = {
        name: [
            {image.tobytes() for image in pixels.reshape(-1, *pixels.shape[2:])}
            for pixels, _ in epochs
        ]
        for name, epochs in seen.items()
    }
    assert len(seen["train"]) == len(seen["val"]) == 3
    for pixels, labels in seen["train"] + seen["val"]:
        assert pixels.shape[:2] == labels.shape == (7, 4)
    train, val = set.union(*images["train"]), set.union(*images["val"])
    assert len(train) == len(val) == 30  # all 3 of each class, over three epochs of 28
    assert not train & val
    assert all(len(epoch) == 28 for epoch in images["train"])  # none twice in an epoch
