"""Classifies images with a trained run: prints a table, or writes every prediction to a file.

python launch/predict.py RUN IMAGE_OR_FOLDER...
python launch/predict.py RUN FOLDER --output=predictions.csv --top_k=3
python launch/predict.py RUN photo.jpg --classes=cat,dog

Ends with exit code 2 when some files could not be read; all others are classified.
"""

import sys

from absl import flags

from dpl_jax import cli
from dpl_jax.files.printable import printable
from dpl_jax.inference.classifier import Classifier
from dpl_jax.inference.predict import check_output, predict_paths, read_classes_argument, rows
from dpl_jax.summary.table import print_table

UNREADABLE = 2  # the exit code when some files could not be read

RUN = flags.DEFINE_string(
    "run", None, "Folder of a finished run, or of an exported one.", required=True
)
CLIP = flags.DEFINE_string("clip", None, "Its CLIP, where it is not found: a folder or a hub id.")
IMAGES = flags.DEFINE_multi_string(
    "images", None, "An image, or a folder of them; repeatable.", required=True
)
OUTPUT = flags.DEFINE_string("output", None, "A .csv or .jsonl file to write instead of a table.")
TOP_K = flags.DEFINE_integer("top_k", 5, "So many classes of each image.", lower_bound=1)
CLASSES = flags.DEFINE_string("classes", None, "Other classes: names with commas, or @FILE.")
TEMPLATE = flags.DEFINE_string("template", None, "Another text, with {} for the class name.")
PROGRESS = flags.DEFINE_enum("progress", "auto", ["auto", "plain", "off"], "How to show progress.")


def main() -> None:
    """Classifies all images, and tells which could not be read."""
    if OUTPUT.value:
        check_output(OUTPUT.value)
    classifier = Classifier.load(RUN.value, CLIP.value)
    if CLASSES.value or TEMPLATE.value:
        names = read_classes_argument(CLASSES.value) if CLASSES.value else classifier.classnames
        classifier = classifier.with_classes(names, TEMPLATE.value)
    found = predict_paths(
        classifier, IMAGES.value, OUTPUT.value, top_k=TOP_K.value, progress_mode=PROGRESS.value
    )
    if OUTPUT.value:
        print(f"{found.files - len(found.unreadable)} predictions: {OUTPUT.value}")
    else:
        print_table("Predictions", ("file", "class", "%", "then"), rows(found.kept))
    for prediction in found.unreadable:
        print(f"unreadable: {printable(prediction.error)}", file=sys.stderr)
    if found.unreadable:
        print(f"{len(found.unreadable)} of {found.files} could not be read.", file=sys.stderr)
        sys.exit(UNREADABLE)


if __name__ == "__main__":
    cli.run(main, positional="run", others="images")
