"""A trained run as a small folder that stands alone, and back.

    OUT/classifier.json  prompts.safetensors  results.json  README.md
    and if asked for: clip/  program.bin  program.npz  model.onnx

The frozen CLIP is named by its id, revision and the hash of its weights; it is not copied unless
asked for.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict
from safetensors.numpy import save

from dpl_jax.clip.model import FILES, Clip
from dpl_jax.errors import RunFolderError
from dpl_jax.files.json import sync_folder, write_file, write_json, write_text
from dpl_jax.files.places import clip_name, without_places
from dpl_jax.inference.classifier import Classifier
from dpl_jax.inference.export.card import model_card
from dpl_jax.inference.export.onnx_model import write_onnx
from dpl_jax.inference.export.program import write_program
from dpl_jax.inference.exported import ABOUT, ARRAYS, CARD, CLIP, FEATURES, FORMAT, RESULTS


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
        arrays = flatten_dict(vars(classifier.learned), sep=".") | {FEATURES: classifier.features}
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
