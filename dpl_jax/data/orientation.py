"""Opening images and turning them upright, whatever else their metadata hold."""

from __future__ import annotations

import contextlib
import functools
import io
import mmap
from collections.abc import Callable, Iterator
from typing import BinaryIO

import PIL.Image
import PIL.ImageFile

from dpl_jax.data import tags
from dpl_jax.data.image_files import FORMATS, HAS_HEIF
from dpl_jax.data.jpeg_scans import occurrences

Turn = PIL.Image.Transpose
# How the pixels of each EXIF orientation become upright; 1 is upright (EXIF 2.32, 4.6.4 A).
TURNS = {
    2: Turn.FLIP_LEFT_RIGHT,
    3: Turn.ROTATE_180,
    4: Turn.FLIP_TOP_BOTTOM,
    5: Turn.TRANSPOSE,
    6: Turn.ROTATE_270,
    7: Turn.TRANSVERSE,
    8: Turn.ROTATE_90,
}
PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8"
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
HEADER_BYTES = 1 << 18  # of a JPEG, in which its metadata are looked at first
JPEG_HEADER_BYTES = 8 << 20  # Pillow reads what fills up a longer one byte by byte
EXIF_BYTES = 1 << 20  # a segment has 64 KiB; Pillow puts many together in quadratic time
EXIF, XMP = "exif", ("XML:com.adobe.xmp", "xmp")


def open_image(file: BinaryIO) -> tuple[PIL.Image.Image, int | None]:
    """Opens an image with Pillow; one whose metadata Pillow chokes on, without its metadata.

    Returns:
        The image, not yet decoded, and for a TIFF the orientation that its tags hold, if any.

    Raises:
        Exception: of Pillow, for what is not an image.
    """
    start = file.read(12)
    file.seek(0)
    if start.startswith(JPEG_START):
        return _open_jpeg(file), None
    if start[:4] in TIFF_STARTS:
        return _open_tiff(file)
    if start.startswith(PNG_START):  # Pillow unpacks each colour profile, be there thousands
        return _open_or_clean(file, tags.clean_png, occurrences(file, b"iCCP") > 1)[0], None
    if HAS_HEIF and start[4:8] == b"ftyp":
        return PIL.Image.open(file, formats=(*FORMATS, *_register_heif())), None
    return PIL.Image.open(file, formats=FORMATS), None


def _open_jpeg(file: BinaryIO) -> PIL.Image.Image:
    data = file.read(HEADER_BYTES)
    header = tags.read_jpeg_header(data)
    if data[header.end : header.end + 2] != tags.SCAN:  # its header is longer
        data += file.read()
        header = tags.read_jpeg_header(data)
    is_long = len(header.exif) > EXIF_BYTES or header.end > JPEG_HEADER_BYTES
    is_overloaded = is_long or tags.is_overloaded(header.exif)
    image, is_cleaned = _open_or_clean(file, tags.clean_jpeg, is_overloaded)
    if is_cleaned:
        image.info |= {EXIF: header.exif, "xmp": header.xmp}
    return image


def _open_tiff(file: BinaryIO) -> tuple[PIL.Image.Image, int | None]:
    with _mapped(file) as data:
        known, is_overloaded = tags.orientation(data), tags.is_overloaded(data)
    image, _ = _open_or_clean(file, tags.clean_tiff, is_overloaded)
    # Pillow would turn it, and look at its other folders; see ``upright``.
    vars(image)["load_end"] = lambda: None
    return image, known


def _open_or_clean(
    file: BinaryIO, clean: Callable[[bytes], bytes], is_overloaded: bool
) -> tuple[PIL.Image.Image, bool]:
    """Opens a file, or where that fails what ``clean`` makes of it, and whether it was cleaned."""
    failure = None
    if not is_overloaded:
        try:
            return PIL.Image.open(file, formats=FORMATS), False
        except Exception as error:  # of any kind
            failure = error
    file.seek(0)
    try:
        return PIL.Image.open(io.BytesIO(clean(file.read())), formats=FORMATS), True
    except Exception as error:
        raise failure or error from None


@contextlib.contextmanager
def _mapped(file: BinaryIO) -> Iterator[bytes | mmap.mmap]:
    """The bytes of a file, which may be long, without reading all of them."""
    if isinstance(file, io.BytesIO):
        yield file.getvalue()
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


@functools.cache
def _register_heif() -> tuple[str, ...]:
    import pillow_heif  # an extra

    pillow_heif.register_heif_opener()
    return ("HEIF",)


def upright(image: PIL.Image.Image, known: int | None = None) -> PIL.Image.Image:
    """Turns and mirrors an image as its EXIF or XMP orientation says.

    Pillow's ``exif_transpose`` also writes the EXIF again, and raises for tags that cannot be
    written; here the orientation alone is read, and damaged metadata are passed over.

    Args:
        known: the orientation, where :func:`open_image` has found it.
    """
    if image.format in ("PNG", "TIFF"):
        _load(image)  # a PNG's EXIF may stand behind the pixels; a TIFF may be turned by Pillow
    turn = TURNS.get(known or orientation(image))
    if turn is not None:
        return image.transpose(turn)
    if image.format == "TIFF" and image.size != image.im.size:  # Pillow expected a turn
        return image.transpose(Turn.ROTATE_180).transpose(Turn.ROTATE_180)
    return image


def orientation(image: PIL.Image.Image) -> int:
    """The orientation in the metadata of an image, 1 to 8; 1 where they hold none."""
    exif, found = image.info.get(EXIF), None
    if isinstance(exif, bytes):
        found = tags.orientation(exif)
    elif isinstance(text := image.info.get("Raw profile type exif"), str):  # of ImageMagick
        with contextlib.suppress(ValueError):
            found = tags.orientation(bytes.fromhex("".join(text.split("\n")[3:])))
    elif exif is None:  # set by hand, or left by Pillow in a TIFF that it did not turn
        with contextlib.suppress(Exception):
            found = int(image.getexif()[tags.ORIENTATION])
    xmp = next((image.info[key] for key in XMP if image.info.get(key)), b"")
    if found is None and isinstance(xmp, str | bytes):
        text = xmp.encode("utf-8", "replace") if isinstance(xmp, str) else xmp
        if match := tags.XMP_ORIENTATION.search(text):
            found = int(match[1])
    return found or 1


def _load(image: PIL.Image.Image) -> None:
    """Decodes; what Pillow makes of metadata behind the pixels cannot spoil the pixels."""
    if not isinstance(image, PIL.ImageFile.ImageFile) or "load_end" in vars(image):
        image.load()
        return
    pillows = image.load_end

    def load_end() -> None:
        with contextlib.suppress(Exception):
            pillows()

    vars(image)["load_end"] = load_end
    try:
        image.load()
    finally:
        del vars(image)["load_end"]  # a circle, which would keep the pixels in memory
