"""The images that a method was most wrong about, read through the dataset that they are of."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
from ml_collections import ConfigDict

from dpl_jax.data.coop.split_file import check_inside
from dpl_jax.data.images import MAX_PIXELS, read_image
from dpl_jax.data.load import load_dataset
from dpl_jax.data.split import Item
from dpl_jax.errors import DplError
from dpl_jax.files.printable import printable
from dpl_jax.runs.predictions import Predictions
from dpl_jax.summary.scores import probabilities

LOG = logging.getLogger(__name__)
SIDE = 192  # pixels of a thumbnail's longer side
TINY = 64  # images up to this side are embedded without loss


class WrongImage(NamedTuple):
    """A misclassified image.

    Attributes:
      name: of the image, see :class:`dpl_jax.data.split.Item`.
      true: its class name.
      predicted: the class name it was given.
      true_probability: of the true class, 0 to 1.
      probability: of the predicted class, 0 to 1.
      source: the image as a data URI; "" where it cannot be read any more.
      tiny: whether it is so small that its pixels should be shown as they are.
    """

    name: str
    true: str
    predicted: str
    true_probability: float
    probability: float
    source: str
    tiny: bool


def most_wrong(predictions: Predictions, method: str, most: int) -> list[WrongImage]:
    """The misclassified images whose true class got the least probability, worst first."""
    probability = probabilities(predictions.logits[method])  # (n, C)
    labels = predictions.labels
    predicted = probability.argmax(axis=-1)  # (n,)
    of_true = np.take_along_axis(probability, labels[:, None], axis=-1)[:, 0]  # (n,)
    wrong = np.flatnonzero(predicted != labels)
    chosen = wrong[np.argsort(of_true[wrong], kind="stable")][:most]
    items = _find_items(predictions, {predictions.names[index] for index in chosen})
    return [
        WrongImage(
            predictions.names[index],
            predictions.classnames[labels[index]],
            predictions.classnames[predicted[index]],
            float(of_true[index]),
            float(probability[index, predicted[index]]),
            *_thumbnail(items.get(predictions.names[index]), predictions),
        )
        for index in chosen
    ]


def _find_items(predictions: Predictions, names: set[str]) -> dict[str, Item]:
    """The dataset's items of these names; none where the dataset cannot be listed any more."""
    if not names:
        return {}
    try:
        data = ConfigDict(dict(predictions.data))
        if data.name == "folder":  # which may hold other images by now
            return {name: _in_folder(Path(data.root), name) for name in names}
        dataset = load_dataset(data)
    except (DplError, OSError, AttributeError) as error:
        LOG.warning("The report shows no images: %s", printable(str(error)))
        return {}
    items: Iterable[Item] = (*dataset.test, *dataset.val, *dataset.train)
    return {item.name: item for item in items if item.name in names}


def _in_folder(root: Path, name: str) -> Item:
    check_inside("A prediction", root, name)
    return Item(root / name, 0, "", name)


def _thumbnail(item: Item | None, predictions: Predictions) -> tuple[str, bool]:
    """A data URI of the image, and whether it is tiny."""
    if item is None:
        return "", False
    limit = predictions.data.get("max_pixels", MAX_PIXELS)
    try:
        image = read_image(item, max_pixels=limit, at_least=SIDE)
    except DplError as error:
        LOG.warning("The report leaves out an image: %s", printable(str(error)))
        return "", False
    tiny = max(image.size) <= TINY
    image.thumbnail((SIDE, SIDE), PIL.Image.Resampling.BICUBIC)
    return data_uri(image, "PNG" if tiny else "JPEG"), tiny


def data_uri(image: PIL.Image.Image, image_format: str) -> str:
    """An RGB image as a ``data:`` address."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, quality=82)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{image_format.lower()};base64,{encoded}"
