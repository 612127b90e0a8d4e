import io
import random
import struct
import tracemalloc
import zlib

import numpy as np
import PIL.Image
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.data import tags
from dpl_jax.data.image_files import HAS_AVIF
from dpl_jax.data.images import from_pillow, read_image
from dpl_jax.data.split import Item
from dpl_jax.errors import UnreadableImageError
from dpl_jax.inference.classifier import Classifier
from tests.data import metadata
from tests.data.metadata import CORNERS, FORMATS, ORIENTATION, TURNED, UPRIGHT, InMemory

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def read(data):
    return np.asarray(read_image(Item(InMemory(data), 0, "", "image"))).astype(int)


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_pixels_are_upright_whatever_the_other_tags_hold(kind, seed):
    metadata.check(kind, random.Random(seed))


# Found by the fuzzing: tags in a folder that Pillow stops reading, or cannot write again; a JPEG
# that it does not open for them; a TIFF with a resolution that is a text.
@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        ("PNG", "1-2"),
        ("PNG end", "1-48"),
        ("TIFF", "1-77"),
        ("JPEG", "1-126"),
        ("PNG text", "1-130"),
        ("two JPEG", "1-151"),
        ("WEBP", "1-172"),
        ("XMP JPEG", "1-1833"),
    ],
)
def test_metadata_that_pillow_chokes_on_are_passed_over(kind, seed):
    metadata.check(kind, random.Random(seed))


def exif(value, kind=3, count=1):
    return metadata.header("<") + metadata.ifd([(ORIENTATION, kind, count, value)], "<")


@pytest.mark.parametrize(
    ("value", "kind", "count", "meant"),
    [
        (b"\6\0", 3, 1, 6),
        (b"\0\0", 3, 1, 1),
        (b"\x09\0", 3, 1, 1),
        (b"\0\6", 3, 1, 1),  # 1536
        (b"6\0", 2, 2, 6),
        (b"up", 2, 2, 1),
        (b"\6\0\3\0", 3, 2, 6),
        (b"\6", 1, 1, 6),
        (b"\6", 7, 1, 6),
        (struct.pack("<II", 12, 2), 5, 1, 6),
        (struct.pack("<II", 6, 0), 5, 1, 1),
        (struct.pack("<f", 6), 11, 1, 6),
        (struct.pack("<f", 6.5), 11, 1, 1),
        (struct.pack("<f", float("nan")), 11, 1, 1),
        (b"\6\0\0\0", 99, 1, 1),
        (b"", 2, 0, 1),
    ],
)
def test_an_orientation_of_any_type_is_understood_or_none(value, kind, count, meant):
    assert tags.orientation(exif(value, kind, count)) == meant
    image, buffer = PIL.Image.fromarray(np.ascontiguousarray(TURNED[meant](UPRIGHT))), io.BytesIO()
    image.save(buffer, "PNG", exif=b"Exif\0\0" + exif(value, kind, count))
    np.testing.assert_array_equal(read(buffer.getvalue()), UPRIGHT)


@given(st.binary(max_size=200))
@example(b"II*\0\xff\xff\xff\xff")
@example(b"")
def test_any_bytes_have_an_orientation_or_none(data):
    assert tags.orientation(data) in (None, *range(1, 9))
    assert tags.orientation(b"II*\0\x08\0\0\0" + data) in (None, *range(1, 9))


@pytest.mark.skipif(not HAS_AVIF, reason="this Pillow reads no AVIF")
@pytest.mark.parametrize("number", range(1, 9))
def test_avif_is_turned_too(number):
    stored = PIL.Image.fromarray(np.ascontiguousarray(TURNED[number](UPRIGHT)))
    buffer = io.BytesIO()
    stored.save(buffer, "AVIF", quality=95, exif=b"Exif\0\0" + exif(bytes([number, 0])))
    assert np.abs(read(buffer.getvalue()) - UPRIGHT)[4::8, 4::8].max() < 30


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG"])
def test_a_pillow_image_is_turned_as_its_file_is(kind):
    stream = random.Random(3)
    for _ in range(20):
        data, _ = metadata.encoded(kind, stream)
        try:
            image = PIL.Image.open(io.BytesIO(data))
        except OSError:
            continue  # which cannot be handed over
        with image:
            got = np.asarray(from_pillow(image)).astype(int)
        if kind == "TIFF" and got.shape != UPRIGHT.shape:
            continue  # Pillow itself has given up the tags
        assert np.abs(got[4::24, 4::40] - CORNERS).max() < 25


