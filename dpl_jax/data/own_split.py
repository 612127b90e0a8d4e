"""The split that a run was started with: its images for ever, whatever its folder holds later."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from dpl_jax.data.folder_layout import listed
from dpl_jax.data.load import load_dataset
from dpl_jax.data.split import Dataset, Item, file_lists, list_hash
from dpl_jax.errors import DataError, DataNotFoundError, RunFolderError
from dpl_jax.files import limits
from dpl_jax.files.json import read_json, write_text
from dpl_jax.files.regular import read_bytes

SAMPLED, SPLIT = "sampled.json", "split.json"
# What tells where images are from; two configs that agree in it read the same images.
SOURCE = ("name", "root", "source", "tfds_dir", "split_file", "labels")
HASHED = 20_000  # so many sampled images are remembered by their content
LOG = logging.getLogger(__name__)


class Content(NamedTuple):
    """What tells an encoded image from others: its size in bytes, and their SHA-256."""

    size: int
    sha256: str


def save_lists(folder: Path, full: Dataset, sampled: Dataset) -> None:
    """Records in a run's folder which images it uses.

    Writes ``sampled.json``: the origin of the split, the sampled train and val lists with the
    content of their images, and the hash of all three lists. The split of a folder of one's own,
    or one that was built here, is also written whole, to ``split.json``, in the layout of CoOp's
    split files: the run keeps to it, and put beside the images it fixes the split for good.
    """
    lists = file_lists(sampled)
    record = {
        "dataset": sampled.name,
        "split": sampled.split,
        "classnames": list(sampled.classnames),
        "sha256": _hashes(sampled),
        "train": lists["train"],
        "val": lists["val"],
        "contents": {"train": _contents(sampled.train), "val": _contents(sampled.val)},
        "test_images": len(sampled.test),
    }
    if full.split_built or full.name == "folder":  # first, as the other says that both are there
        write_text(Path(folder) / SPLIT, json.dumps(file_lists(full)))
    write_text(Path(folder) / SAMPLED, json.dumps(record))


def run_dataset(run: Path, data: ConfigDict, *, mend: bool = False) -> Dataset:
    """The whole dataset of a run, in the run's own split; new images are counted, and left out.

    Args:
        run: a folder in which :func:`save_lists` has written.
        data: the run's ``config.data``; its root may be another place of the same images.
        mend: goes on without a ``sampled.json`` that is damaged: a run that goes on writes it anew.

    Raises:
        RunFolderError: when the run's lists are missing or damaged, or the images that it was
            trained with are others now.
        DataError: as :func:`dpl_jax.data.load.load_dataset`.
    """
    own = run / SPLIT
    full = load_dataset(data, own if own.is_file() else None)
    try:
        record = read_record(run)
    except RunFolderError:
        if not mend:
            raise
        LOG.warning("%s is damaged; the images are listed without it.", run / SAMPLED)
        return full
    full = dataclasses.replace(full, split=record.get("split", full.split))
    _check_contents(run, record, full, data)
    if own.is_file():
        _count_new(full, data)
    return full


def check_test(run: Path, task: Dataset) -> None:
    """Checks the list of test images against that which the run was started with.

    Raises:
        RunFolderError: they are others.
    """
    record = read_record(run)
    if list_hash(task.test) != record["sha256"]["test"]:
        raise RunFolderError(
            f"The test images of {task.name} are not those that {run} was started with: "
            f"{record.get('test_images')} then, {len(task.test)} now, or of other names or labels. "
            "Bring back the images and lists of then, or measure on these with --config=FILE."
        )


def has_lists(run: Path) -> bool:
    """Whether a folder holds the lists of a run."""
    return (run / SAMPLED).is_file() and (run / "config.json").is_file()


def read_record(run: Path) -> dict[str, Any]:
    """The contents of a run's ``sampled.json``.

    Raises:
        RunFolderError: when it is missing or damaged.
    """
    path = run / SAMPLED
    try:
        record = read_json(path)
        rows = [*record["train"], *record["val"]]
        if not all(isinstance(row[0], str) and isinstance(row[2], str) for row in rows):
            raise ValueError("its lists do not name images")
        contents = [*record["contents"]["train"], *record["contents"]["val"]]
        if not all(isinstance(size, int) and isinstance(digest, str) for size, digest in contents):
            raise ValueError("its contents are not sizes and hashes")
        if not isinstance(record["sha256"]["test"], str):
            raise ValueError("it has no hash of the test images")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise RunFolderError(
            f"{path} does not tell which images the run uses ({error!r:.200}). It is written when "
            "a run starts; start it again in a new folder."
        ) from error
    return dict(record)


def same_source(ours: ConfigDict, other: ConfigDict) -> bool:
    """Whether two ``config.data`` read the same images, whatever they sample of them."""
    return all(ours.get(name, "") == other.get(name, "") for name in SOURCE)


def present(items: Sequence[Item], run: Path, *, skip: bool) -> Sequence[Item]:
    """The images whose files are still there.

    Args:
        items: of the run's split.
        run: for the message.
        skip: leaves vanished images out, with a warning, in place of the error.

    Raises:
        DataNotFoundError: naming images that have vanished.
    """
    gone = [item for item in items if isinstance(item.image, Path) and not item.image.is_file()]
    if not gone:
        return items
    said = f"{len(gone)} of the {len(items)} images of {run} are gone: {_named(gone)}"
    if not skip or len(gone) == len(items):
        raise DataNotFoundError(
            f"{said}. Put them back; or say where they are now with --config.data.root=DIR, or "
            "leave them out with --config.data.skip_unreadable=true."
        )
    LOG.warning("%s. They are left out, so that this is not the whole of its split.", said)
    lost = {item.name for item in gone}
    return [item for item in items if item.name not in lost]


def training_images(items: Iterable[Item], run: Path) -> list[Item]:
    """Those of some images that the run was trained on, or chose its lengths by, by content."""
    contents = read_record(run)["contents"]
    known = {Content(*each) for each in (*contents["train"], *contents["val"])}
    sizes = {content.size for content in known}
    return [item for item in items if _size(item) in sizes and _content(item) in known]


def _hashes(dataset: Dataset) -> dict[str, str]:
    return {split: list_hash(getattr(dataset, split)) for split in ("train", "val", "test")}


def _check_contents(run: Path, record: dict[str, Any], full: Dataset, data: ConfigDict) -> None:
    """Checks the sampled files against what they were when the run was started.

    Raises:
        RunFolderError: one is another image now, or all are gone: this is another folder.
    """
    items = {item.name: item for item in (*full.train, *full.val)}
    gone: list[Item] = []
    pairs = 0
    for split in ("train", "val"):
        for row, content in zip(record[split], record["contents"][split], strict=False):
            pairs += 1
            item = items.get(row[0])
            found = None if item is None else _content(item)
            if item is None:
                raise RunFolderError(
                    f"{data.root or data.name} has no image {row[0]!r:.200}, with which {run} was "
                    f"trained. It used the images that were in {_root(run)}; say where they are "
                    "now with --config.data.root=DIR."
                )
            if found is None:
                gone.append(item)
            elif content[0] >= 0 and found != Content(*content):
                raise RunFolderError(
                    f"{item.image} is not the image that {run} was trained with: its content "
                    f"differs. The run used the images that were in {_root(run)}; where those are "
                    f"now is said with --config.data.root=DIR (now {data.root})."
                )
    if pairs and len(gone) == pairs:
        raise RunFolderError(
            f"{data.root} does not hold the images of {run}: none of the {pairs} that it was "
            f"trained with is there, such as {gone[0].name}. They were in {_root(run)}; say where "
            "they are now with --config.data.root=DIR."
        )
    if gone:
        LOG.warning("%d training images of %s are gone: %s.", len(gone), run, _named(gone))


def _root(run: Path) -> str:
    """The folder of images that a run was started with."""
    try:
        return str(read_json(run / "config.json")["config"]["data"]["root"])
    except (OSError, ValueError, KeyError, TypeError):
        return "another folder"


def _count_new(full: Dataset, data: ConfigDict) -> None:
    """Says in one line how many images the folder has that are not the run's."""
    try:
        now = load_dataset(data)
    except DataError:  # the folder has changed in a way that no new run could start from
        return
    known = {item.name for item in (*full.train, *full.val, *full.test)}
    count = sum(item.name not in known for item in (*now.train, *now.val, *now.test))
    if count:
        LOG.warning("%d new images are not part of this run.", count)


def _contents(items: Sequence[Item]) -> list[Content]:
    """Of the images that can be read; [] for more than ``HASHED``, or where one cannot."""
    found = [_content(item) for item in items] if len(items) <= HASHED else []
    return [content or Content(-1, "") for content in found]


def _content(item: Item) -> Content | None:
    """None for a file that is not there or cannot be read."""
    try:
        if isinstance(item.image, np.ndarray):
            encoded = item.image.tobytes()
        elif isinstance(item.image, Path):
            encoded = read_bytes(item.image, limits.IMAGE_BYTES)
        else:
            encoded = item.image.read()
    except (OSError, ValueError):
        return None
    return Content(len(encoded), hashlib.sha256(encoded).hexdigest())


def _size(item: Item) -> int:
    """Bytes of an encoded image, without reading it; -1 where that is not known."""
    if isinstance(item.image, np.ndarray):
        return item.image.nbytes
    try:
        return item.image.stat().st_size if isinstance(item.image, Path) else -1
    except OSError:
        return -1


def _named(items: Sequence[Item]) -> str:
    return listed([item.name for item in items], ending="")
