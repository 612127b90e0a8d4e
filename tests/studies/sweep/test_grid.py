"""The grid, its settings, and what is refused before a job is started."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from dpl_jax.errors import ConfigError, DataError, RunFolderError
from dpl_jax.files.json import to_json, write_json
from dpl_jax.studies.sweep.cluster import Options
from dpl_jax.studies.sweep.grid import PAPER, Cell, cell_config, make_cells, read_datasets
from dpl_jax.studies.sweep.sweep import sweep


def test_the_papers_grid_has_165_cells_in_folders_of_their_own() -> None:
    cells = make_cells(read_datasets(PAPER, []), [16, 1, 2, 4, 8], [1, 2, 3])
    assert len({cell.name for cell in cells}) == len(cells) == 11 * 5 * 3
    assert cells[0].name == "imagenet/shots1/seed1" and cells[-1].name == "ucf101/shots16/seed3"


def test_a_setting_reaches_every_cell_as_on_the_command_line() -> None:
    settings = ["search.epochs=20", "search.prompt_scale.text=0.5", "ablate.seeds=(4,5)"]
    settings += ["data.allow_fewer_shots=true", "search.epochs=7", "clip.path=a=b"]
    configs = read_datasets(["digits", "configs/dtd.py:classes=base"], settings)
    for name in ("digits", "dtd-base"):
        config = cell_config(configs, Cell(name, 4, 3))
        assert config.search.epochs == 7 and config.search.prompt_scale.text == 0.5
        assert config.ablate.seeds == (4, 5) and config.data.allow_fewer_shots is True
        assert (config.data.shots, config.seed, config.clip.path) == (4, 3, "a=b")
    assert configs["digits"].data.shots == 16


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (["dtdd"], [], "no config file dtdd.* caltech101, digits, dtd, eurosat"),
        (["dtd", "configs/dtd.py"], [], "names dtd twice"),
        (["recipes/tiny/config.py"], [], "no config of a dataset"),
        ([], [], "names nothing"),
        (["dtd"], ["search.epoch=3"], "did you mean 'epochs'"),
        (["dtd"], ["search.epochs=many"], "epochs.*many"),
        (["dtd"], ["search.epochs"], "search.epochs"),
        (["dtd"], ["search.epochs=0"], "must be at least 1"),
    ],
)
def test_what_cannot_be_is_told(names: list[str], settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_datasets(names, settings)


def test_missing_data_are_told_before_anything_is_started(
    datasets: dict[str, ConfigDict], tmp_path: Path
) -> None:
    more = read_datasets(["dtd"], [f"data.root={tmp_path}", "clip.path=tiny"])
    shutil.rmtree(tmp_path / "photos" / "test")
    with pytest.raises(DataError, match="2 of 2 datasets") as caught:
        sweep(datasets | more, [2], [1], tmp_path / "runs", Options())
    assert f"- dtd: There is no folder {tmp_path}" in str(caught.value)
    assert "- photos: " in str(caught.value)
    assert not list((tmp_path / "runs" / "jobs").iterdir())


def test_other_weights_than_the_pinned_ones_are_told_too(
    photos: Path, settings: list[str], tmp_path: Path
) -> None:
    pinned = read_datasets([str(photos)], [*settings, f"clip.sha256={'0' * 64}"])
    with pytest.raises(DataError, match=r"(?s)No job was started.* photos: The weights .* SHA-256"):
        sweep(pinned, [2], [1], tmp_path / "runs", Options())


def test_too_few_images_for_the_most_shots_are_told_too(
    datasets: dict[str, ConfigDict], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"photos: 4 shots .* thing 0 \(3\)"):
        sweep(datasets, [1, 4], [1], tmp_path / "runs", Options())


def test_a_folder_with_other_settings_is_refused(
    datasets: dict[str, ConfigDict], tmp_path: Path
) -> None:
    config = cell_config(datasets, Cell("photos", 2, 1)).to_dict()
    folder = tmp_path / "runs" / "photos" / "shots2" / "seed1" / "search"
    folder.mkdir(parents=True)
    config["search"]["epochs"] = 9
    write_json(folder / "config.json", {"kind": "search", "config": to_json(config)})
    with pytest.raises(RunFolderError, match=r"search.epochs: 9 in the folder, 1 now"):
        sweep(datasets, [2], [1], tmp_path / "runs", Options())
