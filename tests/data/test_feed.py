"""A step sees the same images whether they live on the device or come from the host."""

import dataclasses

import jax
import numpy as np
import pytest

from dpl_jax import config as base
from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.data.digits import read_digits
from dpl_jax.data.feed import CHUNK_STEPS, chunk_steps, open_feed
from dpl_jax.data.order import train_order

ITEMS = read_digits().train[:50]
PREPROCESSING = Preprocessing(size=16, crop=16)


def feed(device_memory_mb, augment, cache_dir=""):
    data = base.data()
    data.augment, data.cache_dir = augment, str(cache_dir)
    data.device_memory_mb = device_memory_mb
    return open_feed(ITEMS, PREPROCESSING, data, augment=True)


def batches(source, order):
    for images, indices in source.chunks(order, chunk_steps(order, source)):
        for step in np.asarray(indices):
            yield jax.tree.map(lambda leaf, step=step: np.asarray(leaf)[step], images)


@pytest.mark.parametrize("augment", ["none", "crop_flip"])
@pytest.mark.parametrize("cached", [False, True])
def test_host_and_device_feed_the_same_batches(augment, cached, tmp_path):
    resident = feed(1000, augment)
    hosted = feed(0, augment, tmp_path if cached else "")
    assert resident.resident is not None and hosted.resident is None
    order = np.concatenate([train_order(50, 1, seed=3, epoch=epoch) for epoch in range(2)])
    assert len(order) > 2 * CHUNK_STEPS  # full chunks and a shorter last one
    pairs = list(zip(batches(resident, order), batches(hosted, order), strict=True))
    assert len(pairs) == len(order)
    for ours, theirs in pairs:
        for left, right in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_array_equal(left, right)


def test_canvases_carry_sizes_and_ready_images_do_not():
    assert feed(1000, "crop_flip").resident.sizes is not None
    assert feed(1000, "none").resident.sizes is None


def test_chunks_follow_the_order():
    resident = feed(1000, "none")
    order = train_order(50, 4, seed=1, epoch=0)
    labels = [batch.labels for batch in batches(resident, order)]
    expected = np.array([item.label for item in ITEMS])[order]
    np.testing.assert_array_equal(labels, expected)


def test_unreadable_images_are_left_out_of_a_set_fed_from_the_host(tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_text("no image")
    items = [dataclasses.replace(ITEMS[0], image=broken), *ITEMS[1:6]]
    data = base.data()
    data.device_memory_mb, data.skip_unreadable = 0, True
    hosted = open_feed(items, PREPROCESSING, data, augment=True)
    assert [item.name for item in hosted.items] == [item.name for item in ITEMS[1:6]]
    assert len(list(batches(hosted, train_order(5, 2, seed=0, epoch=0)))) == 2
