import threading
import time

import jax
import numpy as np
import pytest

from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.data import stream
from dpl_jax.data.augment import random_crop_flip
from dpl_jax.data.canvases import load_canvases
from dpl_jax.data.decode import decode
from dpl_jax.data.images import Reading
from dpl_jax.data.split import Item
from dpl_jax.data.stream import canvas_batches, decoded_batches, evaluation_batches
from dpl_jax.errors import DataError, UnreadableImageError

PREPROCESSING = Preprocessing(16, 16)


@pytest.fixture
def items(smooth_image):
    return [
        Item(np.asarray(smooth_image(20 + i, 34 - i, seed=i)), i % 3, "c", str(i))
        for i in range(11)
    ]


def test_the_stream_gives_what_decoding_all_at_once_gives(items):
    images, labels = decode(items, PREPROCESSING)
    batches = list(evaluation_batches(items, PREPROCESSING, 4, Reading(workers=3)))
    assert [batch.images.shape for batch in batches] == [(4, 16, 16, 3)] * 3
    weights = np.concatenate([batch.weights for batch in batches])
    assert weights.tolist() == [1] * 11 + [0]
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(np.concatenate([b.images for b in batches])[:11], images)
    streamed = np.concatenate([b.labels for b in batches])
    assert streamed.dtype == np.int32
    np.testing.assert_array_equal(streamed[:11], labels)


def test_an_unreadable_image_stops_the_stream_or_weighs_nothing(items, tmp_path, caplog):
    items[5] = Item(tmp_path / "gone.jpg", 2, "c", "gone.jpg")
    with pytest.raises(UnreadableImageError, match=r"gone\.jpg"):
        list(evaluation_batches(items, PREPROCESSING, 4))
    batches = list(evaluation_batches(items, PREPROCESSING, 4, Reading(skip_unreadable=True)))
    weights = np.concatenate([batch.weights for batch in batches])
    assert np.flatnonzero(weights == 0).tolist() == [5, 11]
    assert "1 unreadable image(s)" in caplog.text
    with pytest.raises(DataError, match="No readable image"):
        list(evaluation_batches(items[5:6], PREPROCESSING, 4, Reading(skip_unreadable=True)))


def test_the_stream_never_runs_far_ahead(items, monkeypatch):
    many = items * 40
    counts, lock = {"read": 0, "used": 0, "ahead": 0}, threading.Lock()
    read_image = stream.read_image

    def counting(item, **options):
        with lock:
            counts["read"] += 1
            counts["ahead"] = max(counts["ahead"], counts["read"] - counts["used"])
        return read_image(item, **options)

    monkeypatch.setattr(stream, "read_image", counting)
    for _ in evaluation_batches(many, PREPROCESSING, 10, Reading(workers=2)):
        time.sleep(0.002)
        with lock:
            counts["used"] += 10
    assert counts["read"] == len(many)
    assert counts["ahead"] <= 10 * (stream.PREFETCHED_BATCHES + 2)


def test_the_host_feeds_the_very_batches_that_the_device_would_hold(items):
    canvases = load_canvases(items, 32)
    order = np.random.default_rng(0).permutation(11)[:10].reshape(5, 2)
    fed = list(canvas_batches(canvases, order, workers=2))
    decoded = list(decoded_batches(items, 32, order, Reading(workers=2)))
    assert len(fed) == len(decoded) == 5
    for step, places in enumerate(order):
        key = jax.random.fold_in(jax.random.key(7), step)
        resident = random_crop_flip(key, canvases.images[places], canvases.sizes[places], 16)
        for batch in (fed[step], decoded[step]):
            np.testing.assert_array_equal(batch.labels, canvases.labels[places])
            ours = random_crop_flip(key, batch.images, batch.sizes, 16)
            np.testing.assert_array_equal(ours, resident)
