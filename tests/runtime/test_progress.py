import io
import threading

import pytest

from dpl_jax.runtime.progress import _Lines, progress
from dpl_jax.runtime.times import duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_lines_come_at_intervals_and_always_the_last():
    file = io.StringIO()
    with progress(1000, "search", file=file) as bar:
        for step in range(1, 1001):
            bar.update(step, loss=1 / step)
    lines = file.getvalue().splitlines()
    assert len(lines) == 20
    assert lines[0].startswith("search 50/1000  loss 0.02")
    assert lines[-1] == "search 1000/1000  loss 0.001"


def test_slow_steps_get_a_line_after_a_while():
    file, now = io.StringIO(), [0.0]
    lines = _Lines(10_000, "train", 0, file, clock=lambda: now[0])
    for step in range(1, 7):
        now[0] += 10.0
        lines.update(step)
    assert file.getvalue().splitlines() == [
        f"train 3/10000  ETA {duration(9997 * 10)}",
        f"train 6/10000  ETA {duration(9994 * 10)}",
    ]


def test_the_eta_of_a_resumed_run_counts_only_what_this_process_did():
    file, now = io.StringIO(), [100.0]
    lines = _Lines(100, "search", 50, file, clock=lambda: now[0])
    now[0] = 120.0  # 20 s, most of them compiling
    lines.update(60, loss=0.5)
    now[0] = 130.0
    lines.update(80, loss=0.25)
    assert file.getvalue() == "search 60/100  loss 0.5\nsearch 80/100  loss 0.25  ETA 0:00:10\n"


def test_an_exception_shows_how_far_it_came_and_goes_on():
    file = io.StringIO()
    with pytest.raises(KeyError), progress(1000, "train", file=file) as bar:
        bar.update(7, loss=2.5)
        raise KeyError
    assert file.getvalue().startswith("train 7/1000  loss 2.5")
    assert file.getvalue().count("\n") == 1


def test_a_terminal_gets_a_bar_that_ends_with_the_block():
    file, before = Terminal(), set(threading.enumerate())
    with pytest.raises(KeyError), progress(10, "search", start=2, file=file) as bar:
        bar.update(5, loss=0.125, alpha_confidence=0.75, note="[red]")
        raise KeyError
    shown = file.getvalue()
    assert "5/10" in shown
    assert "loss 0.125  alpha confidence 0.75  note [red]" in shown
    assert shown.rstrip("\n").endswith("\x1b[?25h")  # the cursor is shown again
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
        assert not thread.is_alive()


def test_plain_lines_on_a_terminal_and_nothing_when_off():
    plain, off = Terminal(), Terminal()
    with progress(2, "evaluate", "plain", file=plain) as bar:
        bar.update(2)
    with progress(2, "evaluate", "off", file=off) as bar:
        bar.update(2)
    assert plain.getvalue() == "evaluate 2/2\n"
    assert off.getvalue() == ""


def test_no_work_shows_nothing():
    file = io.StringIO()
    with progress(0, "search", file=file):
        pass
    assert file.getvalue() == ""


def test_progress_goes_to_stderr(capsys):
    with progress(1, "search") as bar:
        bar.update(1, accuracy=0.5)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "search 1/1  accuracy 0.5\n")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3725, "1:02:05"), (90061, "25:01:01")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
