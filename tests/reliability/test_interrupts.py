"""Runs that stop within an epoch, by a signal or not: they end as if they had never stopped."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import digits
from dpl_jax.data.order import train_order
from dpl_jax.errors import ConfigError, Interrupted, NumericsError
from dpl_jax.members.groups import Grouping, member_mesh, run_groups
from dpl_jax.members.seed_bank import SeedBank, load_seed_bank
from dpl_jax.members.stages import search_stage
from dpl_jax.members.states import Member, search_states
from dpl_jax.runs import checkpoints
from dpl_jax.runs.folder import open_run
from dpl_jax.search import search
from dpl_jax.train import train
from dpl_jax.training.steps import State, train_epoch
from tests.support.repository import ROOT
from tests.support.small_clip import random_tensors, small_config, write_clip

STEPS = {"search": 4, "train": 5}  # in an epoch of 20 images
ENDS = {"search": [2, 4, 6, 8], "train": [2, 4, 5, 7, 9, 10]}  # of chunks of 2 steps
# A shell's background jobs ignore SIGINT, and so would what a test starts there.
WITH_SIGINT = (
    "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small random CLIP and lengths by hand."""
    folder = tmp_path_factory.mktemp("files")
    config = small_config({"num_hidden_layers": 1}, {"num_hidden_layers": 2})
    write_clip(folder / "clip", config, random_tensors(config))
    lengths = {"image": [0, 2], "text": [1]}
    (folder / "lengths.json").write_text(json.dumps(lengths))
    return folder


def settings(files: Path, **fields: Any) -> dict[str, Any]:
    """What differs from configs/digits.py."""
    return {
        "clip.path": str(files / "clip"),
        "search.max_context_length": 2,
        "search.epochs": 2,
        "search.batch_size": 5,
        "train.epochs": 2,
        "checkpoint.keep": 100,
        "checkpoint.every_steps": 2,
        "progress": "off",
        "report": False,
    } | {name.replace("__", "."): value for name, value in fields.items()}


def make_config(files: Path, **fields: Any) -> ConfigDict:
    config = digits.get_config("shots=2,seed=3")
    config.update_from_flattened_dict(settings(files, **fields))
    return config


def start(stage: str, files: Path, folder: Path, **fields: Any) -> Path:
    config = make_config(files, **fields)
    if stage == "search":
        return search(config, folder)
    return train(config, files / "lengths.json", folder)


def states(folder: Path) -> dict[int, checkpoints.Restored]:
    """All checkpoints of a run."""
    steps = [path for path in (folder / "checkpoints").iterdir() if path.name.isdecimal()]
    return {int(path.name): checkpoints.load(path) for path in steps}


def assert_same_run(left: Path, right: Path) -> None:
    """Every array of every checkpoint, and every byte of what is written beside them."""
    ours, theirs = states(left), states(right)
    assert ours.keys() == theirs.keys()
    for step, one in ours.items():
        assert one.metadata == theirs[step].metadata
        assert jax.tree.structure(one.tree) == jax.tree.structure(theirs[step].tree)
        jax.tree.map(np.testing.assert_array_equal, one.tree, theirs[step].tree)
    for name in ("metrics.jsonl", "results.json", "configuration.json"):
        found = [folder / name for folder in (left, right)]
        assert found[0].exists() == found[1].exists()
        assert not found[0].exists() or found[0].read_bytes() == found[1].read_bytes()


@pytest.fixture(scope="module")
def cut(files: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each stage that was never stopped, with its epochs cut after 2 steps."""
    folder = tmp_path_factory.mktemp("cut")
    return {stage: start(stage, files, folder / stage) for stage in ("search", "train")}


class StoppedError(Exception):
    pass


@pytest.fixture
def stop_after_saving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Makes the next start of a run stop behind its first checkpoint that was not there before."""
    save = checkpoints.Checkpoints.save

    def stop(self: checkpoints.Checkpoints, step: int, tree: Any, metadata: Any) -> None:
        save(self, step, tree, metadata)
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Checkpoints, "save", stop)
        yield patch.undo


