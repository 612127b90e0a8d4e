import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest

from dpl_jax.data import canvases as canvases_module
from dpl_jax.data.canvases import Canvases, canvas_megabytes, canvas_side, load_canvases
from dpl_jax.data.images import Reading
from dpl_jax.data.split import Item
from dpl_jax.errors import DataError, UnreadableImageError

SIDE = 24


@pytest.fixture
def files(tmp_path, smooth_image):
    items = []
    for label, (height, width) in enumerate([(10, 20), (60, 40), (24, 24), (1, 90)]):
        path = tmp_path / "images" / f"{label}.png"
        path.parent.mkdir(exist_ok=True)
        smooth_image(height, width, seed=label).save(path)
        items.append(Item(path, label, f"c{label}", path.name))
    return items


def assert_same(ours: Canvases, theirs: Canvases):
    for field in ("images", "sizes", "labels"):
        np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field))


def test_canvases_keep_the_aspect_ratio_and_never_enlarge(files):
    canvases = load_canvases(files, SIDE)
    assert canvases.images.shape == (4, SIDE, SIDE, 3)
    assert canvases.sizes.tolist() == [[10, 20], [24, 16], [24, 24], [1, 24]]
    assert canvases.labels.tolist() == [0, 1, 2, 3]
    for item, canvas, (height, width) in zip(files, canvases.images, canvases.sizes, strict=True):
        with PIL.Image.open(item.image) as image:
            expected = np.asarray(image.resize((width, height), PIL.Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(canvas[:height, :width], expected)
        assert not canvas[height:].any()
        assert not canvas[:, width:].any()


def test_the_side_and_the_memory_of_canvases():
    assert canvas_side(0, 224) == 448
    assert canvas_side(300, 224) == 300
    assert canvas_megabytes(1600, 448) == pytest.approx(963.4, abs=0.1)


def test_the_second_run_reads_the_cache(files, tmp_path, monkeypatch):
    first = load_canvases(files, SIDE, cache_dir=str(tmp_path / "cache"))
    assert_same(first, load_canvases(files, SIDE))
    monkeypatch.setattr(canvases_module, "read_canvas", None)  # nothing is decoded any more
    assert_same(load_canvases(files, SIDE, cache_dir=str(tmp_path / "cache")), first)


def test_no_temporary_file_is_left_and_none_is_a_pickle(files, tmp_path):
    load_canvases(files, SIDE, cache_dir=str(tmp_path / "cache"))
    (entry,) = (tmp_path / "cache").iterdir()
    names = {path.name for path in entry.iterdir()}
    assert names == {"images.npy", "sizes.npy", "kept.npy", "checksums.json"}
    for path in entry.glob("*.npy"):
        np.load(path, allow_pickle=False)


def test_a_changed_file_another_size_and_another_list_are_new_entries(
    files, tmp_path, smooth_image
):
    cache = tmp_path / "cache"
    load_canvases(files, SIDE, cache_dir=str(cache))
    load_canvases(files, SIDE + 1, cache_dir=str(cache))
    load_canvases(files[:3], SIDE, cache_dir=str(cache))
    smooth_image(10, 20, seed=9).save(files[0].image)
    os.utime(files[0].image, ns=(1, 1))
    changed = load_canvases(files, SIDE, cache_dir=str(cache))
    assert len(list(cache.iterdir())) == 4
    assert_same(changed, load_canvases(files, SIDE))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-30])


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[-30] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, os.remove])
@pytest.mark.parametrize("name", ["images.npy", "sizes.npy", "checksums.json"])
def test_a_damaged_entry_is_made_again(files, tmp_path, caplog, damage, name):
    expected = load_canvases(files, SIDE)
    load_canvases(files, SIDE, cache_dir=str(tmp_path / "cache"))
    (entry,) = (tmp_path / "cache").iterdir()
    damage(entry / name)
    with caplog.at_level(logging.WARNING):
        assert_same(load_canvases(files, SIDE, cache_dir=str(tmp_path / "cache")), expected)
    assert "is damaged" in caplog.text
    caplog.clear()
    assert_same(load_canvases(files, SIDE, cache_dir=str(tmp_path / "cache")), expected)
    assert not caplog.text
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_an_image_that_cannot_be_read_leaves_nothing_behind(files, tmp_path):
    files[2].image.write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match=r"2\.png"):
        load_canvases(files, SIDE, cache_dir=str(tmp_path / "cache"))
    assert not list((tmp_path / "cache").iterdir())
    for _ in range(2):  # made, then read from the cache
        kept = load_canvases(
            files, SIDE, cache_dir=str(tmp_path / "cache"), reading=Reading(skip_unreadable=True)
        )
        assert kept.labels.tolist() == [0, 1, 3]
        assert kept.images.shape[0] == 3


def test_a_cache_that_cannot_be_written_is_one_error(files, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match=r"data\.cache_dir"):
        load_canvases(files, SIDE, cache_dir=str(tmp_path / "file"))


def test_two_runs_at_once_make_one_good_entry(files, tmp_path, monkeypatch):
    cache, expected = str(tmp_path / "cache"), load_canvases(files, SIDE)
    both_decode, read_canvas = threading.Barrier(2, timeout=30), canvases_module.read_canvas

    def wait_for_the_other(item, side, **options):
        if item.name == "0.png":
            both_decode.wait()
        return read_canvas(item, side, **options)

    monkeypatch.setattr(canvases_module, "read_canvas", wait_for_the_other)
    with ThreadPoolExecutor(2) as runs:
        made = [runs.submit(load_canvases, files, SIDE, cache_dir=cache) for _ in range(2)]
        for run in made:
            assert_same(run.result(), expected)
    assert len(list((tmp_path / "cache").iterdir())) == 1
