"""TensorFlow Datasets, prepared as array_record, read without TensorFlow."""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dpl_jax.data.coop import imagenet
from dpl_jax.data.coop.build_split import SPLIT_SEED, Splits, split_classes
from dpl_jax.data.coop.layouts import LAYOUTS, locate
from dpl_jax.data.coop.split_file import read_split
from dpl_jax.data.image_files import is_system_path
from dpl_jax.data.split import Dataset, Item, build_dataset
from dpl_jax.data.templates import TEMPLATES
from dpl_jax.errors import DataError, DataNotFoundError
from dpl_jax.files.json import children, read_json

# What TFDS calls CoOp's datasets; it has neither FGVCAircraft nor UCF101's frames.
TFDS_NAMES = {
    "caltech101": "caltech101",
    "oxford_pets": "oxford_iiit_pet",
    "stanford_cars": "cars196",
    "oxford_flowers": "oxford_flowers102",
    "food101": "food101:2.1.0",  # older versions keep no file names
    "sun397": "sun397/tfds",
    "dtd": "dtd",
    "eurosat": "eurosat/rgb",
    "imagenet": "imagenet2012",
    "imagenetv2": "imagenet_v2/matched-frequency",
    "imagenet_sketch": "imagenet_sketch",
    "imagenet_a": "imagenet_a",
    "imagenet_r": "imagenet_r",
}
DEFAULT_DIR = "~/tensorflow_datasets"
FILE_NAME_FEATURES = ("file_name", "image/file_name", "filename", "id")
MISSING_SHARE = 0.01  # of CoOp's images that TFDS may lack; its SUN397 lacks two of 39700
TFDS = "tensorflow_datasets."
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TfdsRecord:
    """The encoded image of one record.

    Attributes:
        source: TFDS's data source, from the record's number to its features.
        number: the record's place in its split.
        origin: the dataset, version and split, which tell records apart in the cache.
    """

    source: Any = dataclasses.field(repr=False)
    number: int
    origin: str

    def read(self) -> bytes:
        """Returns the bytes of the JPEG or PNG."""
        return bytes(self.source[self.number]["image"])


def read_tfds(name: str, tfds_dir: str = "", root: str = "", split_file: str = "") -> Dataset:
    """Lists a prepared dataset, in CoOp's split where its split file and file names allow it.

    One pass over the records reads their labels and file names (the images stay encoded).

    Args:
        name: as in ``TFDS_NAMES``.
        tfds_dir: TFDS's data_dir; "" for its default.
        root: where CoOp's split file lies, as for ``read_coop``.
        split_file: CoOp's split file itself; "" to look for it in ``root``.

    Raises:
        DataNotFoundError: the dataset is not prepared; the message has the commands that do it.
        DataError: TFDS does not have it, or it is prepared in another format.
    """
    builder = open_prepared(name, tfds_dir)
    records = {split: _list_records(builder, split) for split in builder.info.splits}
    if name.startswith("imagenet"):
        return _imagenet(name, records, root)
    everything = [item for items in records.values() for item in items]
    joined = join_split(everything, _find_split_file(name, root, split_file))
    if joined is not None:
        return _dataset(name, joined, "CoOp's split file, joined with TFDS by file name")
    log.warning(
        "%s: TFDS's own splits and classes are used, not CoOp's: accuracies are not comparable "
        "with published ones.",
        name,
    )
    return _dataset(name, _own_splits(records), "TFDS's own splits")


def open_prepared(name: str, tfds_dir: str) -> Any:
    """Opens the newest prepared version of a dataset; builds nothing.

    Raises:
        DataNotFoundError, DataError: as ``read_tfds``.
    """
    if name not in TFDS_NAMES:
        raise DataError(f"TFDS has no {name}; known there are {', '.join(TFDS_NAMES)}.")
    import tensorflow_datasets as tfds  # slow to import, and only needed here

    base = Path(tfds_dir or DEFAULT_DIR).expanduser()
    folder = TFDS_NAMES[name].partition(":")[0]
    versions = [path.parent for path in (base / folder).glob("*/dataset_info.json")]
    if not versions:
        raise DataNotFoundError(
            f"TFDS's {folder} is not prepared in {base} (data.tfds_dir). Prepare it, in "
            f"an environment of its own because this needs TensorFlow:\n{_commands(name, base)}"
        )
    newest = max(versions, key=lambda path: [int(n) for n in path.name.split(".") if n.isdecimal()])
    _check_features(newest / "features.json")
    builder = tfds.builder_from_directory(newest)
    if builder.info.file_format.value != "array_record":
        raise DataError(
            f"{newest} is stored as {builder.info.file_format.value}, which needs TensorFlow to "
            f"be read. Prepare it as array_record:\n{_commands(name, base)}"
        )
    return builder


def _check_features(path: Path) -> None:
    """Refuses features of other packages than TFDS: it imports whatever module they name.

    Raises:
        DataError: naming the module.
    """
    try:
        level = [read_json(path)]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); prepare the dataset again.") from error
    while level:
        for value in level:
            name = value.get("pythonClassName", TFDS) if isinstance(value, dict) else TFDS
            if not str(name).startswith(TFDS):
                raise DataError(f"{path} names {name!r:.100}, which is no feature of TFDS.")
        level = [child for value in level for child in children(value)]


