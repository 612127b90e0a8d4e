"""Links in a run folder: none may lead out of it, as files are written through links."""

from __future__ import annotations

import os
from pathlib import Path

from dpl_jax.errors import RunFolderError

# Weights & Biases links to its own logs from here; only whole files are put in their place.
PASSED_OVER = "wandb"


def refuse_links(run: Path) -> None:
    """Checks a run folder, which may be a stranger's, before anything is written into it.

    ``metrics.jsonl`` or ``plots`` could be a link to a file or a folder elsewhere.

    Raises:
      RunFolderError: naming the first link that leads out of the folder.
    """
    root = Path(os.path.realpath(run))
    for folder, inside, files in os.walk(root):
        for name in sorted([*inside, *files]):
            path = Path(folder, name)
            # realpath, because Path.resolve fails for links that lead in a circle.
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                raise RunFolderError(
                    f"{path} is a link that leads out of the run folder, and nothing is written "
                    "through such links. Remove it; to keep runs on another disk, let the whole "
                    "run folder be the link."
                )
        if Path(folder) == root and PASSED_OVER in inside:
            inside.remove(PASSED_OVER)
