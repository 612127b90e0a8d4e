"""What the folders in a root of one's own are: splits, classes, or a wrapping around them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from dpl_jax.data.coop.build_split import image_names, visible
from dpl_jax.data.image_files import SUFFIXES, Unread, unread_in
from dpl_jax.errors import DataError, DataNotFoundError

# In any case: "Train" and "TEST" too.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
PURPOSES = {"train": "training images", "val": "validation images", "test": "test images"}
WRAPPINGS = 4  # so many folders with nothing but one folder in them are looked into
SHOWN = 5  # so many folders are named in a message
LIST_HELP = "or list every image with its class in a CSV file: --config.data.labels=FILE"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a root is read.

    Attributes:
        prefix: where its class or split folders lie: "" for the root itself, else "dataset/".
        splits: {"train": folder, ..}; empty when the folders are classes.
        classes: the class folders; empty when there are splits.
        notes: what may surprise, a sentence each.
    """

    prefix: str
    splits: Mapping[str, str]
    classes: tuple[str, ...]
    notes: tuple[str, ...]

    def in_words(self) -> str:
        """What was taken for what."""
        if not self.splits:
            return f"class folders in {self.prefix}" if self.prefix else "class folders"
        said = ", ".join(
            f"{self.prefix}{folder}/ -> {PURPOSES[split]}" for split, folder in self.splits.items()
        )
        held = "; no validation folder: held out of the few-shot sample"
        return said if "val" in self.splits else said + held


@dataclasses.dataclass(frozen=True)
class _Contents:
    """What a folder named like a split holds.

    Attributes:
        images: whether it holds images that are in no class folder.
        folders: what counts as its class folders.
        prefix: where they lie in it, as in :class:`Layout`.
    """

    images: bool
    folders: tuple[str, ...]
    prefix: str


def split_name(word: str) -> str | None:
    """Returns "train", "val" or "test" for a word that means it, in any case; None for others."""
    known = (split for split, words in SPLIT_NAMES.items() if word.strip().casefold() in words)
    return next(known, None)


def find_layout(root: Path) -> Layout:
    """Decides what the folders of a root are, by their names and by what they hold.

    A folder named like a split is one if it holds class folders; a class called "train", beside
    other classes, holds images itself.

    Raises:
        DataNotFoundError: no class folders, or no training or test images.
        DataError: folders that could be either; the message says how to make it clear.
    """
    base, prefix = _unwrap(root, stop_at_splits=True)
    folders = visible(base, folders=True)
    named = {folder: _contents(base / folder) for folder in folders if split_name(folder)}
    classes = [f for f in folders if f not in named and has_images(base / f)]
    if any(contents.folders for contents in named.values()):
        return _given_splits(base, prefix, named, classes)
    return _class_folders(base, prefix, folders, named, classes)


def has_images(folder: Path) -> bool:
    """Whether a folder holds an image itself."""
    return bool(image_names(folder))


def unread(folder: Path) -> Unread:
    """What a class folder holds besides the images that are read."""
    below = (folder / name for name in visible(folder, folders=True))
    return unread_in(
        visible(folder, folders=False), [path for path in below if not path.is_symlink()]
    )


