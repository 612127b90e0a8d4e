"""The files of a stored checkpoint, checked before Orbax and TensorStore open any of them.

Orbax reads its own JSON without limits. So the folder may hold known files alone, none of them a
link; what Orbax notes of the checkpoint and of its tree is read here first, and held against the
manifest, which has a checksum.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorstore as ts

from dpl_jax.files import limits
from dpl_jax.files.json import parse_json
from dpl_jax.files.regular import read_bytes
from dpl_jax.runs.manifest import block_bytes, check_manifest

# The folder, within a checkpoint, of its arrays.
STATE = "state"
ABOUT, TREE = "_CHECKPOINT_METADATA", f"{STATE}/_METADATA"
STORE = r"(manifest\.ocdbt|d|d/[0-9a-f]{1,64})"
KNOWN = re.compile(
    rf"{ABOUT}|{TREE}|{STATE}|({STATE}/)?commit_success\.txt"
    rf"|{STATE}/{STORE}|{STATE}/ocdbt\.process_\d+(/{STORE})?"
)
# Of network file systems and desktops; nothing reads them, as it would .zarray.
HIDDEN = (".nfs", ".DS_Store", "._", ".fuse_hidden")
SMALL = ("commit_success.txt", "manifest.ocdbt")


def check_files(path: Path) -> None:
    """Raises ValueError for a file that no checkpoint has, a link, or a note that is too large."""
    for folder, inside, files in os.walk(path):
        for name in (*inside, *files):
            if name.startswith(HIDDEN):
                continue
            file = Path(folder, name)
            place, about = file.relative_to(path).as_posix(), file.lstat()
            if not KNOWN.fullmatch(place):
                raise ValueError(f"it holds {place!r:.100}, which no checkpoint of dpl_jax has")
            if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
                raise ValueError(f"{place} is a link, or not a regular file")
            if name in SMALL and about.st_size > limits.CHECKPOINT_NOTE_BYTES:
                raise ValueError(f"{place} is larger than {limits.CHECKPOINT_NOTE_BYTES} bytes")


def read_manifest(path: Path, step: int) -> dict[str, Any]:
    """The manifest in what Orbax notes of a checkpoint, which may hold little else.

    Raises:
      OSError, ValueError: when it is missing, damaged, or padded.
    """
    contents = read_bytes(path / ABOUT, limits.CHECKPOINT_JSON_BYTES)
    about = parse_json(contents)
    custom = about.get("custom_metadata") if isinstance(about, dict) else None
    manifest = check_manifest(custom.get("dpl_jax") if isinstance(custom, dict) else None, step)
    if len(contents) > manifest_bytes(manifest) + limits.CHECKPOINT_NOTE_BYTES:
        raise ValueError(f"{ABOUT} holds more than the manifest")
    return manifest


def check_tree(path: Path, manifest: Mapping[str, Any]) -> None:
    """Raises ValueError (or OSError) unless Orbax notes the manifest's arrays, and little else."""
    places = [
        name.split("/") for name, leaf in manifest["leaves"].items() if 0 not in leaf["shape"]
    ]
    # A key takes its name three times and 60 bytes, an array some 150.
    needed = sum(500 + sum(100 + 10 * len(key) for key in keys) for keys in places)
    tree = parse_json(read_bytes(path / TREE, limits.CHECKPOINT_NOTE_BYTES + needed))
    found = tree.get("tree_metadata") if isinstance(tree, dict) else None
    if not isinstance(found, dict) or set(found) != {str(tuple(keys)) for keys in places}:
        raise ValueError(f"{TREE} tells of other arrays than the manifest")


def check_store(path: Path) -> int:
    """Reads the stored bytes one after the other, and returns how many there are.

    Orbax reads in parallel, and leaves the reads that run when one fails to end in stray errors.

    Raises:
      ValueError: when anything cannot be read, or a block of numbers claims to be larger than all.
    """
    files = {"driver": "file", "path": f"{path / STATE}/"}
    store = ts.KvStore.open({"driver": "ocdbt", "base": files}).result()
    keys = store.list().result()
    if not keys:
        raise ValueError("its arrays are missing")
    stored, largest = 0, 0
    for key in keys:
        value = store.read(key).result().value
        stored += len(value)
        if key.endswith(b"zarr.json"):
            if len(value) > limits.CHECKPOINT_NOTE_BYTES:
                raise ValueError(f"the description of an array takes {len(value)} bytes")
            largest = max(largest, block_bytes(parse_json(value)))
    if largest > stored + limits.CHECKPOINT_ZEROS_BYTES:
        raise ValueError(f"a block of {largest >> 20} MiB is claimed, and {stored} bytes are there")
    return stored


def manifest_bytes(manifest: Mapping[str, Any]) -> int:
    """Bytes that a manifest takes in the file."""
    return len(json.dumps(manifest).encode())
