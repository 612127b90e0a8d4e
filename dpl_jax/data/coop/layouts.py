"""Where each CoOp dataset lies, and which reader lists its images."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from dpl_jax.data.coop import imagenet, readers
from dpl_jax.data.coop.build_split import SPLIT_SEED, Splits, split_class_folders
from dpl_jax.data.coop.split_file import check_inside, read_split
from dpl_jax.data.split import Dataset, build_dataset
from dpl_jax.data.templates import TEMPLATES
from dpl_jax.errors import DataError, DataNotFoundError

HELP = "docs/datasets.md says how to get the dataset and what its folder must look like"


@dataclasses.dataclass(frozen=True)
class Layout:
    """A dataset's folder as CoOp's instructions lay it out.

    Attributes:
        folder: its name inside the data root.
        images: the folder of the images inside that; split files give paths relative to it.
        split_file: CoOp's list of train, val and test images; "" where CoOp has none.
    """

    folder: str
    images: str
    split_file: str = ""


LAYOUTS = {
    "caltech101": Layout("caltech-101", "101_ObjectCategories", "split_zhou_Caltech101.json"),
    "oxford_pets": Layout("oxford_pets", "images", "split_zhou_OxfordPets.json"),
    "stanford_cars": Layout("stanford_cars", ".", "split_zhou_StanfordCars.json"),
    "oxford_flowers": Layout("oxford_flowers", "jpg", "split_zhou_OxfordFlowers.json"),
    "food101": Layout("food-101", "images", "split_zhou_Food101.json"),
    "fgvc_aircraft": Layout("fgvc_aircraft", "images"),
    "sun397": Layout("sun397", "SUN397", "split_zhou_SUN397.json"),
    "dtd": Layout("dtd", "images", "split_zhou_DescribableTextures.json"),
    "eurosat": Layout("eurosat", "2750", "split_zhou_EuroSAT.json"),
    "ucf101": Layout("ucf101", "UCF-101-midframes", "split_zhou_UCF101.json"),
    "imagenet": Layout("imagenet", "images"),
    "imagenetv2": Layout("imagenetv2", "imagenetv2-matched-frequency-format-val"),
    "imagenet_sketch": Layout("imagenet-sketch", "images"),
    "imagenet_a": Layout("imagenet-adversarial", "imagenet-a"),
    "imagenet_r": Layout("imagenet-rendition", "imagenet-r"),
}


def read_coop(name: str, root: str = "", split_file: str = "") -> Dataset:
    """Lists a dataset in CoOp's layout: by its split file, else by the split that CoOp builds.

    Args:
        name: a key of ``LAYOUTS``.
        root: the folder that holds the dataset's folder, or the dataset's folder itself; "" for
            the environment variable DPL_DATA_ROOT, else ``data``.
        split_file: another split file of CoOp's layout to use; "" for the dataset's own.

    Raises:
        DataNotFoundError: the folder, the images or the annotations are not there.
        DataError: a file that does not say what it should.
    """
    layout = LAYOUTS[name]
    folder = locate(layout, root)
    images = folder / layout.images
    if not images.is_dir():
        raise DataNotFoundError(f"{name}: there is no image folder {images}; {HELP}.")
    listed = Path(split_file) if split_file else folder / (layout.split_file or "none")
    if split_file or (layout.split_file and listed.is_file()):
        splits, origin, built = read_split(listed, images), str(listed.name), False
    else:
        splits, origin, built = list_without_split_file(name, folder, images)
        for item in (*splits.train, *splits.val, *splits.test):
            check_inside(f"{folder}: a list of {name}", images, item.name)
    return build_dataset(
        name,
        train=splits.train,
        val=splits.val,
        test=splits.test,
        template=TEMPLATES[name],
        split=origin,
        split_built=built,
        same_names=name.startswith("imagenet"),  # its published list has two classes "missile"
    )


def locate(layout: Layout, root: str) -> Path:
    """Finds the dataset's folder: inside the data root, or the root itself.

    Raises:
        DataNotFoundError: neither is there; the message says where it looked.
    """
    base = Path(os.path.expanduser(root or os.environ.get("DPL_DATA_ROOT") or "data"))
    if (base / layout.folder).is_dir():
        return base / layout.folder
    holds_images = layout.images != "." and (base / layout.images).is_dir()
    if holds_images or (base.name == layout.folder and base.is_dir()):
        return base
    raise DataNotFoundError(
        f"There is no folder {base / layout.folder}. Set --config.data.root (or the environment "
        f"variable DPL_DATA_ROOT) to the folder that holds {layout.folder}/; {HELP}."
    )


def list_without_split_file(name: str, folder: Path, images: Path) -> tuple[Splits, str, bool]:
    """Lists a dataset that has no split file of CoOp's.

    Returns:
        The splits, where they come from in words, and whether chance had a part in them.
    """
    built = f"built here as CoOp does, with the fixed seed {SPLIT_SEED}"
    match name:
        case "caltech101":
            splits = split_class_folders(
                images, ignored=readers.CALTECH_IGNORED, renamed=readers.CALTECH_NAMES
            )
        case "eurosat":
            splits = split_class_folders(images, renamed=readers.EUROSAT_NAMES)
        case "food101" | "dtd":
            splits = split_class_folders(images)
        case "oxford_pets":
            splits = readers.read_pets(folder, images)
        case "stanford_cars":
            splits = readers.read_cars(folder)
        case "oxford_flowers":
            splits = readers.read_flowers(folder, images)
        case "sun397":
            splits = readers.read_sun(folder, images)
        case "ucf101":
            splits = readers.read_ucf(folder, images)
        case "fgvc_aircraft":
            return readers.read_aircraft(folder, images), "images_variant_*.txt", False
        case _ if name.startswith("imagenet"):
            return imagenet.read_imagenet(name, folder, images), "ImageNet's own folders", False
        case _:
            raise DataError(f"{name} is not one of {', '.join(LAYOUTS)}.")
    return splits, built, True
