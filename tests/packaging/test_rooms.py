"""The map of rooms in pyproject.toml is true: a room imports from itself and from those below."""

import re
import subprocess
import sys
import tomllib

from tests.support.repository import ROOT


def test_a_room_imports_from_those_below_alone() -> None:
    script = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", script, "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout


def test_contributing_draws_the_same_map() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    rooms = re.findall(r"\w+", " ".join(contract["contracts"][0]["layers"]))
    page = (ROOT / "CONTRIBUTING.md").read_text()
    told = re.findall(r"(?m)^\| `(\w+)(?:/|\.py)` \|", page)
    assert [room for room in told if room in rooms] == rooms
    here = {path.stem for path in (ROOT / "dpl_jax").iterdir() if not path.name.startswith("_")}
    assert set(rooms) == here - {"py", "assets"}
