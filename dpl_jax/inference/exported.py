"""What an exported folder holds, read back and checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import unflatten_dict
from safetensors import SafetensorError

from dpl_jax.clip.model import Clip, load_clip
from dpl_jax.data.class_names import first_same, has_same_names, one_text, spoken
from dpl_jax.data.templates import check_template
from dpl_jax.errors import RunFolderError, WeightsError, WeightsNotFoundError
from dpl_jax.files.json import read_json, to_json
from dpl_jax.files.safetensors import open_tensors
from dpl_jax.prompts.checks import check_classnames
from dpl_jax.prompts.learned import Learned, learned_from
from dpl_jax.runs.results import PROVENANCE, check_weights
from dpl_jax.runtime.launchers import command

ABOUT, ARRAYS, RESULTS, CARD, CLIP = (
    "classifier.json",
    "prompts.safetensors",
    "results.json",
    "README.md",
    "clip",
)
FORMAT = 1
FEATURES = "text_features"
# Prompts are some megabytes, and text features of 21,000 classes 65; what is larger is none of it.
MAX_ARRAY_BYTES = 1 << 30


class Exported(NamedTuple):
    """What an exported folder holds; the fields of the same names of a ``Classifier``."""

    clip: Clip
    learned: Learned
    template: str
    classnames: tuple[str, ...]
    texts: tuple[str, ...]
    features: np.ndarray
    results: dict[str, Any]


def is_export(folder: Path) -> bool:
    """Whether a folder was written by :func:`dpl_jax.inference.export.folder.export_folder`."""
    return (folder / ABOUT).is_file()


def read_export(folder: Path, clip_place: str | None = None) -> Exported:
    """Reads what :func:`dpl_jax.inference.export.folder.export_folder` wrote.

    Args:
      folder: that was written.
      clip_place: folder or hub id of its CLIP; None for the one that is named, or included.

    Raises:
      RunFolderError: when one of its files is missing or damaged.
      WeightsError: when its CLIP cannot be found, or is another one.
    """
    try:
        about, results = read_json(folder / ABOUT), read_json(folder / RESULTS)
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']}, and this version reads {FORMAT}")
        same_names = has_same_names(results)
        names = check_classnames(about["classnames"], same_texts=True, same_names=same_names)
        template = check_template(about["template"])
        texts = tuple(about["texts"])
        if len(texts) != len(names) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"its texts are not those of {len(names)} classes")
        if not same_names and (same := first_same(map(spoken, texts))):
            raise ValueError(one_text(names[same[0]], names[same[1]]))
        if missing := sorted(set(PROVENANCE) - set(results)):
            raise ValueError(f"{RESULTS} lacks {missing[0]}")
        stated = about["clip"]
        place, revision = str(stated["path"]), stated["revision"] or None
        dtype, sha256 = stated["dtype"], stated["sha256"]
        arrays = read_arrays(folder / ARRAYS)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise RunFolderError(
            f"{folder} is no exported classifier that can be read ({error}). Export it again: "
            f"{command('export')} RUN OUT"
        ) from error
    if clip_place is not None:
        place, revision = clip_place, None
    elif about.get("clip_included") is True:
        place = str(folder / CLIP)
    elif Path(place).name == place and (folder.parent / place).is_dir():
        place = str(folder.parent / place)
    clip = _load_named_clip(place, dtype, revision)
    check_weights(clip, sha256)
    check_preprocessing(clip, about.get("preprocessing"))
    features = arrays.pop(FEATURES, np.zeros(0))
    if features.shape != (len(names), clip.sizes.projection_dim) or not _are_directions(features):
        raise RunFolderError(
            f"{folder / ARRAYS} has no text features of length one of {len(names)} classes."
        )
    learned = _learned(unflatten_dict(arrays, sep="."), clip, folder)
    return Exported(clip, learned, template, names, texts, features, results)


def _load_named_clip(place: str, dtype: str, revision: str | None) -> Clip:
    try:
        return load_clip(place, dtype, revision)
    except WeightsNotFoundError as error:
        raise WeightsNotFoundError(
            f"{error} An exported classifier names its CLIP, not where it lies: give that with "
            "--clip=FOLDER (from Python, clip=FOLDER), or put the folder beside the classifier's."
        ) from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file.

    Raises:
      FileNotFoundError, ValueError, SafetensorError: when there is none, or it is damaged.
    """
    if path.stat().st_size > MAX_ARRAY_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_ARRAY_BYTES >> 20} MiB")
    with open_tensors(path) as file:
        names = file.keys()
        arrays = {name: np.asarray(file.get_tensor(name)) for name in names}
    for name, array in arrays.items():
        dtype = np.int32 if name.startswith("lengths.") else np.float32
        if array.dtype != dtype or not np.isfinite(array).all():
            raise ValueError(f"{name} in {path.name} is not all finite {np.dtype(dtype)}")
    return arrays


def _learned(params: Mapping[str, Any], clip: Clip, folder: Path) -> Learned:
    """What the arrays hold, on the device.

    Raises:
      RunFolderError: when it does not fit the CLIP.
    """
    kinds = set(params) - {"prompts"}
    try:
        if "prompts" not in params or kinds not in ({"lengths"}, {"alphas"}):
            raise ValueError(f"it holds {', '.join(sorted(params)) or 'nothing'}")
        return learned_from(params, kinds.pop(), clip.sizes)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunFolderError(f"{folder / ARRAYS} holds no prompts of this CLIP: {error}") from error


def check_preprocessing(clip: Clip, stated: Any) -> None:
    """Raises WeightsError unless the CLIP's test transform is the one of the trained classifier."""
    stated = dict(stated) if isinstance(stated, Mapping) else {}
    for name, value in to_json(dataclasses.asdict(clip.preprocessing)).items():
        if stated.get(name) != value:
            raise WeightsError(
                f"The preprocessor_config.json of {clip.source} says {name} {value}, but the "
                f"prompts were trained with {stated.get(name)}. Use the same CLIP and revision."
            )


def _are_directions(features: np.ndarray) -> bool:
    return bool(np.allclose(np.linalg.norm(features, axis=-1), 1, atol=1e-4))
