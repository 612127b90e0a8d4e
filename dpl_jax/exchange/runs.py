"""Runs of the released PyTorch code as run folders of this package, and the other way round."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from dpl_jax.clip.config import ClipConfig
from dpl_jax.clip.model import load_configured
from dpl_jax.config import check_config, with_absolute_paths
from dpl_jax.data.load import load_dataset, sample
from dpl_jax.data.own_split import save_lists
from dpl_jax.errors import ConfigError, RunFolderError
from dpl_jax.exchange.alphas import alpha_files, last_epoch, read_alphas, write_alphas
from dpl_jax.exchange.state_dict import ReleasedPrompts, read_prompts, write_prompts
from dpl_jax.files.json import read_json
from dpl_jax.prompts.alphas import finished_alphas
from dpl_jax.prompts.lengths_file import Lengths, save_configuration, save_lengths
from dpl_jax.prompts.trees import TOWERS, HostTree, candidate_rows, choose_lengths
from dpl_jax.report import report_at_end
from dpl_jax.runs import checkpoints
from dpl_jax.runs.folder import RunFolder, open_run, read_config
from dpl_jax.runs.results import provenance, run_name, write_results

PROMPTS = "prompt_learner.safetensors"
HINT = "If image and text are the wrong way round, give --swapped=False, or True."


def import_lengths(
    alphas: Path, output: Path, epoch: int | None = None, swapped: bool = True
) -> Lengths:
    """Writes the configuration.json of released alphas, for ``launch/train.py --lengths=``.

    Args:
      alphas: the released search's output folder.
      output: the JSON file.
      epoch: whose alphas; None for the last.
      swapped: see :func:`dpl_jax.exchange.alphas.alpha_files`.

    Returns:
      The lengths {"image": (N,), "text": (N,)}.

    Raises:
      ConfigError: when the alphas cannot be read, or the JSON file cannot be written.
    """
    found = read_alphas(alphas, last_epoch(alphas) if epoch is None else epoch, swapped)
    lengths = choose_lengths(found)[0]
    with _writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        save_configuration(output, lengths, found)
    return lengths


def import_run(
    config: ConfigDict,
    prompts: Path,
    workdir: str | Path | None = None,
    alphas: Path | None = None,
    epoch: int | None = None,
    swapped: bool = True,
) -> Path:
    """Makes a finished run of released prompts: a training, or of a supernet a search.

    Args:
      config: of which CLIP, data, shots and seed they are, as far as is known; the files do not
        tell.
      prompts: safetensors with the tensors of the released state dict.
      workdir: the run's folder; None makes a named one under ``runs/``.
      alphas: the released search's output folder. A supernet needs it; the prompts of a second
        stage are held against it.
      epoch: whose alphas; None for the last.
      swapped: see :func:`dpl_jax.exchange.alphas.alpha_files`.

    Returns:
      The run's folder, which every command takes as it takes its own.

    Raises:
      DplError: when the files do not fit the CLIP or each other, or the folder holds a run.
    """
    config = with_absolute_paths(config)
    check_config(config)
    clip = load_configured(config.clip)
    released, found = read_prompts(prompts, clip.sizes), None
    imported: dict[str, Any] = {"prompts": {"file": prompts.absolute(), "sha256": _sha256(prompts)}}
    if alphas is not None:
        epoch = last_epoch(alphas) if epoch is None else epoch
        found = read_alphas(alphas, epoch, swapped)
        sums = {tower: _sha256(p) for tower, p in alpha_files(alphas, epoch, swapped).items()}
        imported["alphas"] = {"folder": alphas.absolute(), "epoch": epoch}
        imported["alphas"] |= {"swapped": swapped, "sha256": sums}
    check_pair(released, found, config, clip.sizes)
    kind = "search" if released.lengths is None else "train"
    full = load_dataset(config.data)
    sampled = sample(full, config.data, seed=config.seed, hold_out=kind == "search")
    with open_run(workdir, kind, config, name=run_name(config)) as run:
        if run.results.exists() or run.metrics.exists():
            raise RunFolderError(f"{run.path} holds a run; choose another folder with --workdir.")
        save_lists(run.path, full, sampled)
        lengths = _save(run, released, found)
        results = {"kind": kind, "lengths": lengths, "imported": imported}
        write_results(run.results, results | provenance(config, clip, sampled))
        report_at_end(run.path, config)
    return run.path


def export_run(run: Path, folder: Path, swapped: bool = True) -> dict[str, Path]:
    """Writes a finished run as the released code would have.

    Args:
      run: folder of a search or a training.
      folder: where ``prompt_learner.safetensors`` and the two files of alphas go. The released
        second stage takes its lengths from alphas alone, so a training gets some: 1 at the length
        of each layer, 0 elsewhere.
      swapped: see :func:`dpl_jax.exchange.alphas.alpha_files`.

    Returns:
      The files: "prompts", and each tower's alphas by its name.

    Raises:
      RunFolderError: when ``run`` is no finished search or training.
      ConfigError: when the files cannot be written.
      CheckpointError: when it has no good checkpoint.
    """
    config, kind = read_config(run), read_json(run / "config.json")["kind"]
    if kind not in ("search", "train") or not (run / "results.json").is_file():
        raise RunFolderError(f"{run} is no finished search or training.")
    tree = checkpoints.load(run).tree
    params, lengths = tree["params"], tree.get("lengths")
    alphas: Mapping[str, Any]
    if lengths is not None:
        alphas = _decided_alphas(lengths, config.search.max_context_length)
    elif kind == "search":
        alphas = finished_alphas(params["alphas"], config.search)
    else:
        alphas = params["alphas"]
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        files = write_alphas(folder, alphas, config.search.epochs, swapped)
        write_prompts(folder / PROMPTS, params["prompts"], lengths)
    return files | {"prompts": folder / PROMPTS}


def check_pair(
    released: ReleasedPrompts, alphas: HostTree | None, config: ConfigDict, clip: ClipConfig
) -> None:
    """Raises ConfigError unless prompts and alphas belong together, and to the CLIP."""
    if alphas is None:
        if released.lengths is None:
            raise ConfigError(
                "These are the prompts of a search, whose alphas the released code saves apart: "
                "give --alphas, the folder with its alpha_e60_img.npy."
            )
        return
    for tower in TOWERS:
        if len(alphas[tower]) != clip.layers[tower]:
            raise ConfigError(
                f"The {tower} alphas are of {len(alphas[tower])} layers, the {tower} tower of the "
                f"CLIP has {clip.layers[tower]}. {HINT}"
            )
    if released.lengths is None:
        _check_supernet(released.prompts, alphas, config.search.max_context_length)
        return
    chosen = choose_lengths(alphas)[0]
    if any((chosen[tower] != released.lengths[tower]).any() for tower in TOWERS):
        raise ConfigError(
            f"The alphas choose the lengths {_shown(chosen)}, but the prompts have "
            f"{_shown(released.lengths)}. {HINT}"
        )


def _check_supernet(prompts: HostTree, alphas: HostTree, longest: int) -> None:
    for tower in TOWERS:
        rows, lengths = prompts[tower].shape[1], alphas[tower].shape[1]
        if rows != candidate_rows(longest) or lengths != longest + 1:
            raise ConfigError(
                f"The {tower} prompts have {rows} rows per layer and the {tower} alphas are of the "
                f"lengths 0 to {lengths - 1}. config.search.max_context_length, here {longest}, "
                "has to be that of the search, for both towers the same."
            )


def _save(run: RunFolder, released: ReleasedPrompts, alphas: HostTree | None) -> Lengths:
    """Writes the checkpoint and configuration.json; returns the lengths."""
    params: dict[str, Any] = {"prompts": released.prompts}
    if alphas is not None and released.lengths is None:
        tree, lengths = {"params": params | {"alphas": alphas}}, choose_lengths(alphas)[0]
        save_configuration(run.configuration, lengths, alphas)
    else:
        assert released.lengths is not None  # check_pair asks a supernet for its alphas
        tree, lengths = {"params": params, "lengths": released.lengths}, released.lengths
        save_lengths(run.configuration, lengths)
    with checkpoints.Checkpoints(run.checkpoints) as saved:
        saved.save(0, tree, {})
    return lengths


def _decided_alphas(lengths: Mapping[str, Any], longest: int) -> HostTree:
    """Alphas (N, T + 1) that choose ``lengths``."""
    longest = max(longest, *(int(np.max(lengths[tower])) for tower in TOWERS))
    return {tower: np.eye(longest + 1, dtype=np.float32)[lengths[tower]] for tower in TOWERS}


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror or error}); name another with --output."
        ) from error


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _shown(lengths: Mapping[str, np.ndarray]) -> str:
    return str({tower: lengths[tower].tolist() for tower in TOWERS})
