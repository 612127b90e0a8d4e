"""Signals that end a run in good order: SIGTERM of a job scheduler, SIGINT of Ctrl-C.

The run stops after the steps that are running, which one compiled program holds and nothing can
interrupt: an epoch, or ``checkpoint.every_steps`` steps of it. It writes a checkpoint and raises
:class:`dpl_jax.errors.Interrupted`, which the launchers turn into an exit code: 75 (EX_TEMPFAIL)
after SIGTERM, 130 after SIGINT. A second SIGINT ends the process at once, with 130. Outside of such
a block a command ends at once, with the same codes (:func:`end_on_sigterm`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType

LOG = logging.getLogger(__name__)

EXIT_CODES = {signal.SIGTERM: os.EX_TEMPFAIL, signal.SIGINT: 130}
TWICE = "a second SIGINT ends it at once."
SHOW_CURSOR = "\x1b[?25h"


def end_on_sigterm() -> None:
    """Lets SIGTERM end this process with exit code 75, as process 1 of a container too.

    The system does not end process 1 by a signal that it has no handler for. A SIGTERM that the
    process ignores stays ignored; processes forked later end as if this had not been called.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    owner = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        with contextlib.suppress(OSError):  # nobody may be listening any more
            os.write(sys.stderr.fileno(), b"SIGTERM: ended. What was saved before is whole.\n")
        sys.exit(EXIT_CODES[signal.SIGTERM])

    signal.signal(signal.SIGTERM, end)


class StopRequest:
    """The signal that has asked the run to stop, or None."""

    def __init__(self) -> None:
        """No signal yet."""
        self.signal: signal.Signals | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal; the first one counts."""
        self.signal = self.signal or signal.Signals(number)


@contextlib.contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Catches SIGTERM and SIGINT while the block runs; the handlers before come back after it.

    A signal that the process ignores, as under nohup, stays ignored. Only the main thread can
    handle signals; in another one nothing is caught.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in EXIT_CODES}
    # None: a handler that is not Python's, which could not be put back.
    ours = [number for number, old in before.items() if old not in (signal.SIG_IGN, None)]
    with _watched():
        try:
            for number in ours:
                signal.signal(number, request)
            yield request
        finally:
            for number in ours:
                signal.signal(number, before[number])


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """Lets a thread see the signals as they come.

    Handlers have to wait until a compiled program ends; what the interpreter writes to a file
    descriptor of its choice does not.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=_watch, args=(reader,), name="dpl_jax-signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writer.close()  # which ends the thread
        thread.join()
        reader.close()


def _watch(reader: socket.socket) -> None:
    """Tells of the first signal, and ends the process at the second SIGINT."""
    told, interrupts = False, 0
    while number := reader.recv(1):
        if number[0] not in EXIT_CODES:
            continue
        interrupts += number[0] == signal.SIGINT
        if interrupts == 2:
            _leave()
        if not told:
            name = signal.Signals(number[0]).name
            LOG.warning("%s: the run stops after the running steps; %s", name, TWICE)
            told = True


def _leave() -> None:
    """Ends the process, whatever it is doing; the next run in the folder clears up."""
    if sys.stderr.isatty():
        sys.stderr.write(SHOW_CURSOR)  # a progress bar hides it
        sys.stderr.flush()
    os._exit(EXIT_CODES[signal.SIGINT])
