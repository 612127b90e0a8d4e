"""Jobs one after another in a process hold no more than one; the long run is benchmarks/soak.py."""

import itertools
import sys

import pytest

from benchmarks import soak

HELD = soak.Usage(1000.0, 600_000, 0, 1, 30, 10, 7000, 0, 100)


@pytest.mark.parametrize("name", soak.Usage._fields)
def test_growth_of_anything_is_told(name):
    grows = [
        HELD._replace(**{name: getattr(HELD, name) * (1 + 0.05 * round_) + round_})
        for round_ in range(12)
    ]
    assert soak.grown(grows) == [name]
    assert [row[0] for row in soak.table(grows) if row[3] == "GREW"] == [name]


def test_noise_is_no_growth():
    noisy = [HELD._replace(memory_mb=1000.0 + 12 * (index % 2)) for index in range(12)]
    assert soak.grown(noisy) == []
    assert soak.split([(0.1, HELD), (0.6, HELD), (1.0, HELD)]) == ([HELD], [HELD, HELD])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_another_job_in_the_process_compiles_nothing_and_leaves_nothing(tmp_path):
    _, (_, second), (_, third) = itertools.islice(soak.rounds(60.0, tmp_path), 3)
    for name in ("arrays", "python_threads", "files", "temporary", "programs"):
        assert getattr(third, name) == getattr(second, name), name
    assert third.programs > 0
