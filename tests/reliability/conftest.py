"""A small random CLIP, lengths by hand, and processes that are forked and may be killed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.repository import ROOT
from tests.support.small_clip import random_tensors, small_config, write_clip

Start = Callable[..., int]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    config = small_config({"num_hidden_layers": 1}, {"num_hidden_layers": 2})
    write_clip(folder / "clip", config, random_tensors(config))
    (folder / "lengths.json").write_text(json.dumps({"image": [0, 2], "text": [1]}))
    return folder


@pytest.fixture(scope="session")
def fields(files: Path) -> dict[str, Any]:
    """What differs from configs/digits.py: 4 steps an epoch of the search, 5 of the training."""
    return {
        "clip.path": str(files / "clip"),
        "search.max_context_length": 2,
        "search.epochs": 3,
        "search.batch_size": 5,
        "train.epochs": 3,
        "checkpoint.every_epochs": 1,
        "checkpoint.every_steps": 2,
        "progress": "off",
        "report": False,
    }


@pytest.fixture(scope="session")
def start(files: Path, fields: dict[str, Any]) -> Iterator[Start]:
    """Starts a run in a process of its own; gives its exit code, -9 after SIGKILL."""
    quick = {
        "OPENBLAS_NUM_THREADS": "1",  # its threads would forbid the fork
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.reliability.forked"],
        cwd=ROOT,
        env=os.environ | quick,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdin and parent.stdout

        def start(stage: str, folder: Path, **job: Any) -> int:
            own = fields | job.pop("fields", {})
            lengths = str(files / "lengths.json")
            job |= {"stage": stage, "folder": str(folder), "lengths": lengths, "fields": own}
            assert parent.stdin and parent.stdout
            print(json.dumps(job), file=parent.stdin, flush=True)
            return int(json.loads(parent.stdout.readline())["code"])

        yield start
        parent.stdin.close()
