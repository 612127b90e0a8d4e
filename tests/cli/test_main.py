"""Arguments without a flag's name: which flag takes them, wherever they stand."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from absl import flags

from dpl_jax.cli import main


@pytest.fixture(autouse=True)
def own_flags(monkeypatch) -> Iterator[flags.FlagValues]:
    own = flags.FlagValues()
    flags.DEFINE_string("run", None, "", flag_values=own)
    flags.DEFINE_string("out", None, "", flag_values=own)
    flags.DEFINE_multi_string("images", None, "", flag_values=own)
    flags.DEFINE_integer("top_k", 5, "", flag_values=own)
    flags.DEFINE_bool("quick", False, "", flag_values=own)
    monkeypatch.setattr(flags, "FLAGS", own)
    return own


@pytest.mark.parametrize(
    "arguments",
    [
        "RUN a b --top_k=2 --quick",
        "--quick RUN --top_k=2 a b",
        "--top_k 2 RUN a --quick b",
        "RUN a --images=b -top_k 2 -quick",
        "--run=RUN --images a --images b --top_k=2 --quick",
    ],
)
def test_bare_arguments_and_flags_may_stand_in_any_order(own_flags, arguments):
    others = None if arguments.startswith("--run") else "images"
    main._parse(["program", *arguments.split()], others and "run", others)
    values = {name: own_flags[name].value for name in ("run", "images", "top_k", "quick")}
    assert values == {"run": "RUN", "images": ["a", "b"], "top_k": 2, "quick": True}


@pytest.mark.parametrize(
    ("arguments", "others", "extra"),
    [
        ("RUN OUT", None, "OUT"),
        ("RUN OUT more", "out", "more"),
        ("RUN --quick OUT", None, "OUT"),
    ],
)
def test_an_argument_that_no_flag_takes_is_told(arguments, others, extra):
    with pytest.raises(SystemExit, match=f"'{extra}' is no flag"):
        main._parse(["program", *arguments.split()], "run", others)


def test_warnings_are_plain_lines_that_do_nothing_to_the_terminal(tmp_path: Path) -> None:
    script = tmp_path / "warn.py"
    script.write_text(
        "import logging\nfrom dpl_jax import cli\n"
        "cli.run(lambda: logging.getLogger('dpl_jax.x').warning('a photo of \\x1b[31m\\n b'))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0
    assert done.stderr == "WARNING: a photo of \N{REPLACEMENT CHARACTER}[31m\n b\n"
