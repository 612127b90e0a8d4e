"""Each guard that docs/reliability.md names is there, and refuses or escapes a hostile string."""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

from configs import digits
from dpl_jax.clip.model import find_folder
from dpl_jax.clip.weights import weight_files
from dpl_jax.data.coop.split_file import read_split
from dpl_jax.data.tfds_source import _check_features
from dpl_jax.errors import DplError
from dpl_jax.files.json import write_json
from dpl_jax.files.numpy import read_npz
from dpl_jax.files.printable import printable
from dpl_jax.inference.export.card import model_card
from dpl_jax.report.commands import config_flags
from dpl_jax.report.page import render
from dpl_jax.runs.checkpoint_files import check_files
from dpl_jax.runs.config_files import load_shipped_config
from dpl_jax.runs.folder import check_same_config, read_whole_config
from dpl_jax.runs.links import refuse_links
from dpl_jax.runs.metrics import _run_id
from dpl_jax.serve.app import render_page
from dpl_jax.studies.sweep.plan import make_jobs_folder
from dpl_jax.summary.table import escape_markdown
from tests.inference.export.conftest import classifier_with

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
GUARD = re.compile(r"^\|.*\| `(dpl_jax[\w.]+)` \|$", re.MULTILINE)
HOSTILE = "\n# x <script>alert(1)</script> {{7*7}} `rm` $(rm) '; rm ![a](b)\x1b[31m"


def run(folder: Path, **fields: object) -> Path:
    """A run folder whose config has these fields of these dotted names."""
    config = json.loads(json.dumps(digits.get_config().to_dict()))
    for name, value in fields.items():
        group, field = name.split("__")
        config[group][field] = value
    write_json(folder / "config.json", {"kind": "train", "config": config, "versions": {}})
    return folder


