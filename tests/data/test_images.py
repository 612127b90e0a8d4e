import io
import os
import zlib

import numpy as np
import PIL.Image
import pytest

from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.data.decode import decode
from dpl_jax.data.images import Reading, read_image
from dpl_jax.data.load import load_dataset
from dpl_jax.data.split import Item
from dpl_jax.errors import DataError, UnreadableImageError

PREPROCESSING = Preprocessing(16, 16)


def item(image):
    return Item(image, 0, "cat", "cat/1")


def read(image, **options):
    return np.asarray(read_image(item(image), **options))


@pytest.mark.parametrize(
    ("suffix", "tolerance", "options"),
    [
        ("png", 0, {}),
        ("bmp", 0, {}),
        ("tiff", 0, {}),
        ("webp", 0, {"lossless": True}),
        ("gif", 40, {}),
        ("jpg", 6, {"quality": 95, "subsampling": 0}),
    ],
)
def test_every_format_gives_its_pixels(tmp_path, smooth_image, suffix, tolerance, options):
    original = smooth_image(21, 34)
    path = tmp_path / f"image.{suffix}"
    original.save(path, **options)
    loaded = read(path)
    assert loaded.shape == (21, 34, 3)
    error = np.abs(loaded.astype(int) - np.asarray(original))
    assert np.quantile(error, 0.99) <= tolerance


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    red, blue = (PIL.Image.new("RGB", (6, 5), colour) for colour in ("red", "blue"))
    for suffix in ("gif", "webp", "png"):
        path = tmp_path / f"image.{suffix}"
        red.save(path, save_all=True, append_images=[blue, blue])
        assert read(path)[0, 0, 0] > 200, suffix


def test_grey_is_the_same_in_all_three_channels(tmp_path):
    levels = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    PIL.Image.fromarray(levels).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read(tmp_path / "grey.png"), np.stack([levels] * 3, axis=2))


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path):
    levels = np.linspace(0, 65535, 60).reshape(6, 10).astype(np.uint16)
    for suffix in ("png", "tiff"):
        PIL.Image.fromarray(levels).save(tmp_path / f"deep.{suffix}")
        loaded = read(tmp_path / f"deep.{suffix}")
        np.testing.assert_allclose(loaded[:, :, 0], levels / 257, atol=0.5001)


def test_a_palette_gives_its_colours_and_transparency_is_dropped(tmp_path, recwarn):
    image = PIL.Image.new("P", (4, 3))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "palette.png", transparency=b"\x00\xff")
    loaded = read(tmp_path / "palette.png")
    assert loaded[0, 0].tolist() == [10, 20, 30]
    assert loaded[0, 1].tolist() == [200, 100, 50]
    rgba = PIL.Image.new("RGBA", (4, 3), (10, 20, 30, 0))
    rgba.save(tmp_path / "rgba.png")
    assert read(tmp_path / "rgba.png")[2, 3].tolist() == [10, 20, 30]
    assert not recwarn.list


