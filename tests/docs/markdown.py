"""What the pages of the documentation hold: their commands, links and headings."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from tests.support.repository import ROOT

PAGES = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "configs/README.md")
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """One command of a page: where it stands, and its words."""

    page: Path
    line: int
    words: tuple[str, ...]


def commands(page: Path) -> list[Command]:
    """The commands of the fenced bash blocks, in their order; ``\\`` joins lines, # ends one."""
    text, found = (ROOT / page).read_text(), []
    for block in FENCE.finditer(text):
        if block[1] != "bash":
            continue
        first = text[: block.start()].count("\n") + 2
        joined = re.sub(r"\\\n", lambda _: "\0", block[2])  # one line, which counts as two
        for line in joined.splitlines():
            if words := tuple(shlex.split(line.replace("\0", " "), comments=True)):
                found.append(Command(page, first, words))
            first += 1 + line.count("\0")
    return found


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", (ROOT / page).read_text())


def links(page: Path) -> list[str]:
    """The targets of all Markdown links and images outside of code."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(page: Path) -> set[str]:
    """The names that headings can be linked by."""
    headings = re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