def file(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def split_of(folder: Path, path: str) -> object:
    parts = {part: [[path, 0, "a"]] for part in ("train", "val", "test")}
    return read_split(file(folder / "split.json", parts), folder)


def link(path: Path) -> Path:
    path.symlink_to("/etc/passwd")
    return path.parent


def archive(path: Path) -> Path:
    np.savez(path, x=np.array([{}], object))
    return path


def jobs_of_another_user(folder: Path) -> Path:
    with mock.patch("os.getuid", return_value=os.getuid() + 1):
        return make_jobs_folder(folder)


# What has to be refused, by the guard.
REFUSED: dict[str, list[Callable[[Path], object]]] = {
    "dpl_jax.runs.config_files.load_shipped_config": [
        lambda folder: load_shipped_config("../payload"),
        lambda folder: load_shipped_config(str(folder / "payload.py")),
    ],
    "dpl_jax.runs.folder.read_whole_config": [
        lambda folder: read_whole_config(run(folder, data__name="../payload"))
    ],
    "dpl_jax.runs.folder.check_same_config": [
        lambda folder: check_same_config(
            run(folder, train__epochs="../../x"), "train", digits.get_config(), extends="train"
        )
    ],
    "dpl_jax.data.tfds_source._check_features": [
        lambda folder: _check_features(file(folder / "f.json", {"pythonClassName": "os.system"}))
    ],
    "dpl_jax.data.coop.split_file.read_split": [
        lambda folder: split_of(folder, "../../etc/passwd"),
        lambda folder: split_of(folder, "/etc/passwd"),
    ],
    "dpl_jax.clip.weights.weight_files": [
        lambda folder: weight_files(
            file(folder / "model.safetensors.index.json", {"weight_map": {"x": "../x"}}).parent
        )
    ],
    "dpl_jax.clip.model.find_folder": [
        lambda folder: find_folder("http://127.0.0.1:1/x"),
        lambda folder: find_folder("../owner/name"),
        lambda folder: find_folder("owner/na?me=1"),
        lambda folder: find_folder("owner/name", "../../../x"),
        lambda folder: find_folder("owner/name", "/etc/passwd"),
        lambda folder: find_folder("owner/name", "a\x00b"),
    ],
    "dpl_jax.runs.metrics._run_id": [lambda folder: _run_id(file(folder / "id.txt", "../../x"))],
    "dpl_jax.files.private_folder.make_private": [jobs_of_another_user],
    "dpl_jax.runs.links.refuse_links": [
        lambda folder: refuse_links(link(folder / "metrics.jsonl"))
    ],
    "dpl_jax.runs.checkpoint_files.check_files": [
        lambda folder: check_files(file(folder / "state" / "_sharding", "{}").parents[1]),
        lambda folder: check_files(link(folder / "_CHECKPOINT_METADATA")),
    ],
    "dpl_jax.files.numpy.read_npz": [lambda folder: read_npz(archive(folder / "x.npz"))],
}


def card(folder: Path) -> str:
    classifier = classifier_with("discrete")
    return model_card(
        SimpleNamespace(  # type: ignore[arg-type]
            results=classifier.results | {"dataset": HOSTILE, "seed": HOSTILE},
            classnames=(HOSTILE,),
            template=HOSTILE,
            learned=classifier.learned,
            preprocessing=classifier.preprocessing,
        ),
        HOSTILE,
    ).partition("\n---\n")[2]


def page(folder: Path) -> str:
    config = digits.get_config()
    config.clip.path = HOSTILE
    contents = SimpleNamespace(
        path=folder, kind="search", config=config, versions={HOSTILE: HOSTILE}, results={},
        configuration={}, metrics=[], classnames=[], predictions={}, lengths={}, weights={},
        evaluations={}, weight_history=([], {}),
    )  # fmt: skip
    return render(contents)  # type: ignore[arg-type]


def web_page(folder: Path) -> str:
    named = SimpleNamespace(
        classnames=(HOSTILE,), template=HOSTILE, clip=SimpleNamespace(source=HOSTILE)
    )
    return render_page(named, HOSTILE, 1)  # type: ignore[arg-type]


def flags(folder: Path) -> str:
    config = digits.get_config()
    config.data.root = HOSTILE
    return " ".join(config_flags(config.to_dict()))


# What has to be shown as text, and what of it must not be in that.
SHOWN: dict[str, tuple[Callable[[Path], str], tuple[str, ...]]] = {
    "dpl_jax.report.page.render": (page, ("<script>alert", "\x1b", "49 ")),
    "dpl_jax.report.commands.config_flags": (flags, ("rm ![a](b)\x1b[31m --", "$(rm) ';")),
    "dpl_jax.inference.export.card.model_card": (card, ("<script>", "\n# x", "\x1b", "49 ")),
    "dpl_jax.summary.table.escape_markdown": (
        lambda folder: escape_markdown(HOSTILE),
        ("<script>", "\n", "![a]", " `rm`", "\x1b"),
    ),
    "dpl_jax.serve.app.render_page": (web_page, ("<script>alert", "\x1b", "49 ")),
    "dpl_jax.files.printable.printable": (lambda folder: printable(HOSTILE), ("\x1b", "\n")),
}


def guards() -> set[str]:
    return set(GUARD.findall(PAGE.read_text(encoding="utf-8")))


def test_the_page_and_the_examples_name_the_same_guards():
    assert guards() == REFUSED.keys() | SHOWN.keys() and len(guards()) > 12
    for guard in guards():
        module, _, name = guard.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))


EXAMPLES = [(guard, number) for guard, each in REFUSED.items() for number in range(len(each))]


@pytest.mark.parametrize(("guard", "number"), EXAMPLES)
def test_a_guard_refuses_a_hostile_string(tmp_path, monkeypatch, guard, number):
    (tmp_path / "payload.py").write_text("raise SystemExit('executed')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises((DplError, ValueError)):
        REFUSED[guard][number](tmp_path)


@pytest.mark.parametrize("guard", SHOWN)
def test_a_guard_shows_a_hostile_string_as_text(tmp_path, guard):
    show, absent = SHOWN[guard]
    shown = show(tmp_path)
    assert "alert(1)" in shown
    assert [text for text in absent if text in shown] == []
