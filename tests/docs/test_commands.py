"""Every command of the documentation works.

Each page is run from top to bottom in a folder of its own, in which the names that the pages use
are real: DIR and photos are images, DATA is a small dataset in CoOp's layout, FILE holds lengths.
Commands are parsed as they are written, flags, config and all, and then run with settings that
take seconds.
"""

import shutil
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from dpl_jax.files.json import write_json
from dpl_jax.runs.config_files import load_config
from tests.docs.markdown import PAGES, commands, prose
from tests.docs.run_command import parse, program, run
from tests.support.repository import ROOT

# A module that is run here may have been imported before; in a process of its own it never is.
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")

# Commands that begin with these words are not run; every other one is, or at least parsed.
NOT_RUN = {
    "pip install": "installs packages",
    "make": "the tasks of the Makefile, which .ci/run runs",
    "python -m benchmarks": "measures for many minutes; tests/reliability/test_soak.py runs one",
    "curl": "asks a server that the page has started",
    "tfds build": "downloads, and needs TensorFlow",
}
# What takes minutes, or files that are not here, is parsed only.
PARSED_ONLY = {
    "launch/sweep.py": "starts many jobs, each a process of its own; tests/studies/sweep/ runs it",
    "launch/exchange.py": "takes files of the released code; tests/exchange/ runs it",
    "launch/serve.py": "serves until it is stopped; tests/serve/ runs it",
    "recipes.pretrain": "minutes; tests/recipes/ runs it",
    "recipes.small.wordnet": "takes WordNet; tests/recipes/ runs it",
    "recipes.export": "takes a pretraining; tests/recipes/ runs it",
    "recipes.assess": "takes what recipes.export writes; tests/recipes/ runs it",
}
# Settings in place of those on the page: for whatever has a config, and by launcher.
SMALL = (
    *("--config.clip.path=tiny", "--config.clip.revision=", "--config.data.shots=1"),
    *("--config.search.epochs=1", "--config.train.epochs=1"),
    *("--config.search.max_context_length=2", "--config.report=False", "--config.devices=0"),
)
SMALLER = {
    "launch/ablate.py": ("--config.ablate.max_context_length=2", "--config.ablate.seeds=1"),
    "launch/base_to_new.py": ("--seeds=1",),
    "launch/compare.py": ("--config.compare.methods=zero_shot", "--config.compare.seeds=1"),
    "launch/demo.py": ("--seeds=1",),
    "launch/fewshot.py": ("--shots=1", "--seeds=1"),
    "dpl_jax.data": ("--noread",),
}
DATASETS = {"digits", "folder", "caltech101"}  # the last with other images under its names
# Jobs of many runs: the first on any page is run, the others are parsed.
MANY_RUNS = {"launch/ablate.py", "launch/base_to_new.py", "launch/compare.py", "launch/fewshot.py"}
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
    """The programs that were run so far."""
    return set()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Three classes of digits as DIR/{train,val,test}/CLASS, and as Caltech101 in CoOp's layout."""
    root, digits = tmp_path_factory.mktemp("pictures"), load_digits()
    caltech, split = root / "caltech-101", {}
    for part, number in (("train", 5), ("val", 4), ("test", 3)):
        split[part] = []
        for label, name in enumerate(("zero", "one", "two")):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i, pixels in enumerate(digits.images[digits.target == label][:number]):
                picture = Image.fromarray((255 - 15.9 * pixels).astype("uint8")).resize((40, 40))
                picture.save(folder / f"{i}.png")
                split[part].append([f"{part}/{name}/{i}.png", label, name])
        shutil.copytree(root / part, caltech / "101_ObjectCategories" / part)
    write_json(caltech / "split_zhou_Caltech101.json", split)
    return root


@pytest.fixture
def here(pictures, tmp_path, monkeypatch):
    """The folder that a page is run in."""
    monkeypatch.chdir(tmp_path)
    Path("recipes").symlink_to(ROOT / "recipes")  # run in a checkout only
    monkeypatch.setenv("DPL_DATA_ROOT", "DATA")  # for commands that name no folder
    for name in ("DIR", "DATA"):
        shutil.copytree(pictures, name)
    for name in ("train", "val", "test"):
        shutil.copytree(pictures / name, f"photos/{name}")
    shutil.copytree("DIR/test/two", "new_photos")
    shutil.copy("DIR/test/two/0.png", "photo.jpg")
    for name in ("FILE", "configuration.json"):
        write_json(Path(name), {"image": [2, 0, 1, 1], "text": [1, 1, 2]})
    return tmp_path


def skipped(words):
    return any(begins(words, start) for start in NOT_RUN)


def begins(words, start):
    """Whether a command is the one that starts so, or a module in its package."""
    first = tuple(start.split())
    return words[: len(first)] == first or " ".join(words).startswith(f"{start}.")


def can_run(name, arguments, config):
    """Whether it takes seconds, and whether all its data are there."""
    named = {config.data.name} if config is not None and "data" in config else set()
    for argument in arguments:
        if argument.startswith("--targets="):
            named |= {load_config(file).data.name for file in argument[10:].split(",")}
        if argument == "--config.data.source=tfds":
            return False
    return name not in PARSED_ONLY and named <= DATASETS


def small(name, arguments, config):
    """The arguments with the settings that take seconds."""
    given = SMALLER.get(name, ())
    if config is not None and name not in OF_THE_DATA:
        given = (*SMALL, *given)
    replaced = {flag.partition("=")[0] for flag in given}
    return [*(each for each in arguments if each.partition("=")[0] not in replaced), *given]


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
            if can_run(*found, config) and found[0] not in ran & MANY_RUNS:
                ran.add(found[0])
                run(found[0], small(*found, config))
        except BaseException as error:
            error.add_note(where)
            raise


@pytest.mark.parametrize("start", NOT_RUN)
def test_what_is_not_run_is_on_some_page(start):
    words = [command.words for page in PAGES for command in commands(page)]
    assert any(begins(each, start) for each in words)


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


@pytest.mark.parametrize("words", ["python launch/none.py", "dpl-none", "wget x", "python x.py"])
def test_a_command_that_is_unknown_is_none(words):
    assert program(words.split()) is None and not skipped(tuple(words.split()))
