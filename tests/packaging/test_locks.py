"""The lock files name what pyproject.toml asks for, within its ranges, by hashes alone."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.repository import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = {
    "requirements-lock.txt": [],
    "requirements-cuda12-lock.txt": ["cuda12"],
    "requirements-dev-lock.txt": ["dev", "docs", "onnx", "supply"],
}
LOCKS = [*EXTRAS, "requirements-build-lock.txt"]
SYSTEMS = [
    {"python_version": python, "python_full_version": f"{python}.9"} | system | {"extra": ""}
    for python in ("3.11", "3.12", "3.13")
    for system in (
        {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
        {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
        {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
    )
]


def entries(name: str) -> list[tuple[Requirement, list[str]]]:
    """Each requirement of a lock file, and its options."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = []
    for line in lines:
        requirement, *options = re.split(r"\s+--", line)
        found.append((Requirement(requirement), options))
    return found


def asked(name: str) -> list[Requirement]:
    """What pyproject.toml asks for, with the extras that it names of itself."""
    if name == "requirements-build-lock.txt":
        lines = PROJECT["dependency-groups"]["build"] + PROJECT["build-system"]["requires"]
        return [Requirement(line) for line in lines]
    waiting = list(map(Requirement, PROJECT["project"]["dependencies"]))
    extras, found = list(EXTRAS[name]), []
    while extras or waiting:
        if waiting:
            requirement = waiting.pop()
            own = requirement.name == PROJECT["project"]["name"]
            extras += sorted(requirement.extras) if own else []
            found += [] if own else [requirement]
        else:
            lines = PROJECT["project"]["optional-dependencies"][extras.pop()]
            waiting += map(Requirement, lines)
    return found


def installed(name: str, system: dict[str, str]) -> dict[str, str]:
    """The version of each package that a lock file installs there, one alone."""
    versions: dict[str, str] = {}
    for requirement, _ in entries(name):
        if requirement.marker is None or requirement.marker.evaluate(system):
            assert requirement.name not in versions, f"{requirement.name} twice for {system}"
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            versions[canonicalize_name(requirement.name)] = pin.version
    return versions


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_all_that_is_asked_for_within_its_range(name):
    for system in SYSTEMS:
        versions = installed(name, system)
        for requirement in asked(name):
            version = versions.get(canonicalize_name(requirement.name))
            assert version is not None, f"`make lock`: {requirement.name} is missing from {name}"
            assert version in requirement.specifier, f"`make lock`: {requirement} has {version}"


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_hashes_and_no_address(name):
    for requirement, options in entries(name):
        assert options and requirement.url is None, requirement
        assert all(re.fullmatch("hash=sha256:[0-9a-f]{64}", option) for option in options)
    text = (ROOT / name).read_text()
    assert "://" not in text and not re.search(r"(^|\s)(-i|--index|--find|/)", text)


@pytest.mark.parametrize("name", LOCKS)
def test_the_locks_agree(name):
    """So that one after the other can be installed into the same environment."""
    for system in SYSTEMS:
        base, other = installed("requirements-dev-lock.txt", system), installed(name, system)
        assert {each: base[each] for each in base.keys() & other.keys()} == {
            each: other[each] for each in base.keys() & other.keys()
        }


def test_cuda_and_torch_come_only_when_asked_for():
    for name in LOCKS:
        names = {requirement.name for requirement, _ in entries(name)}
        assert not any("torch" in each for each in names)
        gpu = [each for each in names if "nvidia" in each or "cuda" in each]
        assert bool(gpu) == ("cuda12" in name), gpu
