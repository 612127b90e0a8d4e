import json
import math

import jax
import numpy as np
import PIL.Image
import pytest

from dpl_jax.clip.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing, read_preprocessing
from dpl_jax.data.decode import decode
from dpl_jax.data.images import Reading, to_rgb
from dpl_jax.data.split import Item
from dpl_jax.data.transforms import normalise, resize_and_crop
from dpl_jax.errors import DataError

# What transformers' CLIPImageProcessor saves today, and what it saved at first.
TODAY = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.4, 0.5, 0.6],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.1, 0.2, 0.3],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 256},
}
AT_FIRST = {
    "crop_size": 224,
    "size": 256,
    "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.1, 0.2, 0.3],
    "resample": 3,
    "do_resize": True,
}


def clip_transform(image, size, crop):
    """CLIP's own preprocessing: resize the whole image with Pillow, then cut out the centre."""
    width, height = image.size
    short = min(width, height)
    new_width = size if width == short else math.floor(width * size / short)
    new_height = size if height == short else math.floor(height * size / short)
    whole = np.asarray(image.resize((new_width, new_height), PIL.Image.Resampling.BICUBIC))
    top, left = round((new_height - crop) / 2), round((new_width - crop) / 2)
    return whole[top : top + crop, left : left + crop]


@pytest.mark.parametrize(("size", "crop"), [(224, 224), (32, 32), (48, 32)])
@pytest.mark.parametrize(
    ("height", "width"), [(1, 7), (7, 1), (8, 8), (300, 199), (199, 300), (225, 224), (33, 451)]
)
def test_the_test_transform_is_clips(smooth_image, height, width, size, crop):
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    for image in (smooth_image(height, width), PIL.Image.fromarray(noise)):
        ours = resize_and_crop(image, Preprocessing(size, crop))
        assert ours.shape == (crop, crop, 3)
        assert ours.dtype == np.uint8
        reference = clip_transform(image, size, crop)
        np.testing.assert_array_equal(ours, reference)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_test_transform_is_clips_on_a_large_photo(smooth_image, mode):
    image = smooth_image(3000, 4000).convert(mode)
    ours = resize_and_crop(to_rgb(image), Preprocessing(224, 224))
    reference = clip_transform(image.convert("RGB"), 224, 224)
    np.testing.assert_array_equal(ours, reference)


def test_a_long_strip_does_not_exhaust_memory():
    strip = PIL.Image.new("RGB", (30_000, 1), (9, 8, 7))  # whole, it would be 224 x 6,720,000
    assert (resize_and_crop(strip, Preprocessing(224, 224)) == (9, 8, 7)).all()


@pytest.mark.parametrize(("height", "width"), [(2, 90), (100, 3)])
def test_the_centre_of_a_strip_is_that_of_the_whole(smooth_image, height, width):
    image = smooth_image(height, width)
    ours = resize_and_crop(image, Preprocessing(16, 16)).astype(int)
    assert np.abs(ours - clip_transform(image, 16, 16)).max() <= 2


def test_decode_keeps_the_order_of_the_items(smooth_image):
    images = [np.asarray(smooth_image(20 + i, 30, seed=i)) for i in range(12)]
    items = [Item(image, i % 5, "c", str(i)) for i, image in enumerate(images)]
    decoded, labels = decode(items, Preprocessing(16, 16), Reading(workers=4))
    assert labels.tolist() == [i % 5 for i in range(12)]
    for image, result in zip(images, decoded, strict=True):
        expected = resize_and_crop(PIL.Image.fromarray(image), Preprocessing(16, 16))
        np.testing.assert_array_equal(result, expected)


def test_normalise_is_the_definition():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), np.uint8)
    ours = jax.jit(lambda x: normalise(x, CLIP_MEAN, CLIP_STD))(images)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, (images / 255 - CLIP_MEAN) / CLIP_STD, atol=1e-5)


@pytest.mark.parametrize("fields", [TODAY, AT_FIRST])
def test_the_checkpoints_preprocessing_is_read(tmp_path, fields):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(fields))
    expected = Preprocessing(256, 224, (0.4, 0.5, 0.6), (0.1, 0.2, 0.3), 3)
    assert read_preprocessing(tmp_path, 224) == expected


def test_without_a_file_clips_preprocessing_is_used(tmp_path):
    assert read_preprocessing(tmp_path, 336) == Preprocessing(336, 336, CLIP_MEAN, CLIP_STD, 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"crop_size": 32}, "takes 224"),
        ({"size": {"height": 224, "width": 224}}, "shortest_edge"),
        ({"crop_size": {"height": 224, "width": 200}}, "not square"),
        ({"size": 200}, "crops 224 pixels"),
        ({"do_resize": False}, "do_resize is False"),
        ({"do_rescale": False}, "do_rescale is False"),
        ({"rescale_factor": 1.0}, "rescale_factor is 1.0"),
        ({"do_center_crop": False}, "do_center_crop is False"),
        ({"resample": 99}, "resample is 99"),
        ({"resample": True}, "resample is True"),
        ({"do_pad": True}, "do_pad is True"),
        ({"crop_pct": 0.9}, "crop_pct is 0.9"),
        ({"image_processor_type": "ViTImageProcessor"}, "ViTImageProcessor"),
        ({"size": {"shortest_edge": 224, "longest_edge": 300}}, "longest_edge"),
        ({"image_std": [0.1, 0.2, "0.3"]}, "image_std"),
        ({"image_mean": [0.5]}, "does not describe"),
    ],
)
def test_another_preprocessing_is_one_error_that_names_the_file(tmp_path, change, reason):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(TODAY | change))
    with pytest.raises(DataError, match=reason) as caught:
        read_preprocessing(tmp_path, 224)
    assert "preprocessor_config.json" in str(caught.value)
