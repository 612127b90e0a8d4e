"""Evaluates a finished run beside zero-shot CLIP; prints, and adds to RUN/results.json.

python launch/evaluate.py --run=RUN [--split=test]
python launch/evaluate.py --run=RUN --config=configs/imagenetv2.py     # on another dataset
python launch/evaluate.py --run=RUN --config.data.root=DIR             # its images have moved
"""

import functools

from absl import flags

from dpl_jax import cli
from dpl_jax.evaluate import evaluate
from dpl_jax.summary.table import print_table

RUN = flags.DEFINE_string("run", None, "Folder of a finished search or training.", required=True)
CONFIG = cli.define_config()
CHANGES = cli.define_changes("where the run's images are now, and how they are read")
SPLIT = flags.DEFINE_string("split", "test", "test; or train or val, the run's few-shot images.")
cli.define_machines()


def main() -> None:
    """Evaluates and prints the table."""
    change = functools.partial(cli.apply_settings, settings=CHANGES.value, flag="config")
    result = evaluate(RUN.value, SPLIT.value, CONFIG.value, change if CHANGES.value else None)
    rows = [
        [name, 100 * result[method]["accuracy"], 100 * result[method]["macro_f1"]]
        for name, method in (("zero-shot", "zero_shot"), ("DPL", "dpl"))
    ]
    where = f"{CONFIG.value.data.name} " if CONFIG.value else ""
    title = f"{RUN.value}: {result['images']} {where}{SPLIT.value} images"
    print_table(title, ["method", "accuracy %", "macro-F1 %"], rows)
    cli.tell_report(RUN.value)


if __name__ == "__main__":
    cli.run(main)
