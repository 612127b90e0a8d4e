import json
import threading

import numpy as np
import pytest
from ml_collections import ConfigDict
from tensorboardX.proto.event_pb2 import Event

from dpl_jax.runs.folder import open_run
from dpl_jax.runs.metrics import (
    append_metrics,
    read_metrics,
    tensorboard_events,
    truncate_metrics,
)


@pytest.fixture
def run(tmp_path):
    with open_run(tmp_path, "search", ConfigDict({"a": 1})) as run:
        yield run


def test_rows_come_back_as_they_were(run):
    assert read_metrics(run) == []
    append_metrics(run, [{"step": 1, "loss": np.float32(0.25), "lengths": np.arange(2)}])
    append_metrics(run, [{"step": 2, "loss": 0.1}, {"step": 3, "loss": 1e-30}])
    assert read_metrics(run) == [
        {"step": 1, "loss": 0.25, "lengths": [0, 1]},
        {"step": 2, "loss": 0.1},
        {"step": 3, "loss": 1e-30},
    ]
    assert read_metrics(run.path) == read_metrics(run)


def test_numbers_that_are_not_finite_become_null(run):
    append_metrics(
        run, [{"step": 1, "loss": float("nan"), "all": [np.inf, 1.0], "d": {"x": -np.inf}}]
    )

    def refuse(name):
        raise AssertionError(name)

    row = json.loads(run.metrics.read_text(), parse_constant=refuse)
    assert row == {"step": 1, "loss": None, "all": [None, 1.0], "d": {"x": None}}


def test_truncating_drops_later_rows_and_a_half_written_line(run):
    append_metrics(run, [{"step": step} for step in (10, 20, 30, 40)])
    whole = run.metrics.read_bytes()
    with run.metrics.open("a") as file:
        file.write('{"step": 50, "lo')
    assert [row["step"] for row in read_metrics(run)] == [10, 20, 30, 40]
    truncate_metrics(run, [10, 20, 30])
    assert run.metrics.read_bytes() == whole[: whole.index(b'{"step": 40')]
    append_metrics(run, [{"step": 40}])
    assert run.metrics.read_bytes() == whole


def test_truncating_where_nothing_was_written_does_nothing(run):
    truncate_metrics(run, [])
    assert not run.metrics.exists()


@pytest.mark.parametrize("line", ["nonsense", "[1]", "{}", "3", '{"step": NaN}', "[" * 100_000])
def test_a_damaged_line_is_named(run, line):
    append_metrics(run, [{"step": 1}])
    with run.metrics.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2"):
        read_metrics(run)


def records(file):
    """The records of an event file: length (8 bytes), its checksum (4), the record, its own (4)."""
    data, found = file.read_bytes(), []
    while data:
        length = int.from_bytes(data[:8], "little")
        found.append(data[12 : 12 + length])
        data = data[16 + length :]
    return found


def test_tensorboard_files_hold_the_numbers_of_the_rows(run):
    before = set(threading.enumerate())
    with tensorboard_events(run, True, step=7) as write:
        write({"step": 8, "loss": np.float32(0.5), "lengths": [1, 2], "accuracy": 1})
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
        assert not thread.is_alive()
    (file,) = run.tensorboard.iterdir()
    events = [Event.FromString(record) for record in records(file)]
    scalars = {v.tag: (e.step, v.simple_value) for e in events for v in e.summary.value}
    assert scalars == {"loss": (8, 0.5), "accuracy": (8, 1.0)}


def test_tensorboard_writes_nothing_unless_asked(run):
    with tensorboard_events(run, False, step=0) as write:
        write({"step": 1, "loss": 0.5})
    assert not run.tensorboard.exists()
