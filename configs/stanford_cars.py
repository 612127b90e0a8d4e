"""StanfordCars: makes, models and years of cars.

    python launch/search.py --config=configs/stanford_cars.py --config.data.root=DIR --workdir=RUN
    python launch/train.py --config=configs/stanford_cars.py --config.data.root=DIR --search=RUN
    python -m dpl_jax.data check --config=configs/stanford_cars.py --config.data.root=DIR

DIR holds the folder stanford_cars/ (docs/datasets.md).
196 classes; train / val / test: 6509 / 1635 / 8041 images.
Template: "a photo of a {}."
Data: the cars_train and cars_test images of Stanford Cars and CoOp's split_zhou_StanfordCars.json.

Published with 16 shots and CLIP ViT-B/16, accuracy in %: CoOp 83.07,
CoCoOp 71.57, MaPLe 83.57, PromptSRC 83.83 (PromptSRC, arXiv 2307.06948, table 13);
PLOT++ 84.55 (its authors' repository, CHENGY12/PLOT).
"""

from ml_collections import ConfigDict

from dpl_jax import config as base


def get_config(shortcuts: str | None = None) -> ConfigDict:
    """Settings; ``shortcuts`` such as "shots=4,seed=2"."""
    config = base.get_config()
    config.data.name = "stanford_cars"
    config.data.augment = "crop_flip"
    # CoOp's rule, so that the published numbers can be compared.
    config.data.allow_fewer_shots = True
    return base.with_shortcuts(config, shortcuts)
