"""Every command of the documentation works.

Each page is run from top to bottom in a folder of its own, in which the names that the pages use
are real: DIR and photos are images, DATA is DPL_DATA_ROOT, FILE holds lengths. Commands are parsed
as they are written, flags, config and all, and then run with settings that take seconds.
"""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from dpl_jax.config_files import load_config
from dpl_jax.json_files import write_json
from tests.docs.markdown import PAGES, commands, prose
from tests.docs.run_command import parse, program, run

# A module that is run here may have been imported before; in a process of its own it never is.
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")

# Commands that begin with these words are not run; every other one is, or at least parsed.
NOT_RUN = {
    "pip install": "installs packages",
    "make": "the tasks of the Makefile, which .ci/run runs",
    "tfds build": "downloads, and needs TensorFlow",
}
# What takes minutes, or files that are not here, is parsed only.
PARSED_ONLY = {
    "launch/exchange.py": "takes files of the released code; tests/exchange/ runs it",
    "launch/pretrain.py": "minutes; tests/test_pretrain_train.py runs it",
}
# Settings in place of those on the page: for whatever has a config, and by launcher.
SMALL = (
    *("--config.clip.path=tiny", "--config.clip.revision=", "--config.data.shots=1"),
    *("--config.search.epochs=1", "--config.train.epochs=1"),
    *("--config.search.max_context_length=2", "--config.report=False"),
)
SMALLER = {
    "launch/ablate.py": ("--config.ablate.max_context_length=2", "--config.ablate.seeds=1"),
    "launch/base_to_new.py": ("--seeds=1",),
    "launch/compare.py": ("--config.compare.methods=zero_shot", "--config.compare.seeds=1"),
    "launch/demo.py": ("--seeds=1",),
    "launch/fewshot.py": ("--shots=1", "--seeds=1"),
    "dpl_jax.data": ("--noread",),
}
MANY_RUNS = ("launch/ablate.py", "launch/compare.py", "launch/fewshot.py")
OF_THE_DATA = ("launch/evaluate.py", "dpl_jax.data")  # nothing but the data of their config counts


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A searched and a trained run, for pages that name one without making it."""
    folder = tmp_path_factory.mktemp("finished")
    own = [*SMALL, f"--workdir={folder / 'RUN'}"]
    run("launch/search.py", ["--config=digits", *own])
    own = [*SMALL, f"--search={folder / 'RUN'}", f"--workdir={folder / 'RUN2'}"]
    run("launch/train.py", ["--config=digits", *own])
    run("launch/evaluate.py", [f"--run={folder / 'RUN2'}"])
    return folder


@pytest.fixture(scope="module")
def ran():
    """The jobs of many runs that were run so far."""
    return set()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder that a page is run in."""
    monkeypatch.chdir(tmp_path)
    if root := os.environ.get("DPL_DATA_ROOT"):
        Path("DATA").symlink_to(Path(root).resolve())
    digits = load_digits()
    for split, images in (("train", 5), ("val", 4), ("test", 3)):
        for label, name in enumerate(("zero", "one", "two")):
            folder = tmp_path / "DIR" / split / name
            folder.mkdir(parents=True)
            for pixels in digits.images[digits.target == label][-images:]:
                picture = Image.fromarray((255 - 15.9 * pixels).astype("uint8")).resize((40, 40))
                picture.save(folder / f"{len(list(folder.iterdir()))}.png")
    shutil.copytree("DIR", "photos")
    if root:  # pages whose DIR holds datasets
        Path("DIR/caltech-101").symlink_to(Path(root).resolve() / "caltech-101")
    shutil.copytree("DIR/test/two", "new_photos")
    shutil.copy("DIR/test/two/0.png", "photo.jpg")
    write_json(Path("FILE"), {"image": [2, 0, 1, 1], "text": [1, 1, 2]})
    return tmp_path


def skipped(words):
    return any(words[: len(start.split())] == tuple(start.split()) for start in NOT_RUN)


def can_run(name, arguments, config):
    """Whether it takes seconds, and whether all its data are there."""
    named = {config.data.name} if config is not None and "data" in config else set()
    for argument in arguments:
        if argument.startswith("--targets="):
            named |= {load_config(file).data.name for file in argument[10:].split(",")}
        if argument == "--config.data.source=tfds":
            return False
    here = {"digits", "folder"} | ({"caltech101"} if Path("DATA").exists() else set())
    return name not in PARSED_ONLY and named <= here


def small(name, arguments, config):
    """The arguments with the settings that take seconds."""
    given = SMALLER.get(name, ())
    if config is not None and name not in OF_THE_DATA:
        given = (*SMALL, *given)
    replaced = {flag.partition("=")[0] for flag in given}
    return [*(each for each in arguments if each.partition("=")[0] not in replaced), *given]


def is_new(name, arguments, ran):
    """False for a job that another page has had run; single runs are made anew on every page."""
    key = (name, *sorted(each for each in arguments if not each.startswith("--workdir")))
    known = name in MANY_RUNS and key in ran
    ran.add(key)
    return not known


def borrow_runs(arguments, finished):
    """Copies the finished runs that a command names and its page has not made."""
    named = {each.rpartition("=")[2] for each in arguments if not each.startswith("--workdir")}
    for name in ("RUN", "RUN2"):
        if name in named and not Path(name).exists():
            shutil.copytree(finished / name, name)
    if named & {"runs", "runs/"} and not Path("runs").exists():
        shutil.copytree(finished, "runs")


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=str)
def test_the_commands_of_a_page_work(page, here, finished, ran, monkeypatch):
    for command in commands(page):
        if skipped(command.words):
            continue
        where = f"{page}:{command.line}: {' '.join(command.words)}"
        found = program(command.words)
        assert found, f"{where}: no command that the tests know; see CONTRIBUTING.md"
        try:
            borrow_runs(found[1], finished)
            config = parse(*found, monkeypatch)
            own = small(*found, config)
            if can_run(*found, config) and is_new(found[0], own, ran):
                run(found[0], own)
        except BaseException as error:
            error.add_note(where)
            raise


@pytest.mark.parametrize("start", NOT_RUN)
def test_what_is_not_run_is_on_some_page(start):
    words = [command.words for page in PAGES for command in commands(page)]
    assert any(each[: len(start.split())] == tuple(start.split()) for each in words)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_stand_in_fenced_bash_blocks(page):
    starts = ("python ", "dpl-", "make ", "pip ")
    lines = prose(page).splitlines()
    assert not [
        line for line in lines if line.startswith("    ") and line.lstrip().startswith(starts)
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("python launch/search.py --config=configs/digits.py --config.search.epoch=3", "epochs"),
        ("python launch/search.py --config=configs/digitz.py", "no config file"),
        ("python launch/train.py --config=digits --search=RUN --no_such_flag=1", "no_such_flag"),
        ("dpl-evaluate", "--run"),
        ("python -m dpl_jax.results no_such_folder", "no_such_folder"),
    ],
)
def test_a_command_that_does_not_work_fails(words, message, here, monkeypatch):
    found = program(words.split())
    with pytest.raises(AssertionError, match=message):
        parse(*found, monkeypatch)


@pytest.mark.parametrize("words", ["python launch/none.py", "dpl-none", "curl x", "python x.py"])
def test_a_command_that_is_unknown_is_none(words):
    assert program(words.split()) is None and not skipped(tuple(words.split()))
