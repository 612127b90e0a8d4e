"""What an image file is, by its name, in every source: one list of endings and one rule."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
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


@dataclasses.dataclass(frozen=True)
class Unread:
    """Pictures that were passed over.

    Attributes:
        endings: how many have each ending of a kind that is not read.
        below: how many are in subfolders of class folders.
    """

    endings: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    below: int = 0

    def __add__(self, other: Unread) -> Unread:
        """Both together."""
        return Unread(self.endings + other.endings, self.below + other.below)

    @property
    def total(self) -> int:
        """How many there are."""
        return self.endings.total() + self.below

    def in_words(self, folder: Path) -> str:
        """One sentence on them and on what to do; "" for none."""
        ordered = sorted(self.endings.items(), key=lambda pair: (-pair[1], pair[0]))
        parts = [f"{count} {ending} ({UNREAD[ending]})" for ending, count in ordered[:SHOWN]]
        if rest := sum(count for _, count in ordered[SHOWN:]):
            parts.append(f"{rest} of other kinds ({CONVERT})")
        if self.below:
            parts.append(f"{self.below} in subfolders of class folders (move them up to be read)")
        verb = "file was" if self.total == 1 else "files were"
        said = f"{self.total} {verb} passed over in {folder}: {', '.join(parts)}."
        return said if self.total else ""


def unread_in(names: Iterable[str], folders: Iterable[Path] = ()) -> Unread:
    """Counts what is not read among files, and all pictures in folders below; follows no links."""
    endings = (os.path.splitext(name)[1].lower() for name in names if not is_system_file(name))
    counts = collections.Counter(ending for ending in endings if ending in UNREAD)
    return Unread(counts, sum(map(_pictures_below, folders)))


def _pictures_below(folder: Path) -> int:
    count, waiting = 0, [os.fspath(folder)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    waiting += [] if is_system_folder(entry.name) else [entry.path]
                else:
                    count += is_image(entry.name) or bool(unread_in([entry.name]).total)
    return count