def listed(names: Sequence[str], ending: str = "/") -> str:
    """Some of the names for a message: "a/, b/ and 3 more"."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"{name}{ending}" for name in names[:SHOWN]) + more


def _unwrap(root: Path, *, stop_at_splits: bool) -> tuple[Path, str]:
    """Goes into folders that hold nothing but one folder, as unpacked archives do."""
    base, prefix = root, ""
    for _ in range(WRAPPINGS):
        folders = visible(base, folders=True)
        if len(folders) != 1 or has_images(base) or (stop_at_splits and split_name(folders[0])):
            break
        inner = base / folders[0]
        if has_images(inner) or not visible(inner, folders=True):
            break
        base, prefix = inner, f"{prefix}{folders[0]}/"
    return base, prefix


def _contents(folder: Path) -> _Contents:
    """Looks into a folder named like a split, and into a wrapping: "train/train/cat"."""
    inner, prefix = _unwrap(folder, stop_at_splits=False)
    images, folders = has_images(inner), visible(inner, folders=True)
    if images:  # a folder beside them counts only if it holds images too
        folders = [name for name in folders if has_images(inner / name)]
    elif len(folders) == 1 and split_name(folders[0]):  # "train/train/1.jpg"
        images, folders = has_images(inner / folders[0]), []
    return _Contents(images, tuple(folders), prefix)


def _given_splits(
    base: Path, prefix: str, named: Mapping[str, _Contents], classes: Sequence[str]
) -> Layout:
    """The layout of a root with folders of splits.

    Raises:
        DataError: two folders for one split, or no training or test images.
    """
    splits: dict[str, str] = {}
    for folder in (name for name, contents in named.items() if contents.folders):
        split = str(split_name(folder))
        if split in splits:
            raise DataError(
                f"{base / splits[split]} and {base / folder} could both be the {PURPOSES[split]}; "
                "put their class folders into one, or move the other away."
            )
        splits[split] = f"{folder}/{named[folder].prefix}".rstrip("/")
    flat = [name for name, contents in named.items() if contents.images and not contents.folders]
    if "train" not in splits:
        raise DataNotFoundError(_no_train(base, list(splits.values()), flat, classes))
    if len(splits) == 1:
        raise DataNotFoundError(_no_test(base, splits["train"], named, classes))
    notes = _passed_over(base, named, splits, classes)
    if "test" not in splits:
        folder = splits["test"] = splits.pop("val")
        notes = [f"{base} has no test folder: the images of {folder} are the test set.", *notes]
    ordered = {split: splits[split] for split in SPLIT_NAMES if split in splits}
    return Layout(prefix, ordered, (), tuple(notes))


def _passed_over(
    base: Path,
    named: Mapping[str, _Contents],
    splits: Mapping[str, str],
    classes: Sequence[str],
) -> list[str]:
    """What lies beside or in the folders of the splits and is not read."""
    notes = _without_class(
        base, *(base / name for name, contents in named.items() if contents.images)
    )
    if classes:
        used = listed(list(splits.values()))
        notes.append(f"{listed(classes)} beside {used} in {base}: their images are left out.")
    return notes


def _without_class(base: Path, *folders: Path) -> list[str]:
    """Notes on images that lie directly in these folders or in the base."""
    return [
        f"The images directly in {folder} are not in class folders, so they have no labels: "
        "they are left out. dpl-predict classifies such images."
        for folder in ([base] if has_images(base) else []) + list(folders)
    ]


def _no_train(base: Path, given: Sequence[str], flat: Sequence[str], classes: Sequence[str]) -> str:
    train = next((name for name in flat if split_name(name) == "train"), "train")
    found = f"{base} has a {given[0]} folder but no train folder"
    if train in flat:
        found += f" with class folders: the images in {base / train} have no labels"
    move = "Put the training images into"
    if classes:
        move = f"Are {listed(classes)} the classes of the training images? Then move them into"
    return f"{found}. {move} {base / train / '<class>'}/, {LIST_HELP}."


def _no_test(base: Path, train: str, named: Mapping[str, _Contents], classes: Sequence[str]) -> str:
    found = f"{base} has a {train} folder but no test folder (or val folder)"
    other = next((name for name in named if split_name(name) != "train"), "")
    if other:
        why = "images without labels" if named[other].images else "nothing"
        found += f" with class folders: {base / other} holds {why}"
    if classes:
        return (
            f"{found}, and images are in {listed(classes)} beside it. If those are classes, and "
            f"{train} is one too, put its images directly into {base / train}; otherwise move "
            f"them away, and sort test images into {base / 'test' / '<class>'}/."
        )
    return (
        f"{found}. Sort test images into {base / 'test' / '<class>'}/, or have the images of "
        f"{train} split here, 50/20/30: --config.data.root={base / train}"
    )


def _class_folders(
    base: Path,
    prefix: str,
    folders: Sequence[str],
    named: Mapping[str, _Contents],
    classes: Sequence[str],
) -> Layout:
    """The layout of a root whose folders are classes.

    Raises:
        DataError: they are not, or some of them could be splits.
    """
    flat = [name for name, contents in named.items() if contents.images]
    kinds = {split_name(name) for name in flat}
    if flat and not classes:
        name = next((name for name in flat if split_name(name) == "train"), flat[0])
        raise DataError(
            f"{base / name} has images in no class folder: it is not known what they show. Sort "
            f"them into class folders, {base / name / '<class>'}/, {LIST_HELP}."
        )
    if "test" in kinds or {"train", "val"} <= kinds:
        raise DataError(_class_or_split(base, flat, classes, kinds))
    if not classes:
        raise DataNotFoundError(_no_classes(base, folders))
    if len(folders) == 1:
        raise DataError(_single(base, folders[0]))
    notes = [
        f"{base / name} is taken for a class of that name: it holds images directly, as "
        f"{listed(classes)} beside it do."
        for name in flat
    ]
    return Layout(prefix, {}, tuple(folders), (*notes, *_without_class(base)))


def _class_or_split(
    base: Path, flat: Sequence[str], classes: Sequence[str], kinds: set[str | None]
) -> str:
    found = f"{base} has a {flat[0]} folder"
    if "train" not in kinds:
        found += " but no train folder"
    new = f'{{"{flat[0]}_photos": "{flat[0]}"}}'
    return (
        f"{found}: {listed(flat)} with images directly in it, beside the class folders "
        f"{listed(classes)}, may be a class or images without labels. If it is a class, rename "
        f"the folder and give its name in {base / 'classnames.json'}, such as {new}. If not, move "
        f"it away (dpl-predict classifies such images) or sort its images into class folders, "
        f"{base}/{{train,test}}/<class>/."
    )


def _no_classes(base: Path, folders: Sequence[str]) -> str:
    if has_images(base):
        return (
            f"{base} has images in no class folder: it is not known what they show. Sort them "
            f"into {base / '<class>'}/, {LIST_HELP}."
        )
    deeper = [f"{f}/{sub}" for f in folders for sub in visible(base / f, folders=True)]
    deeper = [name for name in deeper if has_images(base / name)]
    if deeper:
        above = {name.partition("/")[0] for name in deeper}
        out = f"Move them up to {base / '<class>'}/"
        if len(above) == 1:
            out = f"Give the folder they are in, --config.data.root={base / above.pop()}"
        return (
            f"The class folders of {base} seem to lie one level too deep: {listed(deeper)} hold "
            f"images, {listed(folders)} themselves do not. {out}, {LIST_HELP}."
        )
    if folders:
        found = unread(base / folders[0]).in_words(base / folders[0])
        return (
            f"The class folder {base / folders[0]} has no images ({', '.join(SUFFIXES)}), nor has "
            f"any other; add some, or give another --config.data.root. {found}".rstrip()
        )
    return (
        f"{base} has no class folders. Sort images into {base / '<class>'}/, or into "
        f"{base}/{{train,val,test}}/<class>/, {LIST_HELP}."
    )


def _single(base: Path, folder: str) -> str:
    inner = [name for name in visible(base / folder, folders=True)]
    inner = [name for name in inner if has_images(base / folder / name)]
    if inner:
        return (
            f"{base} has one class folder, {folder}, with {listed(inner)} in it. If those are "
            f"the classes: --config.data.root={base / folder}"
        )
    return (
        f"{base} has one class folder, {folder}: there is nothing to tell it from. Add a folder "
        f"for each other class, or for all else, such as {base / 'background'}/."
    )
