"""``RUN/report.html``: one page that needs nothing else, and its figures in ``RUN/plots``."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from dpl_jax.config import flatten, get_config
from dpl_jax.errors import DplError, RunFolderError
from dpl_jax.files.json import to_json, write_text
from dpl_jax.files.printable import printable
from dpl_jax.prompts.trees import TOWERS
from dpl_jax.report.commands import commands
from dpl_jax.report.contents import KINDS, Contents, read_contents
from dpl_jax.report.parts import Table
from dpl_jax.report.sections import sections
from dpl_jax.runs.folder import config_differences
from dpl_jax.runs.links import refuse_links
from dpl_jax.runs.results import unused_settings
from dpl_jax.summary.plots import plot_style

# What values that are of another type, or beyond all bounds, lead to.
UNSHOWN = (
    *(TypeError, ValueError, LookupError, AttributeError, ArithmeticError),
    jinja2.UndefinedError,
)


class Tile(NamedTuple):
    """A number at the top of the page."""

    label: str
    value: str
    unit: str
    note: str = ""


def write_report(run: str | os.PathLike[str]) -> Path:
    """Writes ``RUN/report.html`` and ``RUN/plots``, from whatever the run has come to.

    Args:
      run: folder of a search or a training, finished or not.

    Returns:
      The page's path.

    Raises:
      RunFolderError: when it is no run folder, one of its files is damaged, or a link in it leads
        elsewhere.
    """
    refuse_links(Path(run))
    contents = read_contents(Path(run))
    try:
        page = render(contents)
    except DplError:
        raise
    except UNSHOWN as error:
        raise RunFolderError(
            f"A file in {run} holds a value that the report cannot show "
            f"({type(error).__name__}: {error})."
        ) from error
    path = Path(run) / "report.html"
    write_text(path, page)
    return path


def render(contents: Contents) -> str:
    """The page's HTML; the figures are written beside it."""
    with plot_style():
        parts = sections(contents)
    return _template().render(
        title=title(contents),
        kind=KINDS[contents.kind],
        summary=summary(contents),
        tiles=tiles(contents),
        sections=parts,
        changed=changed_settings(used_settings(contents)),
        groups=settings(used_settings(contents)),
        versions=contents.versions,
        commands=[" \\\n    ".join(map(printable, parts)) for parts in commands(contents)],
    )


def title(contents: Contents) -> str:
    """What the run is about: data, shots, seed."""
    data = contents.config.data
    name = Path(data.root).name if data.name == "folder" and data.root else data.name
    half = "" if data.classes == "all" else f" ({data.classes} classes)"
    shots = f"{data.shots} shot{'' if data.shots == 1 else 's'}" if data.shots else "all images"
    return f"{name}{half}, {shots}, seed {contents.config.seed}"


def summary(contents: Contents) -> str:
    """One or two sentences: what was searched or trained, on which data."""
    config, lengths = contents.config, contents.lengths
    towers = " and ".join(f"{len(lengths[tower])} {tower}" for tower in TOWERS if tower in lengths)
    layers = f"the {towers} layers" if towers else "the layers"
    classes = f"{len(contents.classnames)} classes of " if contents.classnames else ""
    images = "image" if config.data.shots == 1 else "images"
    shots = (
        f"{config.data.shots} labelled {images} per class" if config.data.shots else "all images"
    )
    data = f"{classes}{config.data.name} with {shots}, seed {config.seed}"
    clip = f"of the frozen CLIP {config.clip.path}"
    if "imported" in contents.results:
        what = f"Imported {_tokens(contents)} prompt tokens of the released code in {layers} {clip}"
    elif contents.kind == "search":
        longest = config.search.max_context_length
        what = f"Searched how many prompt tokens, 0 to {longest}, {layers} {clip} should get"
    elif config.train.get("final") == "mixture":
        what = f"Trained the searched supernet, all its lengths mixed, in {layers} {clip}"
    else:
        what = f"Trained {_tokens(contents)} prompt tokens in {layers} {clip}"
    end = "" if contents.results else " The run has not finished."
    return f"{what}, on {data}.{end}"


def tiles(contents: Contents) -> list[Tile]:
    """The numbers that a reader wants first."""
    found = []
    name = "test" if "test" in contents.evaluations else next(iter(contents.evaluations), None)
    scores = contents.evaluations[name] if name is not None else {}
    if "zero_shot" in scores and "dpl" in scores:
        before, after = (100 * scores[method]["accuracy"] for method in ("zero_shot", "dpl"))
        images = f"{scores['images']} images of {name}"
        found.append(Tile("DPL", f"{after:.2f}", "%", f"accuracy, {images}"))
        found.append(Tile("zero-shot CLIP", f"{before:.2f}", "%", f"accuracy, {images}"))
        found.append(Tile("gain", f"{after - before:+.2f}", "points", "DPL over zero-shot CLIP"))
    elif contents.metrics:
        split = "val" if contents.kind == "search" else "train"
        accuracy = contents.metrics[-1].get(f"{split}_accuracy")
        if accuracy is not None:
            words = {"val": "validation accuracy", "train": "training accuracy"}[split]
            found.append(Tile(words, f"{100 * accuracy:.2f}", "%", "while learning, last epoch"))
    if contents.lengths:
        found.append(Tile("prompt tokens", str(_tokens(contents)), "", "in all layers together"))
    if (sure := mean_confidence(contents)) is not None:
        found.append(Tile("confidence", f"{100 * sure:.1f}", "%", "weight of the chosen lengths"))
    return found


def mean_confidence(contents: Contents) -> float | None:
    """Mean over all layers of the weight of the chosen length; None for all but a search."""
    weights = [
        contents.weights[tower][layer][length]
        for tower, lengths in contents.lengths.items()
        if tower in contents.weights
        for layer, length in enumerate(lengths)
    ]
    return sum(weights) / len(weights) if weights else None


def used_settings(contents: Contents) -> dict[str, Any]:
    """The config without the groups that had no part in the run."""
    unused = ("ablate", "compare", *unused_settings(contents.kind, contents.results))
    return {name: own for name, own in contents.config.to_dict().items() if name not in unused}


def settings(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Every setting by its group and name; those that stand alone come first, under ""."""
    groups: dict[str, dict[str, str]] = {"": {}}
    for name, value in flatten(to_json(config)).items():
        group = name.partition(".")[0] if "." in name else ""
        groups.setdefault(group, {})[name] = _shown(value)
    return groups


def changed_settings(config: Mapping[str, Any]) -> Table | None:
    """The settings that differ from :mod:`dpl_jax.config`, and how."""
    differences = config_differences(get_config().to_dict(), config)
    rows = [
        [name, _shown(value), _shown(default)]
        for name, (default, value) in differences.items()
        if value is not None
    ]
    return Table(["setting", "value", "default"], rows) if rows else None


def _tokens(contents: Contents) -> int:
    return sum(sum(lengths) for lengths in contents.lengths.values())


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return '""' if value == "" else str(value)


def _cell(value: str | int | float | None) -> str:
    """A table's cell as text."""
    if value is None:
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else printable(str(value))


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": _cell, "printable": printable}
    return environment.get_template("page.html.jinja")
