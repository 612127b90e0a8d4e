"""The test transform against the image processor that transformers pairs with a CLIPModel."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import PIL.Image
import PIL.ImageFilter
import pytest

from dpl_jax.clip.preprocessing import read_preprocessing
from dpl_jax.data.transforms import normalise, resize_and_crop

transformers = pytest.importorskip("transformers")


@pytest.fixture(params=[224, 336])
def processor(request: pytest.FixtureRequest) -> Any:
    side = request.param
    crop = {"height": side, "width": side}
    return transformers.CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=crop)


@pytest.mark.parametrize(("width", "height"), [(500, 375), (375, 500), (300, 300), (160, 480)])
def test_pixels_equal_transformers(processor: Any, tmp_path: Path, width: int, height: int) -> None:
    """From the file that save_pretrained writes, on a smooth image, up to one grey level.

    The margins are whole: half a pixel goes the other way in transformers than in CLIP's own code.
    """
    processor.save_pretrained(tmp_path)
    side = processor.crop_size["height"]
    preprocessing = read_preprocessing(tmp_path, side)
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    image = PIL.Image.fromarray(noise).filter(PIL.ImageFilter.GaussianBlur(3))
    expected = processor(image, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
    pixels = resize_and_crop(image, preprocessing)
    ours = np.asarray(normalise(jnp.asarray(pixels[None]), preprocessing.mean, preprocessing.std))[
        0
    ]
    assert ours.shape == expected.shape == (side, side, 3)
    level = 1 / 255 / min(preprocessing.std)
    difference = np.abs(ours - expected)
    assert difference.max() < 1.01 * level
    assert (difference > 1e-5).mean() < 0.02
