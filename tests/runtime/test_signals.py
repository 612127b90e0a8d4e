"""Catching signals, whatever the run does meanwhile, and what a command says in the end."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from absl import flags

from dpl_jax import cli
from dpl_jax.cli import main
from dpl_jax.errors import Interrupted
from dpl_jax.runtime.signals import stop_signals
from tests.support.repository import ROOT

# Hashing takes minutes and looks at no signal, like a compiled program.
BUSY = """
import hashlib, signal
from dpl_jax.runtime.signals import stop_signals
signal.signal(signal.SIGINT, signal.default_int_handler)
with stop_signals():
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 10**9)
"""


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_nothing_stays_behind(number: signal.Signals) -> None:
    before, threads, opened = handlers(), threading.enumerate(), os.listdir("/proc/self/fd")
    with stop_signals() as stop:
        assert stop.signal is None
        os.kill(os.getpid(), number)
        time.sleep(0)  # handlers run between two instructions
        assert stop.signal == number
    assert handlers() == before
    assert threading.enumerate() == threads and os.listdir("/proc/self/fd") == opened


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_signals() as stop:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal is None
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_leaves_signals_alone() -> None:
    seen: list[Any] = []

    def look() -> None:
        with stop_signals() as stop:
            seen.extend([handlers(), stop.signal])

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [handlers(), None]


def test_an_exception_in_the_block_gives_the_handlers_back() -> None:
    before = handlers()
    with pytest.raises(ZeroDivisionError), stop_signals():
        raise ZeroDivisionError
    assert handlers() == before


def test_a_second_sigint_ends_the_process_at_once() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"busy\n"
        process.send_signal(signal.SIGINT)
        assert b"SIGINT: the run stops after" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130


@pytest.fixture
def workdir_flag(monkeypatch: pytest.MonkeyPatch) -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    values.mark_as_parsed()
    monkeypatch.setattr(flags, "FLAGS", values)
    return values


@pytest.mark.parametrize(("given", "told"), [(None, "RUN"), ("MINE", "MINE")])
def test_the_last_line_names_the_folder_of_the_command(
    given: str | None,
    told: str,
    workdir_flag: flags.FlagValues,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workdir_flag["workdir"].value = given
    with pytest.raises(SystemExit) as ended, main._one_message():
        raise Interrupted("Stopped.", workdir=Path("RUN"), exit_code=75)
    assert ended.value.code == 75
    goes_on = f"Stopped. The same command with --workdir={told} goes on from there.\n"
    assert capsys.readouterr().err == goes_on


def test_a_command_with_a_folder_of_its_own_tells_that_one(
    workdir_flag: flags.FlagValues, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.choose_workdir("runs/demo-1") == Path("runs/demo-1")
    with pytest.raises(SystemExit), main._one_message():
        raise Interrupted("Stopped.", workdir=Path("runs/demo-1/search"), exit_code=75)
    assert "--workdir=runs/demo-1 goes on" in capsys.readouterr().err
    workdir_flag["workdir"].value = "GIVEN"
    assert cli.choose_workdir("runs/demo-2") == Path("GIVEN")


def test_ctrl_c_outside_the_training_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, main._one_message():
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr().err == "Interrupted. What was saved before is whole.\n"


@pytest.mark.parametrize("when", ["before its flags are read", "while it works"])
def test_sigterm_outside_the_training_ends_a_command_with_75(when: str) -> None:
    early = when.startswith("before")
    code = (
        "import sys, time\nfrom dpl_jax import cli\nfrom dpl_jax.cli import main\n"
        "def wait():\n    print('ready', flush=True)\n    time.sleep(600)\n"
        + ("main.use_compilation_cache = wait\n" if early else "")
        + "cli.run(wait)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=300)
    assert process.returncode == 75
    assert said == b"SIGTERM: ended. What was saved before is whole.\n"


def test_a_forked_child_dies_of_sigterm_as_usual_and_what_is_ignored_stays_ignored() -> None:
    code = (
        "import os, signal, sys\nfrom dpl_jax.runtime.signals import end_on_sigterm\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nend_on_sigterm()\n"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN\n"
        "signal.signal(signal.SIGTERM, signal.SIG_DFL)\nend_on_sigterm()\nchild = os.fork()\n"
        "if not child:\n    os.kill(os.getpid(), signal.SIGTERM)\n    os._exit(3)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
