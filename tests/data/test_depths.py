import io

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest

from dpl_jax.data.depths import to_rgb
from dpl_jax.data.images import read_image
from dpl_jax.data.split import Item
from dpl_jax.errors import UnreadableImageError

RAMP = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)


def read(path):
    return np.asarray(read_image(Item(path, 0, "", path.name)))


@pytest.mark.parametrize("scale", [1, 255, 65535])
def test_floats_are_scaled_from_the_range_that_holds_them(tmp_path, scale):
    PIL.Image.fromarray(RAMP * scale).save(tmp_path / "float.tif")
    np.testing.assert_allclose(read(tmp_path / "float.tif")[:, :, 1], RAMP * 255, atol=0.51)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e9])
def test_floats_that_are_no_colours_are_refused(tmp_path, bad):
    levels = RAMP.copy()
    levels[3, 4] = bad
    PIL.Image.fromarray(levels).save(tmp_path / "float.tif")
    with pytest.raises(UnreadableImageError, match=r"float\.tif: .*(finite|0\.\.65535)"):
        read(tmp_path / "float.tif")


@pytest.mark.parametrize(
    ("ending", "order"), [("png", "<u2"), ("tif", "<u2"), ("tif", ">u2"), ("pgm", "<u2")]
)
def test_twelve_bits_in_sixteen_are_scaled_and_told_once(tmp_path, caplog, ending, order):
    levels = np.round(RAMP * 4095).astype(order)
    image = PIL.Image.fromarray(levels)
    paths = [tmp_path / f"{name}.{ending}" for name in ("a", "b")]
    for path in paths:
        image.save(path)
        np.testing.assert_allclose(read(path)[:, :, 0], RAMP * 255, atol=0.6)
    warned = [r.getMessage() for r in caplog.records]
    assert len(warned) == 1
    assert str(paths[0]) in warned[0]
    assert "12 bits" in warned[0]


@pytest.mark.parametrize(("highest", "told"), [(65535, 0), (8192, 0), (8191, 1), (4096, 1)])
def test_a_dark_image_of_sixteen_bits_stays_dark_and_is_told(tmp_path, caplog, highest, told):
    levels = np.round(RAMP * highest).astype(np.uint16)
    PIL.Image.fromarray(levels).save(tmp_path / "deep.png")
    np.testing.assert_allclose(read(tmp_path / "deep.png")[:, :, 2], levels / 257, atol=0.51)
    assert len(caplog.records) == told


def test_32_bits_are_scaled_and_what_is_negative_is_black(tmp_path):
    levels = np.round(RAMP.astype(np.float64) * (2**31 - 1)).astype(np.int32)
    PIL.Image.fromarray(levels).save(tmp_path / "deep.tif")
    np.testing.assert_allclose(read(tmp_path / "deep.tif")[:, :, 0], RAMP * 255, atol=0.6)
    PIL.Image.fromarray(np.round(RAMP * 65535).astype(np.int32) - 9000).save(tmp_path / "s.tif")
    expected = np.clip(np.round(RAMP * 65535) - 9000, 0, None) / 257
    np.testing.assert_allclose(read(tmp_path / "s.tif")[:, :, 0], expected, atol=0.51)


def test_lab_has_its_colours(tmp_path):
    colours = np.array([[[200, 40, 40], [40, 160, 60], [60, 80, 200], [128, 128, 128]]], np.uint8)
    srgb, lab = PIL.ImageCms.createProfile("sRGB"), PIL.ImageCms.createProfile("LAB")
    image = PIL.Image.fromarray(colours.repeat(8, 0).repeat(8, 1))
    PIL.ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB").save(tmp_path / "lab.tif")
    found = read(tmp_path / "lab.tif")[4, 4::8].astype(int)
    assert np.abs(found - colours[0]).max() <= 6


@pytest.mark.parametrize("mode", ["1", "L", "LA", "PA", "P", "RGBA", "RGBX", "La", "RGBa", "YCbCr"])
def test_every_mode_of_eight_bits_is_the_same_grey(mode):
    grey = PIL.Image.new("L", (6, 5), 255)
    middle = "LA" if mode in ("La", "PA") else "RGBA" if mode == "RGBa" else "L"
    middle = "RGB" if mode in ("YCbCr", "RGBX") else middle
    image = grey.convert(middle).convert(mode)
    assert np.abs(np.asarray(to_rgb(image)).astype(int) - 255).max() <= 1


def test_inverted_ink_of_adobe_is_understood(tmp_path):
    """Pillow writes CMYK as Adobe does, with the marker that says that it is inverted."""
    buffer = io.BytesIO()
    PIL.Image.new("CMYK", (16, 16), (255, 0, 255, 0)).save(buffer, "JPEG", quality=100)
    assert b"Adobe" in buffer.getvalue()
    (tmp_path / "ink.jpg").write_bytes(buffer.getvalue())
    np.testing.assert_allclose(read(tmp_path / "ink.jpg")[8, 8], [0, 255, 0], atol=6)
