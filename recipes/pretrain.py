"""Pretrains a CLIP by a recipe.

python -m recipes.pretrain --config=recipes/tiny/config.py --workdir=runs/tiny_clip
"""

from pathlib import Path

from absl import flags

from dpl_jax import cli
from dpl_jax.runtime.times import timestamp
from recipes.small.train import pretrain
from recipes.tiny.export import pretrain_to

CONFIG = cli.define_config("recipes/tiny/config.py")
WORKDIR = flags.DEFINE_string(
    "workdir", None, "The folder of the CLIP or the run. Default: one under runs/ with the time."
)


def main() -> None:
    """Trains by the recipe that the config is of."""
    recipe = CONFIG.value.recipe
    workdir = Path(WORKDIR.value or f"runs/{recipe}-clip-{timestamp()}")
    if recipe == "small":
        pretrain(CONFIG.value, workdir)
        print(f"Next: python -m recipes.export --run={workdir} --output=DIR")
        return
    record = pretrain_to(workdir, CONFIG.value)
    accuracy = record["digits_accuracy"]
    print(f"{workdir}: {record['steps']} steps in {record['seconds']} s")
    print(f"digits: zero-shot {accuracy['zero_shot']} %, linear probe {accuracy['linear_probe']} %")


if __name__ == "__main__":
    cli.run(main)
