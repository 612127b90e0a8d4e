"""Writes a pretrained CLIP as a Hugging Face folder with the record of its training."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from numpy.typing import DTypeLike

from dpl_jax.clip.config import ClipConfig, to_hugging_face
from dpl_jax.clip.preprocessing import BICUBIC, CLIP_MEAN, CLIP_STD
from dpl_jax.clip.weights import WEIGHTS, Params, save_params
from dpl_jax.errors import ConfigError
from dpl_jax.files.json import write_json
from dpl_jax.runs.folder import versions


def write_clip(
    folder: Path, params: Params, sizes: ClipConfig, dtype: DTypeLike = np.float32
) -> None:
    """Writes config.json, model.safetensors and preprocessor_config.json into `folder`."""
    save_params(folder, params, sizes, dtype)
    (folder / WEIGHTS).chmod(0o644)  # safetensors makes its files private
    stored = to_hugging_face(sizes)
    for tower in ("text_config", "vision_config"):
        stored[tower] |= {"attention_dropout": 0.0}
    stored["text_config"] |= {"bos_token_id": sizes.text.vocab_size - 2}
    stored["text_config"] |= {"pad_token_id": sizes.text.eos_token_id}
    write_json(folder / "config.json", stored)
    write_json(folder / "preprocessor_config.json", _preprocessor(sizes.vision.image_size))


def _preprocessor(side: int) -> dict[str, Any]:
    """The test transform in the words of transformers' CLIPImageProcessor."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": side},
        "resample": BICUBIC,
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(CLIP_MEAN),
        "image_std": list(CLIP_STD),
    }


def describe(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Returns the recipe and where it ran: date, machine and versions."""
    return {
        "recipe": config.to_dict(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} {platform.machine()} CPU cores, {jax.default_backend()}",
        "versions": versions(),
    }


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that becomes `path` when the block succeeds."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"{path} exists and is not empty; give another --workdir.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        temporary.chmod(0o755)
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
