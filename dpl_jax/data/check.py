"""Checking a dataset before a run: what is there, what is missing, what cannot be read."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dpl_jax.data.class_texts import first_texts
from dpl_jax.data.coop.expected import EXPECTED
from dpl_jax.data.decode import thread_count
from dpl_jax.data.images import Reading, read_image
from dpl_jax.data.split import SPLITS, Dataset, Item
from dpl_jax.errors import UnreadableImageError
from dpl_jax.files.printable import printable
from dpl_jax.summary.table import print_table

LISTED = 20  # so many problems are printed; the others are counted


@dataclasses.dataclass(frozen=True)
class SplitReport:
    """What was found in one split.

    Attributes:
        images: how many images it lists.
        expected: how many the complete dataset has; None where that is not known.
        fewest, most: images of its smallest and its largest class.
        missing: files that are not there.
        unreadable: why an image cannot be read, a line each.
    """

    images: int
    expected: int | None
    fewest: int
    most: int
    missing: tuple[str, ...]
    unreadable: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Report:
    """The state of a dataset; ``ok`` when every listed image can be used."""

    dataset: Dataset
    expected_classes: int | None
    splits: dict[str, SplitReport]

    @property
    def problems(self) -> tuple[str, ...]:
        """One line for each missing or unreadable image."""
        return tuple(
            line
            for split in self.splits.values()
            for line in (*(f"{path}: missing" for path in split.missing), *split.unreadable)
        )

    @property
    def ok(self) -> bool:
        """Whether there are no problems. Another size than expected is none: see ``complete``."""
        return not self.problems

    @property
    def complete(self) -> bool:
        """Whether the numbers of classes and images are those of the complete dataset."""
        classes = self.expected_classes in (None, len(self.dataset.classnames))
        return classes and all(s.expected in (None, s.images) for s in self.splits.values())


def check(dataset: Dataset, *, read: bool = True, reading: Reading = Reading()) -> Report:
    """Looks for every listed file and, with ``read``, decodes every image."""
    sizes = EXPECTED.get(dataset.name)
    splits = {
        split: _check_split(
            getattr(dataset, split),
            getattr(sizes, split) if sizes else None,
            len(dataset.classnames),
            read=read,
            reading=reading,
        )
        for split in SPLITS
    }
    return Report(dataset, sizes.classes if sizes else None, splits)


def print_report(report: Report) -> None:
    """Prints the report for people."""
    dataset = report.dataset
    expected = report.expected_classes
    print(f"{dataset.name}: {len(dataset.classnames)} classes{_expected(expected)}")
    print(f'split: {dataset.split}; template: "{dataset.template}"')
    print(printable(f"texts: {first_texts(dataset)}"))
    columns = ["split", "images", "expected", "a class", "missing", "unreadable"]
    rows = [
        [name, s.images, s.expected, _range(s), len(s.missing), len(s.unreadable)]
        for name, s in report.splits.items()
    ]
    print_table("", columns, rows)
    for line in report.problems[:LISTED]:
        print(f"- {line}")
    if len(report.problems) > LISTED:
        print(f"- and {len(report.problems) - LISTED} more")
    print(_verdict(report))


def _check_split(
    items: Sequence[Item],
    expected: int | None,
    classes: int,
    *,
    read: bool,
    reading: Reading,
) -> SplitReport:
    missing = [item for item in items if isinstance(item.image, Path) and _is_gone(item.image)]
    gone = {item.name for item in missing}
    present = [item for item in items if item.name not in gone] if read else []
    counts = collections.Counter(item.label for item in items)
    return SplitReport(
        images=len(items),
        expected=expected,
        fewest=min((counts[label] for label in range(classes)), default=0),
        most=max(counts.values(), default=0),
        missing=tuple(str(item.image) for item in missing),
        unreadable=tuple(_unreadable(present, reading)),
    )


def _is_gone(path: Path) -> bool:
    """Whether there is no such file; one that may not be looked at is found unreadable instead."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _unreadable(items: Sequence[Item], reading: Reading) -> Iterable[str]:
    """Returns why each image that cannot be decoded cannot."""

    def attempt(item: Item) -> str:
        try:
            read_image(item, max_pixels=reading.max_pixels)
        except UnreadableImageError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(thread_count(reading.workers)) as pool:
        return [reason for reason in pool.map(attempt, items) if reason]


def _range(split: SplitReport) -> str:
    if split.fewest == split.most:
        return str(split.most)
    return f"{split.fewest} to {split.most}"


def _expected(count: int | None) -> str:
    return "" if count is None else f" ({count} expected)"


def _verdict(report: Report) -> str:
    if not report.ok:
        return f"{len(report.problems)} image(s) cannot be used."
    if not report.complete:
        return (
            "All images can be used, but this is not the complete dataset: accuracies are not "
            "comparable with published ones."
        )
    if passed_over := report.dataset.passed_over:
        return f"All listed images can be used; {passed_over} other file(s) were passed over."
    return "All images can be used."