def join_split(records: Sequence[Item], split: Splits | None) -> Splits | None:
    """Puts TFDS's records in place of the files of CoOp's split.

    Files and records are matched by their path, or by class folder and file name; case and suffix
    are not told apart.

    Returns:
        CoOp's splits, with records for images; None without a split file, or when more than
        ``MISSING_SHARE`` of its images have no record. A warning tells of every missing image.
    """
    if split is None:
        return None
    lookup, missing = _by_key(records), []
    splits = Splits([], [], [])
    for part in ("train", "val", "test"):
        for item in getattr(split, part):
            record = next((lookup[k] for k in _keys(item.name) if lookup.get(k)), None)
            if record is None:
                missing.append(item.name)
            else:
                getattr(splits, part).append(dataclasses.replace(item, image=record.image))
    if missing:
        log.warning(
            "TFDS lacks %d image(s) of CoOp's split file, such as %s.", len(missing), missing[0]
        )
    listed = len(split.train) + len(split.val) + len(split.test)
    return splits if len(missing) <= MISSING_SHARE * listed else None


def _by_key(records: Sequence[Item]) -> dict[str, Item | None]:
    """Returns records by each of their keys; None for a key that several records share."""
    lookup: dict[str, Item | None] = {}
    for item in records:
        keys = _keys(item.name)
        if "/" not in keys[0]:
            keys.append(f"{item.classname.lower()}/{keys[0]}")
        for key in set(keys):
            lookup[key] = None if key in lookup else item
    return lookup


def _keys(name: str) -> list[str]:
    """Returns what an image may be known by: its path, then the last folder and file name.

    Never the file name alone where there is a folder: other folders may have a file of that name.
    """
    parts = name.lower().strip("/").removesuffix(".jpg").split("/")
    return ["/".join(parts), "/".join(parts[-2:])]


def _list_records(builder: Any, split: str) -> list[Item]:
    """Lists a split's records: their label, class name and file name."""
    import tensorflow_datasets as tfds

    source = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    names = builder.info.features["label"].names
    feature = next((f for f in FILE_NAME_FEATURES if f in builder.info.features), None)
    folder = f"cars_{split}/" if builder.info.name == "cars196" else ""  # CoOp's; ids are numbers
    items = []
    for number in range(len(source)):
        record = source[number]
        label = int(record["label"])
        name = folder + _text(record[feature]) if feature else f"{split}/{number:07d}"
        if feature and is_system_path(name):
            continue
        image = TfdsRecord(source, number, f"{builder.info.full_name}/{split}")
        items.append(Item(image, label, names[label], name))
    return items


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _find_split_file(name: str, root: str, split_file: str) -> Splits | None:
    """Reads CoOp's split file if there is one; its paths are only used as names."""
    layout = LAYOUTS[name]
    if split_file:
        return read_split(Path(split_file), Path())
    if not layout.split_file:
        return None
    try:
        path = locate(layout, root) / layout.split_file
    except DataNotFoundError:
        path = Path(layout.split_file)
    if not path.is_file():
        log.warning("There is no CoOp split file %s (data.root, data.split_file).", path)
        return None
    return read_split(path, Path())


def _own_splits(records: dict[str, list[Item]]) -> Splits:
    """Uses TFDS's splits; a dataset with train alone is split 50/20/30, with a fixed seed."""
    if "test" in records or "validation" in records:
        test = "test" if "test" in records else "validation"
        val = records.get("validation", []) if test == "test" else []
        return Splits(records.get("train", []), val, records[test])
    classes: dict[int, list[Item]] = {}
    for item in (item for items in records.values() for item in items):
        classes.setdefault(item.label, []).append(item)
    return split_classes([classes[k] for k in sorted(classes)], random.Random(SPLIT_SEED))


def _imagenet(name: str, records: dict[str, list[Item]], root: str) -> Dataset:
    """Gives ImageNet's records CLIP's class names, from ``classnames.txt``; splits are TFDS's."""
    names = imagenet.read_classnames(locate(LAYOUTS[name], root))
    places = dict(zip(names, imagenet.class_indices(names, names), strict=True))
    renamed = {
        split: [_rename(item, places, names) for item in items] for split, items in records.items()
    }
    return _dataset(name, _own_splits(renamed), "TFDS's own splits, which are ImageNet's")


def _rename(item: Item, places: dict[str, int], names: dict[str, str]) -> Item:
    if item.classname not in names:
        raise DataError(f"TFDS's class {item.classname!r} is not in {imagenet.CLASSNAMES_FILE}.")
    return dataclasses.replace(item, label=places[item.classname], classname=names[item.classname])


def _dataset(name: str, splits: Splits, origin: str) -> Dataset:
    return build_dataset(
        name,
        train=splits.train,
        val=splits.val,
        test=splits.test,
        template=TEMPLATES[name],
        split=origin,
        same_names=name.startswith("imagenet"),
    )


def _commands(name: str, base: Path) -> str:
    return (
        "    pip install tensorflow tensorflow-datasets\n"
        f"    tfds build {TFDS_NAMES[name]} --data_dir={base} --file_format=array_record"
    )
