"""Logits of the images of a dataset, with names that stay beside their logits."""

import numpy as np
import PIL.Image
import pytest

from configs import digits
from dpl_jax.clip.features import NO_PROMPTS
from dpl_jax.data.split import Dataset, Item
from dpl_jax.errors import UnreadableImageError
from dpl_jax.evaluate import as_predictions
from dpl_jax.inference.encode import predict
from dpl_jax.runs.measured import Measured

CLASSNAMES = ("cat", "large dog", "owl")
DAMAGED = (0, 3, 6)


@pytest.fixture
def dataset(tmp_path):
    """Seven files of random pixels, of which the first, one inside and the last are no images."""
    items = []
    for index in range(7):
        path = tmp_path / f"{index}.png"
        pixels = np.random.default_rng(index).integers(0, 256, (16, 16, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(path)
        if index in DAMAGED:
            path.write_bytes(b"no image")
        items.append(Item(path, index % 3, CLASSNAMES[index % 3], f"photos/{index}.png"))
    return Dataset("folder", (), (), tuple(items), CLASSNAMES, "a photo of a {}.")


def make_config(**fields):
    config = digits.get_config()
    config.progress = "off"
    config.update_from_flattened_dict({"evaluate.batch_size": 2} | fields)
    return config


def test_skipped_images_do_not_shift_the_names(clip, dataset):
    config = make_config(**{"data.skip_unreadable": True})
    found = predict(clip, dataset, dataset.test, {"zero_shot": NO_PROMPTS}, config)
    saved = as_predictions(found, Measured(dataset, "test", dataset.test, config.data, "test", ""))
    assert saved.names == tuple(f"photos/{index}.png" for index in (1, 2, 4, 5))
    assert saved.labels.tolist() == [1, 2, 1, 2]
    for name, logits in zip(saved.names, saved.logits["zero_shot"], strict=True):
        (item,) = (item for item in dataset.test if item.name == name)
        alone = predict(clip, dataset, [item], {"zero_shot": NO_PROMPTS}, make_config())
        np.testing.assert_allclose(logits, alone.logits["zero_shot"][0], rtol=0, atol=1e-4)
    assert len(np.unique(saved.logits["zero_shot"][:, 0])) == 4


def test_an_unreadable_image_stops_where_it_is_not_to_be_skipped(clip, dataset):
    with pytest.raises(UnreadableImageError, match=r"0\.png"):
        predict(clip, dataset, dataset.test, {"zero_shot": NO_PROMPTS}, make_config())
