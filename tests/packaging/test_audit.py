"""The audit tells what is known from what could not be asked; a module stands in for pip-audit."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.repository import ROOT

LOCK = """\
# a comment
good==1.0 \\
    --hash=sha256:00
both==1.0 ; python_full_version < '3.12' \\
    --hash=sha256:00
both==2.0 ; python_full_version >= '3.12' \\
    --hash=sha256:00
"""
STANDS_IN = """\
import json, sys
(path,) = [each.partition("=")[2] for each in sys.argv if each.startswith("--requirement=")]
pins = [line.split("==") for line in open(path).read().split()]
assert len(dict(pins)) == len(pins), "pip-audit refuses a package in two versions"
known = json.loads(ANSWERS)
if known == "offline":
    sys.exit("ConnectionError: no such host")
if known == "usage":
    sys.stderr.write("unrecognized arguments")
    sys.exit(2)
answers = []
for name, version in pins:
    answer = known.get(name + version, [])
    skipped = {"name": name, "skip_reason": "not found"}
    asked = {"name": name, "version": version, "vulns": answer}
    answers.append(skipped if answer == "skip" else asked)
print(json.dumps({"dependencies": answers}))
sys.exit(any(each.get("vulns") for each in answers))
"""
KNOWN = [{"id": "CVE-1", "fix_versions": ["2.1"]}]


def audit(folder, answers, *arguments, lock=LOCK):
    (folder / "pip_audit.py").write_text(f"ANSWERS = {json.dumps(answers)!r}\n{STANDS_IN}")
    (folder / "lock.txt").write_text(lock)
    command = [sys.executable, str(ROOT / ".ci/audit.py"), str(folder / "lock.txt"), *arguments]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        ({}, 0, "3 of 3 locked versions audited: 0 known"),
        ({"both1.0": KNOWN}, 1, "both 1.0: CVE-1, mended in 2.1"),
        ({"both2.0": KNOWN}, 1, "both 2.0: CVE-1, mended in 2.1"),
        ({"good1.0": "skip"}, 3, "NOT AUDITED"),
        ({"good1.0": "skip", "both2.0": KNOWN}, 1, "1 known"),
        ("offline", 3, "no such host"),
        ("usage", 2, "unrecognized arguments"),
    ],
)
def test_the_exit_status_says_what_came_of_it(answers, code, said, tmp_path):
    done = audit(tmp_path, answers)
    assert done.returncode == code and said in done.stdout, done.stdout + done.stderr
    lenient = audit(tmp_path, answers, "--offline_is_fine")
    assert lenient.returncode == (0 if code == 3 else code)
    assert lenient.stdout == done.stdout


@pytest.mark.parametrize("lock", ["", "good>=1.0\n"])
def test_a_lock_without_versions_is_not_clean(lock, tmp_path):
    done = audit(tmp_path, {}, lock=lock)
    assert done.returncode == 2 and "make lock" in done.stdout
