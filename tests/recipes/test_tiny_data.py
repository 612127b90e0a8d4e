import re
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from recipes.contrastive import true_captions
from recipes.tiny import atlas as atlas_module
from recipes.tiny import captions, compose, vocabulary
from recipes.tiny.atlas import Atlas, build_atlas
from recipes.tiny.batches import make_batch
from recipes.tiny.scenes import ATTRIBUTES, RESOLUTIONS, Scenes, sample_scenes
from recipes.tiny.shapes import POLYGONS
from recipes.tiny.strokes import catmull_rom

SIDE = 32
COUNT = 64  # of every batch that is drawn, so that one program draws them all
EVEN = (1.0, 1.0, 1.0, 1.0, 1.0)
COMPOSE = jax.jit(compose.compose, static_argnums=3)


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atlas_module, "WEIGHTS", (0,))
        return build_atlas(seed=3, handwritten=4, textures=2)


def draw(atlas: Atlas, scenes: Scenes, seed: int = 0) -> np.ndarray:
    return np.asarray(COMPOSE(jax.random.key(seed), atlas.masks, scenes.pixels, SIDE))


def without_degradation(scenes: Scenes) -> Scenes:
    names = ("noise", "light", "clutter_strength", "resolution", "elastic")
    clean = {name: np.zeros_like(scenes.pixels[name]) for name in names}
    clean["gain"] = np.ones_like(scenes.pixels["gain"])
    return Scenes(scenes.attributes, scenes.pixels | clean)


def test_every_thing_has_masks_that_show_something(atlas: Atlas) -> None:
    counts = Counter(atlas.thing.tolist())
    assert set(counts) == set(range(len(vocabulary.THINGS)))
    assert (atlas.masks.reshape(len(atlas.masks), -1).max(axis=1) > 100).all()


def test_the_same_seed_draws_the_same_masks_and_another_seed_others(atlas: Atlas) -> None:
    rng = [np.random.default_rng(seed) for seed in (5, 5, 6)]
    first, again, other = (atlas_module._handwritten(r, 1) for r in rng)
    same = [np.array_equal(a[0], b[0]) for a, b in zip(first, again, strict=True)]
    assert all(same)
    assert not any(np.array_equal(a[0], b[0]) for a, b in zip(first, other, strict=True))


def test_a_batch_follows_from_seed_and_step_alone(atlas: Atlas) -> None:
    def count(caption: str) -> np.ndarray:
        return np.array([len(caption), 999])

    def batch(seed: int, step: int) -> dict:
        return make_batch(
            seed,
            step,
            COUNT,
            atlas=atlas,
            category_weights=EVEN,
            handwritten_share=0.5,
            tokenize=count,
        )

    first, again, later = batch(1, 7), batch(1, 7), batch(1, 8)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(first["pixels"]["scale"], later["pixels"]["scale"])
    drawn, again_drawn = (draw(atlas, Scenes(b["attributes"], b["pixels"])) for b in (first, again))
    np.testing.assert_array_equal(drawn, again_drawn)


@pytest.mark.parametrize("seed", range(4))
def test_images_show_the_named_colours(atlas: Atlas, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scenes = without_degradation(sample_scenes(rng, atlas, COUNT, (0, 0, 0, 1, 0), 0.5))
    filled = scenes.attributes[:, ATTRIBUTES.index("style")] == vocabulary.STYLES.index("filled")
    things = [vocabulary.THINGS[i] for i in scenes.attributes[:, ATTRIBUTES.index("thing")]]
    solid = filled & np.isin(things, list(POLYGONS))  # thin lines mix with their background
    sentences, _ = captions.write_captions(rng, scenes.attributes)
    checked = 0
    for image, sentence in zip(draw(atlas, scenes)[solid], np.array(sentences)[solid], strict=True):
        named = re.search(r"(?:small|medium|large) (\w+) \w+ on an? (\w+) background", sentence)
        if named:
            colour, background = named.groups()
            assert nearest_colour(image[0, 0]) == background
            assert colour in {nearest_colour(pixel) for pixel in image.reshape(-1, 3)}
            checked += 1
    assert checked > 2


def nearest_colour(pixel: np.ndarray) -> str:
    distances = {
        name: np.abs(pixel * 255 - value).sum() for name, value in vocabulary.COLOURS.items()
    }
    return min(distances, key=distances.__getitem__)


def test_captions_name_what_was_drawn(atlas: Atlas) -> None:
    rng = np.random.default_rng(1)
    scenes = sample_scenes(rng, atlas, 200, EVEN, 0.5)
    sentences, mentions = captions.write_captions(rng, scenes.attributes)
    shown = atlas.thing[scenes.pixels["mask"]]
    for thing, sentence, mention in zip(shown, sentences, mentions, strict=True):
        if mention[ATTRIBUTES.index("thing")]:
            assert re.search(rf"\b{vocabulary.THINGS[thing]}\b", sentence)


def test_true_captions_are_those_one_could_have_written_about_the_image(atlas: Atlas) -> None:
    rng = np.random.default_rng(2)
    scenes = sample_scenes(rng, atlas, 60, EVEN, 0.5)
    rows = scenes.attributes
    templates = [captions._pick_template(rng, row) for row in rows]
    mentions = np.stack([captions.mentioned(template) for template in templates])
    sentences = [captions._fill(t, row) for t, row in zip(templates, rows, strict=True)]
    expected = [
        [captions._fill(t, row) == s for t, s in zip(templates, sentences, strict=True)]
        for row in rows
    ]
    np.testing.assert_array_equal(true_captions(jnp.array(rows), jnp.array(mentions)), expected)
    assert np.sum(expected) > len(rows)


@pytest.mark.parametrize("index", range(1, len(RESOLUTIONS)))
def test_resampling_is_what_pillow_does_to_an_image(index: int) -> None:
    pixels = np.random.default_rng(index).uniform(size=(SIDE, SIDE)).astype(np.float32)
    side = RESOLUTIONS[index]
    small = Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)
    expected = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    matrix = compose.resampling(SIDE)[index]
    np.testing.assert_allclose(matrix @ pixels @ matrix.T, expected, atol=1e-5)


def test_an_undistorted_scene_shows_its_mask(atlas: Atlas) -> None:
    scenes = without_degradation(sample_scenes(np.random.default_rng(0), atlas, COUNT, EVEN, 0.5))
    plain = {"rotation": 0.0, "slant": 0.0, "centre": 0.0, "scale": 1.0}
    pixels = scenes.pixels | {k: np.full_like(scenes.pixels[k], v) for k, v in plain.items()}
    pixels |= {"colour": np.ones((COUNT, 3), np.float32)}
    pixels |= {"background": np.zeros((COUNT, 3), np.float32)}
    images = draw(atlas, Scenes(scenes.attributes, pixels))[:, :, :, 0]
    np.testing.assert_allclose(images, atlas.masks[pixels["mask"]] / 255, atol=1e-5)


def test_the_spline_passes_through_its_control_points() -> None:
    points = np.random.default_rng(0).uniform(size=(6, 2))
    np.testing.assert_allclose(catmull_rom(points, samples=10)[::10], points, atol=1e-12)
