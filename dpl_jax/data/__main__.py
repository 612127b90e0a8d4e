"""Commands for datasets.

    python -m dpl_jax.data check --config=configs/caltech101.py --config.data.root=DIR

lists what was found, what is missing, images that cannot be read, and the numbers of classes and
images against those of the complete dataset, and shows the texts of the first classes. Exits with 1
when an image cannot be used, or when a text is too long for the config's CLIP or two are one.
"""

from __future__ import annotations

import sys

from absl import flags

from dpl_jax import cli
from dpl_jax.data.check import check, print_report
from dpl_jax.data.class_texts import check_texts
from dpl_jax.data.images import Reading
from dpl_jax.data.load import check_test_images, load_dataset, remarks
from dpl_jax.files.printable import printable

CONFIG = cli.define_config()
READ = flags.DEFINE_boolean("read", True, "Decode every image; --noread only looks for the files.")


def main() -> None:
    """Checks the dataset of the config and prints what was found."""
    data = CONFIG.value.data
    dataset = load_dataset(data)
    report = check(dataset, read=READ.value, reading=Reading.of(data))
    print_report(report)
    unchecked = check_texts(dataset, CONFIG.value.clip)
    for remark in (*remarks(dataset, data), *filter(None, [unchecked])):
        print(f"Note: {printable(remark)}")
    if dataset.train:  # a variant of ImageNet has test images alone
        check_test_images(dataset)
    if not report.ok:
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1:2] != ["check"]:
        sys.exit(f"usage: python -m dpl_jax.data check --config=FILE\n{__doc__}")
    del sys.argv[1]
    cli.run(main, required=["config"])
