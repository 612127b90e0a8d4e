"""What a result needs to be understood, repeated and compared: ``RUN/results.json``."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from dpl_jax.clip.model import Clip
from dpl_jax.clip.weights import weights_sha256
from dpl_jax.data.split import Dataset, list_hash
from dpl_jax.errors import WeightsError
from dpl_jax.files.json import read_json, to_json, write_json
from dpl_jax.runs.folder import versions

# The fields of every result that say where its numbers come from.
PROVENANCE = (
    "dataset",
    "split",
    "classes",
    "shots",
    "seed",
    "template",
    "transform",
    "sampled_files",
    "clip",
    "versions",
)


def provenance(
    config: ConfigDict, clip: Clip, sampled: Dataset, devices: int | None = None
) -> dict[str, Any]:
    """Where a number comes from: data, sample, texts, transform, weights, versions, devices.

    Args:
      config: of the run.
      clip: the frozen CLIP.
      sampled: the few-shot task, see :func:`dpl_jax.data.load.sample`.
      devices: how many share the work; None for those of the CLIP.
    """
    return {
        "dataset": sampled.name,
        "split": sampled.split,
        "classes": config.data.classes,
        "shots": config.data.shots,
        "seed": config.seed,
        "template": sampled.template,
        "transform": dataclasses.asdict(clip.preprocessing) | {"train": config.data.augment},
        "sampled_files": {
            split: {"images": len(items), "sha256": list_hash(items)}
            for split, items in (("train", sampled.train), ("val", sampled.val))
        },
        "clip": {
            "path": config.clip.path,
            "revision": config.clip.revision,
            "sha256": weights_sha256(clip.folder),
            "dtype": clip.dtype,
        },
        "versions": versions(),
        "compute": compute(clip, devices),
    }


def compute(clip: Clip, devices: int | None = None) -> dict[str, Any]:
    """What the numbers were computed with; another device may round differently."""
    sharing = clip.mesh.size if clip.mesh is not None else 1
    precision = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    return {
        "backend": jax.default_backend(),
        "device_kind": jax.local_devices()[0].device_kind,
        "device_count": devices or sharing,
        "dtype": clip.dtype,
        "matmul_precision": str(precision or "default"),
    }


def unused_settings(kind: str, results: Mapping[str, Any]) -> tuple[str, ...]:
    """The stages in a run's config that had no part in it: a later one, or one done elsewhere."""
    if "imported" in results:
        return ("search", "train")
    if kind == "search":
        return ("train",)
    return ("search",) if kind == "train" and results.get("search", "") is None else ()


def write_results(path: Path, found: dict[str, Any]) -> None:
    """Writes results.json; a finished run that is started again keeps it, evaluations included."""
    if path.is_file():
        with contextlib.suppress(ValueError):  # damaged: written again
            later = {"evaluations": None, "compute": None}  # nothing is computed again
            if read_json(path) | later == to_json(found) | later:
                return
    write_json(path, found)


def check_weights(clip: Clip, sha256: str) -> None:
    """Raises WeightsError unless the CLIP's weights are those that prompts were trained with."""
    found = weights_sha256(clip.folder)
    if found != sha256:
        raise WeightsError(
            f"The prompts were trained with other weights than those of {clip.source} "
            f"(SHA-256 {str(sha256)[:12]}..., found {found[:12]}...). Use the same CLIP and "
            "revision."
        )


def run_name(config: ConfigDict) -> str:
    """What a run is about, for the name of its folder: ``digits-16shot-seed1``."""
    return f"{task_name(config.data)}-{config.data.shots}shot-seed{config.seed}"


def task_name(data: ConfigDict) -> str:
    """Dataset and half of the classes: ``digits``, ``dtd-new``."""
    name = data_name(data)
    return name if data.classes == "all" else f"{name}-{data.classes}"


def data_name(data: ConfigDict) -> str:
    """The dataset's name; of a folder of one's own, the folder's name."""
    return Path(data.root).resolve().name if data.name == "folder" else data.name