def test_a_damaged_pillow_image_is_our_error():
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (90, 90)).save(buffer, "PNG")
    image = PIL.Image.open(io.BytesIO(buffer.getvalue()[:-40]))
    with pytest.raises(UnreadableImageError, match="A Pillow image: a damaged image"):
        Classifier.pixels(Shell(), image)


class Shell:
    preprocessing = Preprocessing(16, 16)


@pytest.mark.parametrize(
    "error",
    [TypeError, KeyError, AttributeError, ZeroDivisionError, RecursionError, MemoryError],
)
def test_whatever_a_decoder_raises_is_one_error(monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(PIL.Image, "open", fail)
    for start in (b"\xff\xd8\xff", b"II*\0", b"RIFF"):
        with pytest.raises(UnreadableImageError, match="image: "):
            read(start)


def test_a_jpeg_of_thousands_of_exif_segments_is_read():
    """Pillow alone copies 60 MB for each of 20,000 segments."""
    image, buffer = PIL.Image.fromarray(np.ascontiguousarray(TURNED[6](UPRIGHT))), io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    first = metadata._segment(b"Exif\0\0" + exif(b"\6\0"))
    more = metadata._segment(b"Exif\0\0" + bytes(3000)) * 20_000
    data = buffer.getvalue()[:2] + first + more + b"\xff" * 99 + buffer.getvalue()[2:]
    assert np.abs(read(data) - UPRIGHT)[4::8, 4::8].max() < 25


@pytest.mark.parametrize("fill", [b"\xff", b"\0"])
def test_a_jpeg_that_is_filled_up_is_read(fill):
    """Pillow alone takes a minute for these 50 MB."""
    image, buffer = PIL.Image.fromarray(UPRIGHT), io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    plain = buffer.getvalue()
    for size in (1, 99, 50_000_000):
        filled = read(plain[:20] + fill * size + plain[20:])
        np.testing.assert_array_equal(filled, read(plain))


@pytest.mark.parametrize("name", [b"zTXt", b"iCCP", b"iTXt"])
@pytest.mark.parametrize("times", [1, 2000])
def test_what_a_png_has_packed_besides_its_pixels_is_not_unpacked(name, times):
    packed = zlib.compress(bytes(20 << 20 if times == 1 else 900_000), 9)
    head = b"a\0\1\0\0\0" if name == b"iTXt" else b"a\0\0"
    image, buffer = PIL.Image.fromarray(np.ascontiguousarray(TURNED[8](UPRIGHT))), io.BytesIO()
    image.save(buffer, "PNG", exif=b"Exif\0\0" + exif(b"\x08\0"))
    chunks = metadata._chunk(name, head + packed) * times
    assert tags.clean_png(buffer.getvalue()) == buffer.getvalue()
    for place in (33, -12):
        data = metadata._insert(buffer.getvalue(), chunks, place)
        np.testing.assert_array_equal(read(data), UPRIGHT)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_values_that_many_tags_share_are_not_copied_for_each(kind):
    """3,000 tags of 400 kB each, all the same bytes: Pillow alone would keep 1.2 GB of them."""
    data, values = bytes(400_000), 3_000
    stored = np.ascontiguousarray(TURNED[6](UPRIGHT))
    entries = [(50000 + n, 7, len(data), struct.pack("<I", 8)) for n in range(values)]
    turned = (ORIENTATION, 3, 1, b"\6\0")
    if kind == "TIFF":
        file = metadata.tiff(stored, [turned, *entries], "<", random.Random(0)) + data
    else:
        block = metadata.header("<") + metadata.ifd([turned, *entries], "<") + data
        parts = [block[start : start + 60_000] for start in range(0, len(block), 60_000)]
        buffer = io.BytesIO()
        PIL.Image.fromarray(stored).save(buffer, "JPEG", quality=95)
        segments = b"".join(metadata._segment(b"Exif\0\0" + part) for part in parts)
        plain = buffer.getvalue()
        file = plain[:2] + segments + plain[20:]  # without the JFIF segment and its resolution
    tracemalloc.start()
    found = read(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.abs(found - UPRIGHT)[4::8, 4::8].max() < 25
    assert peak < 100e6
