"""The lists of requirements agree, and a plain installation brings no CUDA."""

import tomllib

from packaging.requirements import Requirement

from tests.support.repository import ROOT


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def parse(lines: list[str]) -> dict[str, Requirement]:
    requirements = [Requirement(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]
    return {requirement.name: requirement for requirement in requirements}


def test_requirements_txt_has_the_ranges_of_the_package():
    listed = parse((ROOT / "requirements.txt").read_text().splitlines())
    declared = parse(project()["dependencies"])
    assert {name: r.specifier for name, r in listed.items()} == {
        name: r.specifier for name, r in declared.items()
    }


def test_cuda_comes_only_when_asked_for():
    assert not any(requirement.extras for requirement in parse(project()["dependencies"]).values())
    assert parse((ROOT / "requirements.txt").read_text().splitlines())["jax"].extras == {"cuda12"}


def test_every_range_has_both_ends_and_a_reason():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    for line in filter(lambda line: line and not line.startswith("#"), lines):
        requirement, _, reason = line.partition("#")
        operators = {specifier.operator for specifier in Requirement(requirement).specifier}
        assert operators == {">=", "<"} and reason.strip(), line
