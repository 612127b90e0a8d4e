"""Links from docs/ into the rest of the repository, which the built pages do not hold."""

import re
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Leaves the text of such a link, which names the file, in its place."""
    return OUTSIDE.sub(r"\1", markdown)