def test_cmyk_becomes_the_colours_it_stands_for(tmp_path):
    ink = PIL.Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan: red
    ink.save(tmp_path / "ink.jpg", quality=100)
    np.testing.assert_allclose(read(tmp_path / "ink.jpg")[8, 8], [255, 0, 0], atol=6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    levels = np.kron(np.array([[0, 80, 160], [240, 40, 120]], np.uint8), np.ones((8, 8), np.uint8))
    turned = {
        1: levels,
        2: levels[:, ::-1],
        3: levels[::-1, ::-1],
        4: levels[::-1],
        5: levels.T,
        6: np.rot90(levels, -1),
        7: np.rot90(levels, 2).T,
        8: np.rot90(levels),
    }[orientation]
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(levels).save(tmp_path / "turned.jpg", exif=exif, quality=100)
    loaded = read(tmp_path / "turned.jpg")[:, :, 0]
    np.testing.assert_allclose(loaded.astype(int), turned, atol=4)


def test_a_record_is_read_from_its_bytes(encoded):
    class InMemory:
        def read(self):
            return encoded("PNG")

    assert read(InMemory()).shape == (12, 10, 3)


def test_a_large_jpeg_may_be_shrunk_while_decoding_but_keeps_enough_pixels(tmp_path, smooth_image):
    smooth_image(600, 800).save(tmp_path / "large.jpg", quality=95)
    small = read(tmp_path / "large.jpg", at_least=100)
    assert small.shape == (150, 200, 3)
    reference = np.asarray(smooth_image(600, 800).resize((200, 150), PIL.Image.Resampling.BOX))
    assert np.abs(small.astype(int) - reference).max() <= 8


def bad_png_size(width, height):
    """A PNG whose header claims a size that its pixels do not have."""
    buffer = io.BytesIO()
    PIL.Image.new("L", (1, 1)).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


BAD_FILES = {
    "truncated.jpg": (lambda encoded: encoded("JPEG", 99, 99)[:-400], "damaged image"),
    "text.jpg": (lambda _: b"this is no image", "not an image"),
    "empty.png": (lambda _: b"", "not an image"),
    "huge.png": (lambda _: bad_png_size(30_000, 30_000), "limit of 178956970"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_error_that_names_it(tmp_path, encoded, name):
    make, reason = BAD_FILES[name]
    path = tmp_path / name
    path.write_bytes(make(encoded))
    with pytest.raises(UnreadableImageError, match=f"{name}: .*{reason}") as caught:
        read(path)
    assert "skip_unreadable=true" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_many_pixels_are_refused_by_the_configured_limit(tmp_path, smooth_image):
    smooth_image(30, 40).save(tmp_path / "image.png")
    assert read(tmp_path / "image.png", max_pixels=1200).shape == (30, 40, 3)
    with pytest.raises(UnreadableImageError, match=r"40 x 30 pixels .* limit of 1199"):
        read(tmp_path / "image.png", max_pixels=1199)


def test_a_missing_file_is_one_error_that_names_it(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"gone\.jpg: there is no such file"):
        read(tmp_path / "gone.jpg")


def test_a_forbidden_file_is_one_error_that_names_it(tmp_path, encoded, monkeypatch):
    path = tmp_path / "secret.jpg"
    path.write_bytes(encoded("JPEG"))
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser may read it all the same

        def forbidden(*arguments, **options):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(PIL.Image, "open", forbidden)
    with pytest.raises(UnreadableImageError, match=r"secret\.jpg: no permission"):
        read(path)


def test_unreadable_images_are_skipped_and_counted_where_asked(tmp_path, encoded, caplog):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(encoded("PNG"))
    bad.write_bytes(b"no image")
    items = [Item(path, label, "cat", path.name) for label, path in enumerate([bad, good, bad])]
    with pytest.raises(UnreadableImageError, match=r"bad\.png"):
        decode(items, PREPROCESSING)
    images, labels = decode(items, PREPROCESSING, Reading(skip_unreadable=True))
    assert images.shape == (1, 16, 16, 3)
    assert labels.tolist() == [1]
    assert "2 unreadable image(s) were left out" in caplog.text
    with pytest.raises(DataError, match="No readable image"):
        decode(items[:1], PREPROCESSING, Reading(skip_unreadable=True))


def test_real_grey_images_load(data_root, data_config):
    dataset = load_dataset(data_config(name="caltech101", root=str(data_root)))
    grey = [one for one in dataset.test if mode(one.image) == "L"]
    if not grey:
        pytest.skip("this part of Caltech101 has no grey test image")
    for one in grey:
        loaded = read(one.image)
        assert loaded.shape[2] == 3
        assert (loaded == loaded[:, :, :1]).all()


def mode(path):
    with PIL.Image.open(path) as image:
        return image.mode
