"""Asks for known vulnerabilities of everything that lock files name, for every Python.

    python .ci/audit.py requirements-lock.txt ... [--offline_is_fine]

It needs pip-audit, whose service is on the internet. Exit status 0: asked for everything, nothing
is known. 1: something is known. 2: pip-audit is missing or refused its arguments, or a lock file
cannot be read. 3: not everything could be asked for; 0 with --offline_is_fine.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

FOUND, REFUSED, NOT_ASKED = 1, 2, 3


def files_of_pins(locks: list[Path]) -> list[str]:
    """Texts that together name every locked version, none of them the same package twice."""
    versions = defaultdict(set)
    for lock in locks:
        pinned = re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE)
        if not pinned:
            raise ValueError(f"No NAME==VERSION stands in {lock}. `make lock` writes it anew.")
        for name, version in pinned:
            versions[name].add(version)
    rounds = range(max(map(len, versions.values()), default=0))
    pins = {name: sorted(several) for name, several in sorted(versions.items())}
    return [
        "".join(f"{name}=={all_[index]}\n" for name, all_ in pins.items() if index < len(all_))
        for index in rounds
    ]


def ask(pins: str) -> tuple[list[dict], str]:
    """What pip-audit says of each package, or no answers and the reason."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(pins)
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps"]
        command += ["--progress-spinner=off", "--format=json", f"--requirement={file.name}"]
        done = subprocess.run(command, capture_output=True, text=True)
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if done.returncode == 2 or "No module named" in last:
        print(f"pip-audit did not run: {last}\nInstall it: pip install -e '.[supply]'.")
        sys.exit(REFUSED)
    try:
        return json.loads(done.stdout)["dependencies"], ""
    except (ValueError, KeyError):
        return [], last


def main(arguments: list[str]) -> int:
    """Asks, prints and returns the exit status."""
    locks = [Path(each) for each in arguments if not each.startswith("--")]
    found, asked, reasons = [], 0, []
    try:
        files = files_of_pins(locks)
    except (OSError, ValueError) as error:
        print(f"The lock files cannot be read: {error}")
        return REFUSED
    for pins in files:
        answers, reason = ask(pins)
        reasons += [reason] * bool(reason)
        reasons += [each["skip_reason"] for each in answers if "skip_reason" in each]
        audited = [each for each in answers if "vulns" in each]
        asked += len(audited)
        found += [(each, known) for each in audited for known in each["vulns"]]
    for each, known in found:
        mended = ", ".join(known["fix_versions"]) or "no version yet"
        print(f"{each['name']} {each['version']}: {known['id']}, mended in {mended}")
    total = sum(pins.count("\n") for pins in files)
    print(f"{asked} of {total} locked versions audited: {len(found)} known vulnerabilities.")
    if reasons:
        print(
            f"NOT AUDITED: the service that knows them could not be asked for "
            f"{'the others' if asked else 'any'} ({reasons[0]}). Run `make audit` where it can be "
            f"reached over the internet."
        )
    if found:
        return FOUND
    return NOT_ASKED if reasons and "--offline_is_fine" not in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
