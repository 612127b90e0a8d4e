"""What an image file is, by its name, in every source: one list of endings and one rule."""

from __future__ import annotations

import collections
import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path

import PIL.features

JPEG = (".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo")
OTHERS = (".png", ".apng", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm")
HEIF = (".heic", ".heif", ".hif", ".heics", ".heifs")
AVIF = (".avif", ".avifs")
HAS_HEIF = importlib.util.find_spec("pillow_heif") is not None  # the extra "heif"
HAS_AVIF = bool(PIL.features.check("avif"))
SUFFIXES = (*JPEG, *OTHERS, *(AVIF if HAS_AVIF else ()), *(HEIF if HAS_HEIF else ()))
# Pillow's decoders of these alone are tried: those of other formats start programs (EPS starts
# Ghostscript) or are hardly ever looked after. "HEIF" is added once its decoder is loaded.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", *(("AVIF",) if HAS_AVIF else ()))
# Pictures that are not read: they are counted, and the message has what to do.
CONVERT = "convert them to JPEG or PNG"
_MORE = ".jp2 .j2k .jpx .jxl .jxr .wdp .bpg .psd .xcf .svg .ico .tga .pcx .dib .eps .exr .hdr .dcm"
_RAW = ".raw .dng .cr2 .cr3 .crw .nef .nrw .arw .orf .rw2 .raf .pef .srw"
UNREAD = dict.fromkeys(f"{_MORE} {_RAW}".split(), CONVERT)
UNREAD |= dict.fromkeys(HEIF, "pip install dpl_jax[heif]")
UNREAD |= dict.fromkeys(AVIF, "pip install --upgrade pillow")
UNREAD = {ending: advice for ending, advice in UNREAD.items() if ending not in SUFFIXES}
# What macOS puts into archives, and NAS, Windows, Linux and Python onto disks; in any case.
SYSTEM_FOLDERS = {"__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "lost+found"}
SYSTEM_FOLDERS |= {"system volume information", "#snapshot", "@tmp", "__pycache__"}
SYSTEM_FOLDERS |= {"network trash folder", "temporary items", "@recently-snapshot"}
SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "icon"}
UNFINISHED = (".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".swp", "~")
# Copies that Syncthing, Dropbox and Nextcloud leave: a second image of the same.
CONFLICTS = (".sync-conflict-", "conflicted copy")
SHOWN = 5  # so many endings are named in a message


def is_image(name: str) -> bool:
    """Whether a file of this name counts as an image: its ending says so, and no system made it."""
    return name.lower().endswith(SUFFIXES) and not is_system_file(name)


def is_system_file(name: str) -> bool:
    """Whether systems and tools leave a file of this name: hidden, unfinished, a copy."""
    lower = name.lower()
    return (
        lower.startswith((".", "~$"))
        or lower in SYSTEM_FILES
        or lower.endswith(UNFINISHED)
        or any(mark in lower for mark in CONFLICTS)
    )


def is_system_folder(name: str) -> bool:
    """Whether systems and tools make a folder of this name, or it is hidden."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def is_system_path(path: str) -> bool:
    """Whether a path with slashes leads through such a folder, or to such a file."""
    *folders, name = path.split("/")
    return is_system_file(name) or any(map(is_system_folder, filter(None, folders)))


def unread_endings(names: Iterable[str]) -> collections.Counter[str]:
    """Counts files that are pictures of kinds that are not read, by their ending."""
    endings = (os.path.splitext(name)[1].lower() for name in names if not is_system_file(name))
    return collections.Counter(ending for ending in endings if ending in UNREAD)


def images_below(folder: Path) -> int:
    """Counts images, and pictures that are not read, at any depth in a folder; follows no links."""
    count = 0
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_system_folder(name)]
        count += sum(map(is_image, names)) + unread_endings(names).total()
    return count


def in_words(where: str, endings: collections.Counter[str], below: int = 0) -> str:
    """One sentence on the files that were passed over; "" for none.

    Args:
        where: the folder that they are in.
        endings: of :func:`unread_endings`.
        below: how many are in subfolders of class folders.
    """
    parts = [f"{count} {end} ({UNREAD[end]})" for end, count in endings.most_common(SHOWN)]
    if rest := sum(count for _, count in endings.most_common()[SHOWN:]):
        parts.append(f"{rest} of other kinds")
    if below:
        parts.append(f"{below} in subfolders of class folders (move them up into the class folder)")
    total = endings.total() + below
    verb = "file was" if total == 1 else "files were"
    return f"{where}: {total} {verb} passed over: {', '.join(parts)}." if total else ""
