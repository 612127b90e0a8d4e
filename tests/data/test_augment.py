import math

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from scipy import stats

from dpl_jax.data.augment import crop_resize, random_crop_flip, sample_crop

SIDE, OUT = 40, 16


def cubic(x):
    """The cubic convolution kernel with a = -1/2, as Pillow's bicubic_filter."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def resize_axis(values, out):
    """Antialiased bicubic resize of the first axis, one result at a time, in float64."""
    scale = len(values) / out
    width = max(scale, 1.0)
    rows = []
    for place in range(out):
        centre = (place + 0.5) * scale
        weights = np.array([cubic((i + 0.5 - centre) / width) for i in range(len(values))])
        rows.append(np.tensordot(weights / weights.sum(), values, axes=1))
    return np.stack(rows)


def reference(canvas, box, flip, out):
    top, left, height, width = box
    crop = canvas[top : top + height, left : left + width].astype(np.float64)
    levels = resize_axis(resize_axis(crop, out).swapaxes(0, 1), out).swapaxes(0, 1)
    return np.clip(levels[:, ::-1] if flip else levels, 0, 255)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    "box", [(0, 0, 40, 40), (3, 5, 16, 16), (10, 2, 9, 12), (0, 39, 40, 1), (7, 0, 1, 33)]
)
def test_a_given_box_is_cut_out_and_resized(box, flip):
    canvas = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    ours = crop_resize(jnp.asarray(canvas), jnp.asarray(box), jnp.asarray(flip), OUT)
    assert ours.dtype == jnp.uint8
    assert np.abs(np.asarray(ours) - reference(canvas, box, flip, OUT)).max() <= 1


@pytest.mark.parametrize("box", [(20, 30, 200, 150), (0, 0, 90, 400), (5, 7, 60, 80)])
def test_a_given_box_is_what_pillow_makes_of_it(smooth_image, box):
    image = smooth_image(400, 400)
    top, left, height, width = box
    crop = image.crop((left, top, left + width, top + height))
    expected = np.asarray(crop.resize((64, 64), PIL.Image.Resampling.BICUBIC)).astype(int)
    ours = crop_resize(jnp.asarray(image), jnp.asarray(box), jnp.asarray(False), 64)
    assert np.abs(np.asarray(ours) - expected).max() <= 2


def test_no_pixel_outside_the_image_shows():
    canvas = np.full((2, SIDE, SIDE, 3), 255, np.uint8)
    canvas[:, :23, :31] = 7
    sizes = jnp.asarray([[23, 31]] * 2)
    for seed in range(20):
        assert (random_crop_flip(jax.random.key(seed), canvas, sizes, OUT) == 7).all()


def draw(size, count):
    keys = jax.random.split(jax.random.key(0), count)
    return map(np.asarray, jax.jit(jax.vmap(sample_crop, (0, None)))(keys, jnp.asarray(size)))


def definition(height, width, random):
    """RandomResizedCrop's box, written down from its documentation."""
    for _ in range(10):
        area = height * width * random.uniform(0.08, 1)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return random.integers(0, height - h + 1), random.integers(0, width - w + 1), h, w
    h, w = height, width
    if width / height < 3 / 4:
        h = round(width / (3 / 4))
    elif width / height > 4 / 3:
        w = round(height * (4 / 3))
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize("size", [(300, 200), (224, 224), (150, 400)])
def test_boxes_and_flips_are_distributed_as_defined(size):
    boxes, flips = draw(size, 4000)
    random = np.random.default_rng(0)
    expected = np.array([definition(*size, random) for _ in range(4000)])
    for ours, theirs in zip(features(boxes, size), features(expected, size), strict=True):
        assert stats.ks_2samp(ours, theirs).pvalue > 0.01
    assert stats.binomtest(int(flips.sum()), len(flips)).pvalue > 0.01


def features(boxes, size):
    top, left, height, width = boxes.T
    return height * width, width / height, top, left, size[0] - top - height


def test_the_corner_is_uniform_over_the_places_it_may_take():
    boxes, _ = draw((60, 60), 6000)
    top, height = boxes[:, 0], boxes[:, 2]
    free = 60 - height
    some = free > 0
    assert (top >= 0).all() and (top <= free).all()
    assert stats.kstest((top[some] + 0.5) / (free[some] + 1), "uniform").statistic < 0.03


@pytest.mark.parametrize(("size", "box"), [((4, 200), (0, 97, 4, 5)), ((200, 4), (97, 0, 5, 4))])
def test_an_image_too_narrow_for_any_crop_gives_its_centre(size, box):
    boxes, _ = draw(size, 200)
    expected = {tuple(int(v) for v in b) for b in boxes}
    assert box in expected
    assert all(0.7 < w / h < 1.4 for _, _, h, w in expected)


def test_one_pixel_can_be_cropped():
    boxes, _ = draw((1, 1), 50)
    assert (boxes == (0, 0, 1, 1)).all()


def test_every_image_gets_its_own_box_and_the_key_decides():
    canvas = np.random.default_rng(2).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)
    canvases, sizes = jnp.repeat(jnp.asarray(canvas), 4, axis=0), jnp.full((4, 2), SIDE)
    first, again, other = (
        np.asarray(random_crop_flip(jax.random.key(seed), canvases, sizes, OUT))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert all((first[0] != first[i]).any() for i in range(1, 4))


def test_it_works_inside_jit_and_vmap():
    canvases = np.random.default_rng(3).integers(0, 256, (3, 2, SIDE, SIDE, 3), np.uint8)
    sizes, keys = jnp.full((3, 2, 2), SIDE), jax.random.split(jax.random.key(5), 3)
    many = jax.jit(jax.vmap(lambda k, c, s: random_crop_flip(k, c, s, OUT)))(keys, canvases, sizes)
    for index in range(3):
        one = random_crop_flip(keys[index], canvases[index], sizes[index], OUT)
        np.testing.assert_array_equal(many[index], one)
