"""The most wrong images are those of a slow sort, and the thumbnail is of the image named."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from configs import digits
from dpl_jax.data.digits import read_digits
from dpl_jax.report.images import most_wrong
from dpl_jax.runs.predictions import Predictions
from tests.report.conftest import COLOURS, image_names, predictions_of


def decode(source: str) -> PIL.Image.Image:
    head, _, encoded = source.partition(",")
    image = PIL.Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)))
    assert head == f"data:image/{image.format.lower()};base64"
    return image


def test_thumbnails_are_of_the_images_named(photos: Path) -> None:
    found = most_wrong(predictions_of(photos), "dpl", 10)
    assert [image.name for image in found] == [image_names()[5], image_names()[1]]
    for image, colour in zip(found, (COLOURS[5], COLOURS[1]), strict=True):
        thumbnail = decode(image.source)
        assert thumbnail.size == (192, 128) and not image.tiny
        mean = np.asarray(thumbnail.convert("RGB"), float).mean(axis=(0, 1))
        np.testing.assert_allclose(mean, colour, atol=3)  # JPEG


def test_digits_come_from_arrays_without_loss() -> None:
    items = read_digits().test
    random = np.random.default_rng(0)
    logits = random.standard_normal((len(items), 10)).astype(np.float32)
    predictions = Predictions(
        "digits",
        "test",
        digits.get_config().data.to_dict(),
        tuple("0123456789"),
        tuple(item.name for item in items),
        np.array([item.label for item in items], np.int32),
        {"dpl": logits},
    )
    found = most_wrong(predictions, "dpl", 5)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    slow = sorted(
        (float(row[item.label]), index)
        for index, (row, item) in enumerate(zip(chances, items, strict=True))
        if row.argmax() != item.label
    )[:5]
    assert [image.name for image in found] == [items[index].name for _, index in slow]
    for image, (chance, index) in zip(found, slow, strict=True):
        assert image.true_probability == pytest.approx(chance, rel=1e-5)
        assert image.probability == pytest.approx(chances[index].max(), rel=1e-5)
        assert image.true == str(items[index].label) and image.tiny
        np.testing.assert_array_equal(decode(image.source), items[index].image)


def test_a_damaged_image_is_left_out_alone(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    (photos / image_names()[1]).write_bytes(b"no image")
    first, second = most_wrong(predictions_of(photos), "dpl", 10)
    assert first.source and not second.source
    assert "not an image" in caplog.text
