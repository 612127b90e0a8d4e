"""A finished run, loaded: its config, its frozen CLIP, and what it has learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from dpl_jax.clip.features import TowerPrompts
from dpl_jax.clip.model import Clip
from dpl_jax.config import with_absolute_paths
from dpl_jax.errors import CheckpointError, ConfigError, RunFolderError
from dpl_jax.files.json import read_json
from dpl_jax.prompts.alphas import finished_alphas
from dpl_jax.prompts.learned import Learned, Supernet, learned_from
from dpl_jax.runs import checkpoints
from dpl_jax.runs.folder import HARMLESS, config_differences, read_whole_config, within
from dpl_jax.runs.results import check_weights
from dpl_jax.runtime.mesh import data_mesh
from dpl_jax.training.inputs import load_on

# Where a run's files are: they may lie elsewhere when it is evaluated, if they are the same.
MOVABLE = (
    "clip.path",
    "data.root",
    "data.tfds_dir",
    "data.split_file",
    "data.skip_unreadable",
    "data.max_pixels",
)


class Trained(NamedTuple):
    """A finished run.

    Attributes:
      config: of the run.
      clip: frozen.
      learned: what it ended with.
    """

    config: ConfigDict
    clip: Clip
    learned: Learned

    @property
    def prompts(self) -> TowerPrompts:
        """Both towers' view of the prompts that the run ended with."""
        return self.learned.view()


def load_trained(
    run: Path,
    clip_place: str | None = None,
    change: Callable[[ConfigDict], None] | None = None,
) -> Trained:
    """Loads a finished search (its supernet) or training (its prompts).

    Args:
      run: its folder.
      clip_place: folder or hub id of its CLIP; None for the one of its config.
      change: changes the run's config in place, in fields that leave the run what it is:
        :data:`MOVABLE` say where its files are now.

    Raises:
      RunFolderError: when ``run`` is no run, or has not finished.
      CheckpointError: when it has no good checkpoint.
      WeightsError: when the CLIP is not the one that it was trained with.
      ConfigError: for a change of another field.
    """
    config = read_whole_config(run)
    if change is not None:
        config = _changed(config, change)
    if not (run / "results.json").is_file():
        raise RunFolderError(
            f"{run} has no results.json, so it has not finished; start its command again with "
            f"--workdir={run} and it goes on where it stopped."
        )
    if clip_place is not None:
        config.clip.path, config.clip.revision = clip_place, ""
    clip = load_on(data_mesh(config.get("devices", 0), processes=1), config)
    tree = checkpoints.load(run).tree
    learned = _learned(tree, clip, run)
    check_weights(clip, _clip_sha256(run))
    if isinstance(learned, Supernet) and read_results(run)["kind"] == "search":
        learned = learned.replace(alphas=finished_alphas(learned.alphas, config.search))
    return Trained(config, clip, learned)


def _changed(config: ConfigDict, change: Callable[[ConfigDict], None]) -> ConfigDict:
    changed = config.copy_and_resolve_references()
    change(changed)
    changed = with_absolute_paths(changed)
    for name, (old, new) in config_differences(config.to_dict(), changed.to_dict()).items():
        if not within(name, (*MOVABLE, *HARMLESS)):
            raise ConfigError(
                f"{name} is {old!r} in the run and cannot be {new!r} in its evaluation: it says "
                "what the run is. To measure on other images or classes, give --config=FILE."
            )
    return changed


def _clip_sha256(run: Path) -> str:
    try:
        return str(read_results(run)["clip"]["sha256"])
    except (KeyError, TypeError) as error:
        raise RunFolderError(
            f"{run / 'results.json'} does not tell which weights the run was trained with."
        ) from error


def _learned(tree: Mapping[str, Any], clip: Clip, run: Path) -> Learned:
    """What a checkpoint holds, on the device.

    Raises:
      CheckpointError: when it holds no prompts that fit the CLIP.
    """
    try:
        params = tree["params"]
        kind = "alphas" if "alphas" in params else "lengths"
        return learned_from({"lengths": tree.get("lengths")} | dict(params), kind, clip.sizes)
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"The newest checkpoint of {run} holds no prompts for {clip.source} ({error})."
        ) from error


def read_results(run: Path) -> dict[str, Any]:
    """A finished run's results.json.

    Raises:
      RunFolderError: when it is damaged or missing.
    """
    try:
        results = read_json(run / "results.json")
        if not isinstance(results, dict) or "kind" not in results:
            raise ValueError(f"{run / 'results.json'} is no result of a run.")
    except (ValueError, FileNotFoundError) as error:
        raise RunFolderError(
            f"{error} The command of the run, started again with --workdir={run}, writes it anew."
        ) from error
    return results