@pytest.mark.parametrize("stage", ["search", "train"])
def test_a_run_stopped_after_every_chunk_ends_as_if_it_had_not(
    stage: str,
    cut: dict[str, Path],
    files: Path,
    tmp_path: Path,
    stop_after_saving: Callable[[], None],
) -> None:
    ends = []
    for _ in ENDS[stage]:
        with pytest.raises(StoppedError):
            start(stage, files, tmp_path)
        assert not (tmp_path / "results.json").exists()
        ends.append(max(states(tmp_path)))
    assert ends == ENDS[stage]
    stop_after_saving()  # no more
    start(stage, files, tmp_path)
    assert_same_run(tmp_path, cut[stage])
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["epoch"], row["step"]) for row in rows] == [
        (1, ENDS[stage][-1] // 2),
        (2, ENDS[stage][-1]),
    ]


@pytest.mark.parametrize("stage", ["search", "train"])
def test_an_epoch_in_chunks_is_the_epoch_in_one(
    stage: str, cut: dict[str, Path], files: Path, tmp_path: Path
) -> None:
    fields = {"checkpoint__every_steps": 0, "checkpoint__every_epochs": 1}
    whole = states(start(stage, files, tmp_path, **fields))
    assert whole.keys() == {STEPS[stage], 2 * STEPS[stage]}
    ours = states(cut[stage])
    for step, one in whole.items():
        jax.tree.map(np.testing.assert_array_equal, one.tree, ours[step].tree)
    rows = (tmp_path / "metrics.jsonl").read_bytes()
    assert rows == (cut[stage] / "metrics.jsonl").read_bytes()


@pytest.fixture(scope="module")
def bank(files: Path) -> SeedBank:
    return load_seed_bank(make_config(files), [1, 2], hold_out=True)


def search_both(files: Path, bank: SeedBank, folder: Path) -> Path:
    """A search of two members with different seeds."""
    config, members = make_config(files), [Member(2, 1), Member(2, 2)]
    grouping = Grouping(2, member_mesh(jax.devices()[:1]))
    with open_run(folder, "ablate", config) as run:
        stage = functools.partial(search_stage, config, bank, grouping.mesh)
        run_groups(run, config, members, grouping, stage)
    return folder / "search-members-1-2"


def test_members_stopped_within_an_epoch_end_as_if_they_had_not(
    files: Path, bank: SeedBank, tmp_path: Path, stop_after_saving: Callable[[], None]
) -> None:
    for _ in range(2):
        with pytest.raises(StoppedError):
            search_both(files, bank, tmp_path / "stopped")
    stop_after_saving()
    folder = search_both(files, bank, tmp_path / "stopped")
    assert len(states(folder)[2].metadata["sums"]["val"]["loss"]) == 2
    assert_same_run(folder, search_both(files, bank, tmp_path / "whole"))


def test_a_number_that_goes_wrong_is_told_with_its_step_half_and_images(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil_the_third(state: State, *arguments: Any, **fields: Any) -> Any:
        if state.step == 2:
            state = state.replace(params=jax.tree.map(lambda leaf: leaf * np.nan, state.params))
        return train_epoch(state, *arguments, **fields)

    monkeypatch.setattr("dpl_jax.train.train_epoch", spoil_the_third)
    with pytest.raises(NumericsError) as caught:
        start("train", files, tmp_path)
    said = "Step 3 (epoch 1, its step 3 of 5), in the half that updates the prompts"
    assert str(caught.value).startswith(said)
    sampled = json.loads((tmp_path / "sampled.json").read_text())["train"]
    names = [sampled[index][0] for index in train_order(20, 4, seed=3, epoch=0)[2]]
    assert len(set(names)) == 4
    assert f"Its images: {', '.join(names)}. " in str(caught.value)
    assert states(tmp_path).keys() == {2}
    assert not (tmp_path / "results.json").exists()
    assert not (tmp_path / "metrics.jsonl").exists()


def test_of_several_members_the_one_that_went_wrong_is_named(
    files: Path, bank: SeedBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(*arguments: Any) -> State:
        states = search_states(*arguments)
        alphas = states.params["alphas"]
        wrong = {tower: leaf.at[1].set(np.nan) for tower, leaf in alphas.items()}
        return states.replace(params=states.params | {"alphas": wrong})

    monkeypatch.setattr("dpl_jax.members.stages.search_states", spoilt)
    with pytest.raises(
        NumericsError, match=r"^Step 1 .* the alphas .* went wrong for: Member\("
    ) as c:
        search_both(files, bank, tmp_path)
    assert "seed=2)" in str(c.value) and "seed=1)" not in str(c.value)


def test_a_negative_number_of_steps_is_refused(files: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"every_steps is -1; it must be at least 0"):
        start("search", files, tmp_path / "run", checkpoint__every_steps=-1)
    assert not (tmp_path / "run").exists()


def launch(files: Path, folder: Path, **fields: Any) -> subprocess.Popen[str]:
    """The real command, in a process of its own."""
    given = [f"--config.{name}={value}" for name, value in settings(files, **fields).items()]
    given = ["--config=configs/digits.py:shots=2,seed=3", *given, f"--workdir={folder}"]
    command = ["launch/train.py", f"--lengths={files / 'lengths.json'}", *given]
    return subprocess.Popen(
        [sys.executable, "-c", WITH_SIGINT, *command], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("number", "exit_code", "every_steps"), [(signal.SIGTERM, 75, 0), (signal.SIGINT, 130, 2)]
)
def test_a_signalled_command_tells_how_to_go_on_and_goes_on(
    number: signal.Signals, exit_code: int, every_steps: int, files: Path, tmp_path: Path
) -> None:
    fields = {
        "train__epochs": 8,
        "checkpoint__every_epochs": 1,
        "checkpoint__every_steps": every_steps,
        "checkpoint__keep": 1,
    }
    stopped = tmp_path / "stopped"
    process = launch(files, stopped, **fields)
    while process.poll() is None and not (stopped / "metrics.jsonl").exists():
        time.sleep(0.005)
    process.send_signal(number)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == exit_code, said
    line = said.splitlines()[-1]
    assert line.startswith(f"Stopped by {number.name} after step ")
    assert f"The same command with --workdir={stopped} goes on from there." in line
    assert "Traceback" not in said
    assert not (stopped / "results.json").exists()
    assert len(states(stopped)) == 1
    assert not list(stopped.rglob("*tmp*"))
    if number == signal.SIGTERM:
        process = launch(files, stopped, **fields)
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 0, said
    else:  # the same without another process, which takes seconds to start
        start("train", files, stopped, **fields)
    assert_same_run(stopped, start("train", files, tmp_path / "whole", **fields))


def test_a_run_in_a_notebook_raises_with_its_folder(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("dpl_jax.training.loop.append_metrics", ask)
    with pytest.raises(Interrupted, match="SIGTERM after step 5, with 1 of 2") as caught:
        start("train", files, tmp_path, checkpoint__every_steps=0)
    assert (caught.value.workdir, caught.value.exit_code) == (tmp_path, 75)
    assert states(tmp_path).keys() == {STEPS["train"]}


def test_members_go_on_in_the_folder_of_them_all(
    files: Path, bank: SeedBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "dpl_jax.training.loop.append_metrics", lambda *_: os.kill(os.getpid(), signal.SIGINT)
    )
    with pytest.raises(Interrupted, match="search-members-1-2") as caught:
        search_both(files, bank, tmp_path)
    assert (caught.value.workdir, caught.value.exit_code) == (tmp_path, 130)
