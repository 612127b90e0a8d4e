import io

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpl_jax.data.images import read_image
from dpl_jax.data.jpeg_scans import count_scans
from dpl_jax.data.split import Item
from dpl_jax.errors import UnreadableImageError
from tests.data.metadata import InMemory, _segment


def progressive(side=24):
    levels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(levels).save(buffer, "JPEG", progressive=True)
    return buffer.getvalue()


def with_scans(count):
    """A progressive JPEG whose last scan is repeated until there are so many."""
    data = progressive()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * (count - data.count(b"\xff\xda")) + b"\xff\xd9"


def read(data):
    return read_image(Item(InMemory(data), 0, "", "photo.jpg"))


def test_a_hundred_scans_are_decoded_and_more_refused():
    assert read(with_scans(100)).size == (24, 24)
    with pytest.raises(UnreadableImageError, match=r"photo\.jpg: .* 101 scans; at most 100"):
        read(with_scans(101))
    with pytest.raises(UnreadableImageError, match="3000 scans"):
        read(with_scans(3000))


def test_what_only_looks_like_scans_is_not_counted():
    """A thumbnail in a segment, and a film behind the end, as phones write them."""
    data, film = progressive(), b"\xff\xda\0\x02" * 400
    whole = data[:2] + _segment(b"Exif\0\0" + film) + data[2:] + film
    assert count_scans(whole) == count_scans(data) == data.count(b"\xff\xda")
    np.testing.assert_array_equal(np.asarray(read(whole)), np.asarray(read(data)))


def test_fill_bytes_before_a_marker_hide_no_scan():
    data = with_scans(150).replace(b"\xff\xda", b"\xff\xff\xff\xda")
    assert count_scans(data) == 150
    with pytest.raises(UnreadableImageError, match="150 scans"):
        read(data)


def test_jpeg_within_tiff_has_the_same_limit():
    """libtiff counts for itself."""
    buffer = io.BytesIO()
    levels = np.random.default_rng(0).integers(0, 256, (24, 24), np.uint8)
    PIL.Image.fromarray(levels).save(buffer, "TIFF", compression="jpeg")
    assert read(buffer.getvalue()).size == (24, 24)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_can_be_counted(data):
    assert 0 <= count_scans(b"\xff\xd8" + data) <= data.count(b"\xda")
