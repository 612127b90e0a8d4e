"""Classifies files and folders of images, however many: read ahead, and written as they come."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import scipy.special

from dpl_jax.data.decode import thread_count
from dpl_jax.data.image_files import SUFFIXES, Unread, is_image, is_system_folder, unread_in
from dpl_jax.errors import ConfigError, UnreadableImageError
from dpl_jax.files.json import write_file
from dpl_jax.files.printable import printable
from dpl_jax.files.text import read_text
from dpl_jax.inference.classifier import Classifier, Guess
from dpl_jax.runtime.progress import progress
from dpl_jax.summary.table import Cell

T = TypeVar("T")
R = TypeVar("R")
FORMATS = (".csv", ".jsonl")
LOG = logging.getLogger(__name__)
CLASSES_BYTES = 16 << 20  # of a file with class names


class Prediction(NamedTuple):
    """What a file was classified as.

    Attributes:
      path: of the file.
      guesses: the likeliest classes first; none where the file could not be read.
      error: why it could not, or "".
    """

    path: Path
    guesses: list[Guess]
    error: str = ""


class Outcome(NamedTuple):
    """What became of all files.

    Attributes:
      files: how many there were.
      kept: all predictions, or none of them where they were written to a file.
      unreadable: those of files that could not be read.
    """

    files: int
    kept: list[Prediction]
    unreadable: list[Prediction]


Write = Callable[[Prediction], None]


def predict_paths(
    classifier: Classifier,
    paths: Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    *,
    top_k: int = 5,
    progress_mode: str = "auto",
) -> Outcome:
    """Classifies all images in files and folders, and writes them to ``output`` if it is given.

    Args:
      classifier: of a run.
      paths: see :func:`find_images`.
      output: see :func:`open_output`.
      top_k: so many classes of each image.
      progress_mode: as ``config.progress``.

    Raises:
      ConfigError: for paths or an output that cannot work.
    """
    files = find_images(paths)
    outcome = Outcome(len(files), [], [])
    writer = open_output(output) if output else contextlib.nullcontext(outcome.kept.append)
    with writer as write, progress(len(files), "predict", progress_mode) as bar:
        for number, found in enumerate(predict_files(classifier, files, top_k), start=1):
            write(found)
            if found.error:
                outcome.unreadable.append(found)
            bar.update(number)
    return outcome


def find_images(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The files among ``paths``, and the images at any depth in the folders among them, by name.

    Hidden files and folders, and those of systems and tools, are passed over; links to folders are
    not followed. Pictures of kinds that are not read are counted in a warning.

    Raises:
      ConfigError: when a path does not exist, or there is no image.
    """
    given, files = [Path(path) for path in paths], list[Path]()
    for path in given:
        if path.is_dir():
            files += _images_in(path)
        elif path.is_file():
            files.append(path)
        else:
            raise ConfigError(f"There is no file or folder {path}.")
    if not files:
        where = ", ".join(map(str, given)) or "nothing"
        raise ConfigError(f"There are no images ({', '.join(SUFFIXES)}) in {where}.")
    return files


def predict_files(
    classifier: Classifier, files: Sequence[Path], top_k: int = 5
) -> Iterator[Prediction]:
    """Classifies files in their order; a batch is read on threads while another is classified.

    Args:
      classifier: of a run.
      files: any number; only a few batches of them are held at a time.
      top_k: so many classes of each.
    """

    def read(path: Path) -> np.ndarray | str:
        try:
            return classifier.pixels(path)
        except UnreadableImageError as error:
            return str(error)

    found = zip(files, read_ahead(read, files, 2 * classifier.batch_size), strict=True)
    while batch := list(itertools.islice(found, classifier.batch_size)):
        pixels = [image for _, image in batch if not isinstance(image, str)]
        logits = classifier.logits_of_pixels(np.stack(pixels)) if pixels else np.zeros((0, 1))
        rows = iter(scipy.special.softmax(logits, axis=-1))  # of (C,)
        for path, image in batch:
            if isinstance(image, str):
                yield Prediction(path, [], image)
            else:
                yield Prediction(path, classifier.guesses(next(rows), top_k))


