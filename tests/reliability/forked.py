"""Runs in processes of their own that pay no import: forked from one that has imported everything.

python -m tests.reliability.forked

It reads one JSON object a line, a :class:`Job`, and answers with how the process ended. Before JAX
has looked for devices there is a single thread, so a fork is sound; that is checked each time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NamedTuple

from configs import digits
from dpl_jax.errors import DplError, Interrupted
from dpl_jax.search import search
from dpl_jax.train import train

WRITES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.rmtree")


class Job(NamedTuple):
    """What a process is to do.

    Attributes:
      stage: "search" or "train".
      folder: of the run; what the process says goes to a file of that name and .txt
      lengths: file of lengths, for a training.
      fields: what differs from configs/digits.py.
      kill_at: SIGKILL at this operation on the run's files; 0 for none.
      kill_after: SIGKILL so many seconds after the first operation; 0 for never.
    """

    stage: str
    folder: str
    lengths: str
    fields: dict[str, Any]
    kill_at: int = 0
    kill_after: float = 0.0


def count_operations(folder: str, kill_at: int, kill_after: float) -> list[str]:
    """Notes the operations on files under ``folder`` from now on, and kills this process at one.

    They are those of Python, Orbax's included; what its C++ writes falls between them.
    """
    seen: list[str] = []
    timer = threading.Timer(kill_after, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in WRITES or not isinstance(arguments[0], str | os.PathLike):
            return
        if not os.fspath(arguments[0]).startswith(folder + "/"):
            return
        name = os.path.relpath(arguments[0], folder)
        if name == "lock":  # a thread looks at it whenever its time has come
            return
        seen.append(f"{event} {name}")
        if kill_after and len(seen) == 1:
            timer.start()
        if len(seen) == kill_at:
            Path(f"{folder}.killed").write_text(seen[-1])
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return seen


def work(job: Job) -> int:
    """Runs the job in this process; its exit code as that of the launchers."""
    sound = os.open(f"{job.folder}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(sound, 1)
    os.dup2(sound, 2)
    config = digits.get_config("shots=2,seed=3")
    config.update_from_flattened_dict(job.fields)
    seen = count_operations(job.folder, job.kill_at, job.kill_after)
    try:
        if job.stage == "search":
            search(config, job.folder)
        else:
            train(config, Path(job.lengths), job.folder)
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return stop.exit_code
    except DplError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    Path(f"{job.folder}.operations").write_text("\n".join(seen))
    return 0


def fork(job: Job) -> int:
    """Runs the job in a child; -9 when it was killed, else its exit code."""
    assert len(os.listdir("/proc/self/task")) == 1  # no lock can be held by another thread
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = work(job)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Answers until its input ends."""
    for line in sys.stdin:
        print(json.dumps({"code": fork(Job(**json.loads(line)))}), flush=True)


if __name__ == "__main__":
    main()
