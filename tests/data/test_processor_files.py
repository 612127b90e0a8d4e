"""What a checkpoint says of its images is done as transformers does it, or refused by name."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

import dpl_jax
from dpl_jax.clip.names import embedded_folder
from dpl_jax.clip.preprocessing import Preprocessing, read_preprocessing
from dpl_jax.data.transforms import normalise, resize_and_crop
from dpl_jax.errors import DataError
from dpl_jax.inference.export.folder import copy_clip

SIDE = 16
PLAIN: dict[str, Any] = {
    "image_processor_type": "CLIPImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": SIDE},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": SIDE, "width": SIDE},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.4],
}
NUMBERS = st.floats(0.1, 0.9)
VALUES = {
    "do_resize": st.booleans(),
    "do_center_crop": st.booleans(),
    "do_rescale": st.booleans(),
    "do_normalize": st.booleans(),
    "do_convert_rgb": st.booleans(),
    "do_pad": st.booleans(),
    "rescale_factor": st.sampled_from([1 / 255, 1 / 127.5, 1.0, 0]),
    "resample": st.integers(0, 5),
    "size": st.sampled_from(
        [
            {"shortest_edge": SIDE},
            {"shortest_edge": 20},
            {"shortest_edge": SIDE, "longest_edge": 24},
            {"height": SIDE, "width": SIDE},
            {"height": 20, "width": 24},
        ]
    ),
    "crop_size": st.sampled_from([{"height": SIDE, "width": SIDE}, {"height": 12, "width": 12}]),
    "image_mean": st.one_of(NUMBERS, st.lists(NUMBERS, min_size=3, max_size=3)),
    "image_std": st.one_of(NUMBERS, st.lists(NUMBERS, min_size=3, max_size=3)),
}


def write(folder: Path, contents: Any, name: str = "processor_config.json") -> Path:
    (folder / name).write_text(json.dumps(contents))
    return folder


@settings(deadline=None, max_examples=150)
@given(
    change=st.fixed_dictionaries({}, optional=VALUES),
    dropped=st.sets(st.sampled_from([*PLAIN]), max_size=2),
    nested=st.booleans(),
)
def test_random_fields(
    change: dict[str, Any],
    dropped: set[str],
    nested: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    fields = {name: value for name, value in PLAIN.items() if name not in dropped} | change
    folder = tmp_path_factory.mktemp("clip")
    if nested:
        write(folder, {"image_processor": fields, "processor_class": "CLIPProcessor"})
    else:
        write(folder, fields, "preprocessor_config.json")
    try:
        how = read_preprocessing(folder, SIDE)
    except DataError as error:
        assert "processor_config.json" in str(error)
        return
    noise = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    image = PIL.Image.fromarray(noise)
    theirs = CLIPImageProcessorPil(**fields)(image, return_tensors="np")["pixel_values"][0]
    ours = np.asarray(normalise(jnp.asarray(resize_and_crop(image, how)), how.mean, how.std))
    np.testing.assert_allclose(ours, theirs.transpose(1, 2, 0), atol=1e-5)


@pytest.mark.parametrize("nested", [True, False])
def test_what_transformers_saves_is_read(tmp_path: Path, nested: bool) -> None:
    saved = CLIPImageProcessorPil(image_mean=[0.5] * 3, image_std=[0.25] * 3).to_dict()
    contents = {"image_processor": saved, "processor_class": "CLIPProcessor"} if nested else saved
    write(tmp_path, contents, "processor_config.json" if nested else "preprocessor_config.json")
    assert read_preprocessing(tmp_path, 224) == Preprocessing(224, 224, (0.5,) * 3, (0.25,) * 3, 3)


def test_the_nested_one_goes_first_as_in_transformers(tmp_path: Path) -> None:
    write(tmp_path, PLAIN | {"image_mean": [0.1] * 3}, "preprocessor_config.json")
    write(tmp_path, {"processor_class": "CLIPProcessor"})
    assert read_preprocessing(tmp_path, SIDE).mean == (0.1,) * 3
    write(tmp_path, {"image_processor": PLAIN})
    assert read_preprocessing(tmp_path, SIDE).mean == (0.5, 0.4, 0.3)


def test_a_loaded_clip_and_its_copy_keep_it(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    copy_clip(dpl_jax.load_clip("tiny"), folder)
    fields = json.loads((embedded_folder("tiny") / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    write(folder, {"image_processor": fields | {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}})
    copy_clip(dpl_jax.load_clip(folder), tmp_path / "copy")
    for place in (folder, tmp_path / "copy"):
        how = dpl_jax.load_clip(place).preprocessing
        assert how.mean == how.std == (0.5,) * 3


@pytest.mark.parametrize("contents", [[], {"image_processor": []}, 3])
def test_a_file_of_another_kind(tmp_path: Path, contents: Any) -> None:
    with pytest.raises(DataError, match=r"processor_config\.json"):
        read_preprocessing(write(tmp_path, contents), SIDE)
