"""A trained run as a small folder that stands alone, and back.

    OUT/classifier.json  prompts.safetensors  results.json  README.md
    and if asked for: clip/  program.bin  program.npz  model.onnx

The frozen CLIP is named by its id, revision and the hash of its weights; it is not copied unless
asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError
from safetensors.numpy import save

from dpl_jax.clip.model import FILES, Clip, load_clip
from dpl_jax.data.class_names import first_same, has_same_names, one_text, spoken
from dpl_jax.data.templates import check_template
from dpl_jax.errors import RunFolderError, WeightsError, WeightsNotFoundError
from dpl_jax.files.json import read_json, sync_folder, to_json, write_file, write_json, write_text
from dpl_jax.files.places import clip_name, without_places
from dpl_jax.files.safetensors import open_tensors
from dpl_jax.inference.export.card import model_card
from dpl_jax.inference.export.onnx_model import write_onnx
from dpl_jax.inference.export.program import write_program
from dpl_jax.prompts.checks import (
    check_alphas,
    check_classnames,
    check_prompt_lengths,
    check_prompts,
)
from dpl_jax.runs.results import PROVENANCE, check_weights
from dpl_jax.runtime.launchers import command

if TYPE_CHECKING:
    from dpl_jax.inference.classifier import Classifier

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
    """What an exported folder holds; the fields of the same names of :class:`Classifier`."""

    clip: Clip
    params: dict[str, Any]
    template: str
    classnames: tuple[str, ...]
    texts: tuple[str, ...]
    features: np.ndarray
    results: dict[str, Any]


def export_folder(
    classifier: Classifier,
    out: str | os.PathLike[str],
    *,
    include_clip: bool = False,
    program: bool = False,
    onnx: bool = False,
) -> Path:
    """Writes a classifier to a new folder, whole or not at all.

    Args:
      classifier: of a run.
      out: the folder to make.
      include_clip: copy the frozen CLIP's files too, so that nothing else is needed.
      program: also write what needs JAX alone, see :mod:`dpl_jax.inference.export.program`.
      onnx: also write an ONNX model, see :mod:`dpl_jax.inference.export.onnx_model`.

    Raises:
      RunFolderError: when ``out`` exists, or cannot be written.
      ConfigError: when an ONNX model cannot be made.
    """
    out = Path(out)
    with new_folder(out) as folder:
        write_json(folder / ABOUT, describe(classifier, include_clip))
        arrays = flatten_dict(dict(classifier.params), sep=".") | {FEATURES: classifier.features}
        contiguous = {name: np.array(leaf, order="C") for name, leaf in arrays.items()}
        with write_file(folder / ARRAYS) as file:
            file.write(save(contiguous))
        write_json(folder / RESULTS, without_places(classifier.results))
        card = model_card(classifier, out.name, program=program, onnx=onnx)
        write_text(folder / CARD, card)
        if include_clip:
            copy_clip(classifier.clip, folder / CLIP)
        if program:
            write_program(classifier, folder)
        if onnx:
            write_onnx(classifier, folder)
    return out


def describe(classifier: Classifier, include_clip: bool) -> dict[str, Any]:
    """What ``classifier.json`` says."""
    clip = dict(classifier.results["clip"])
    return {
        "format": FORMAT,
        "classnames": classifier.classnames,
        "texts": classifier.texts,
        "template": classifier.template,
        "clip": clip | {"path": CLIP if include_clip else clip_name(str(clip["path"]))},
        "clip_included": include_clip,
        "preprocessing": classifier.results["transform"],
        "versions": classifier.results["versions"],
    }


def is_export(folder: Path) -> bool:
    """Whether a folder was written by :func:`export_folder`."""
    return (folder / ABOUT).is_file()


def read_export(folder: Path, clip_place: str | None = None) -> Exported:
    """Reads what :func:`export_folder` wrote.

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
    params = check_params(unflatten_dict(arrays, sep="."), clip, folder)
    return Exported(clip, params, template, names, texts, features, results)


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


def check_params(params: Mapping[str, Any], clip: Clip, folder: Path) -> dict[str, Any]:
    """Prompts with their lengths or alphas, on the device, if they fit the CLIP.

    Raises:
      RunFolderError: when they do not.
    """
    kinds = set(params) - {"prompts"}
    try:
        if "prompts" not in params or kinds not in ({"lengths"}, {"alphas"}):
            raise ValueError(f"it holds {', '.join(sorted(params)) or 'nothing'}")
        check_prompts(params["prompts"], clip.sizes)
        if kinds == {"lengths"}:
            check_prompt_lengths(params["lengths"], params["prompts"], clip.sizes)
        else:
            check_alphas(params["alphas"], clip.sizes)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunFolderError(f"{folder / ARRAYS} holds no prompts of this CLIP: {error}") from error
    return {
        kind: {tower: jnp.asarray(leaf) for tower, leaf in towers.items()}
        for kind, towers in params.items()
    }


def check_preprocessing(clip: Clip, stated: Any) -> None:
    """Raises WeightsError unless the CLIP's test transform is the one of the trained classifier."""
    stated = dict(stated) if isinstance(stated, Mapping) else {}
    for name, value in to_json(dataclasses.asdict(clip.preprocessing)).items():
        if stated.get(name) != value:
            raise WeightsError(
                f"The preprocessor_config.json of {clip.source} says {name} {value}, but the "
                f"prompts were trained with {stated.get(name)}. Use the same CLIP and revision."
            )


def copy_clip(clip: Clip, folder: Path) -> None:
    """Copies the files that a CLIP is loaded from."""
    folder.mkdir()
    for pattern in FILES:
        for path in Path(clip.folder).glob(pattern):
            shutil.copyfile(path, folder / path.name)


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder under a temporary name, which becomes ``out`` if all goes well.

    Raises:
      RunFolderError: when ``out`` exists, or cannot be written.
    """
    if out.exists() or out.is_symlink():
        raise RunFolderError(f"{out} exists already. Choose another name, or remove it.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex[:12]}.tmp")
        temporary.mkdir()
        try:
            yield temporary
            temporary.rename(out)
            sync_folder(out.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise RunFolderError(f"{out} cannot be written ({error.strerror or error}).") from error


def _are_directions(features: np.ndarray) -> bool:
    return bool(np.allclose(np.linalg.norm(features, axis=-1), 1, atol=1e-4))