def read_ahead(read: Callable[[T], R], items: Iterable[T], most: int) -> Iterator[R]:
    """``read`` of each item, in their order, on threads; at most ``most`` are held."""
    with ThreadPoolExecutor(thread_count(0)) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(read, item))
                if len(waiting) == most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def open_output(path: str | os.PathLike[str]) -> Iterator[Write]:
    """Yields a function that writes predictions to a file, which appears when all are in it.

    A .csv file has the columns path, rank, class, probability, error: one line per class. A .jsonl
    file has one object an image: ``{"path": .., "classes": [{"name": .., "probability": ..}]}``,
    or ``{"path": .., "error": ..}``.

    Raises:
      ConfigError: for another ending, or a file that cannot be written.
    """
    check_output(path)
    try:
        with write_file(path) as file:
            text = io.TextIOWrapper(file, "utf-8", newline="", errors="backslashreplace")
            try:
                yield _csv_lines(text) if Path(path).suffix == ".csv" else _json_lines(text)
            finally:
                text.detach()  # flushes, and leaves the file open
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror or error}).") from error


def check_output(path: str | os.PathLike[str]) -> None:
    """Raises ConfigError unless predictions can be written to a file of this name."""
    if Path(path).suffix not in FORMATS:
        raise ConfigError(f"--output is {path}; it must end in {' or '.join(FORMATS)}.")


def read_classes_argument(value: str) -> list[str]:
    """Class names from ``a,b,c``, or from the lines of a file with ``@FILE``.

    Raises:
      ConfigError: when there is no such file, or it is no text.
    """
    if not value.startswith("@"):
        return [name.strip() for name in value.split(",")]
    path = Path(value[1:])
    try:
        lines = read_text(path, CLASSES_BYTES).splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The class names cannot be read from {path} ({error}); give a text file with one name "
            "a line, or names with commas between them."
        ) from error
    return [line.strip() for line in lines if line.strip()]


def rows(predictions: Iterable[Prediction]) -> list[list[Cell]]:
    """Rows of a table: file, likeliest class, its probability in percent, the next classes."""
    found: list[list[Cell]] = []
    for path, guesses, error in predictions:
        if error:
            found.append([printable(str(path)), "unreadable", None, ""])
            continue
        others = ", ".join(f"{printable(name)} {100 * share:.1f}" for name, share in guesses[1:])
        first, share = guesses[0]
        found.append([printable(str(path)), printable(first), 100 * share, others])
    return found


def _images_in(folder: Path) -> Iterator[Path]:
    """Lists the images in a folder, and says which pictures in it are not read."""
    unread = Unread()
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_system_folder(name))
        unread += unread_in(names)
        for name in sorted(names):
            path = Path(where, name)
            if is_image(name) and path.is_file():
                yield path
    if unread.total:
        LOG.warning("%s", unread.in_words(folder))


def _csv_lines(file: io.TextIOWrapper) -> Write:
    lines = csv.writer(file)
    lines.writerow(["path", "rank", "class", "probability", "error"])

    def write(prediction: Prediction) -> None:
        if prediction.error:
            lines.writerow([prediction.path, "", "", "", prediction.error])
        for rank, (name, probability) in enumerate(prediction.guesses, start=1):
            lines.writerow([prediction.path, rank, name, f"{probability:.6g}", ""])

    return write


def _json_lines(file: io.TextIOWrapper) -> Write:
    def write(prediction: Prediction) -> None:
        line: dict[str, object] = {"path": str(prediction.path)}
        if prediction.error:
            line["error"] = prediction.error
        else:
            line["classes"] = [
                {"name": name, "probability": probability}
                for name, probability in prediction.guesses
            ]
        file.write(json.dumps(line, ensure_ascii=False) + "\n")

    return write
