"""The real command as a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.repository import ROOT


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < end
        assert process is None or process.poll() is None
        time.sleep(0.02)


def start(photos: Path, settings: list[str], workdir: Path, *more: str) -> subprocess.Popen[str]:
    """The real command, with Ctrl-C as on a terminal."""
    code = "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    given = [f"--datasets={photos}", "--shots=2", "--seeds=1,2", f"--workdir={workdir}"]
    given += ["--gpus=0", *(f"--set={setting}" for setting in settings), *more]
    return subprocess.Popen(
        [sys.executable, "-c", code, "launch/sweep.py", *given],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
