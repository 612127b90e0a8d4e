"""Writes tables into pages of docs/, between markers, and leaves all else as it is."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import jax

from benchmarks.section import Section
from dpl_jax.summary.table import markdown_table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
PACKAGES = ("jax", "jaxlib", "torch")


def machine() -> str:
    """One line: the device, its processors, and the versions that matter."""
    device = jax.local_devices()[0].device_kind
    if jax.default_backend() == "cpu":
        device = _cpu_model()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{device}, {cores} CPU cores, Python {platform.python_version()}, {_versions()}"


def write(name: str, backend: str, sections: Sequence[Section]) -> None:
    """Replaces the part ``NAME BACKEND`` of docs/performance.md."""
    replace_part(PAGE, f"{name} {backend}", _body(sections))


def replace_part(page: Path, name: str, body: str) -> None:
    """Replaces the part of the page between ``<!-- NAME -->`` and ``<!-- end NAME -->``.

    A part that is not there yet is put at the end.
    """
    start, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    text = page.read_text(encoding="utf-8")
    if start not in text:
        text = f"{text.rstrip()}\n\n{start}\n{end}\n"
    before, after = text.split(start, 1)[0], text.split(end, 1)[1]
    page.write_text(f"{before}{start}\n{body}\n{end}{after}", encoding="utf-8")


def _body(sections: Sequence[Section]) -> str:
    today = datetime.date.today().isoformat()
    parts = []
    for section in sections:
        rows = markdown_table(("what", "measured", "target"), section.rows)
        parts.append(f"### {section.title}\n\n{section.note}\n\n{rows}\n\n{machine()}; {today}.\n")
    return "\n".join(parts)


def _versions() -> str:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.is_file() else []
    return names[0].strip() if names else platform.processor() or platform.machine()
