"""Food101: dishes.

    python launch/search.py --config=configs/food101.py --config.data.root=DIR --workdir=RUN
    python launch/train.py --config=configs/food101.py --config.data.root=DIR --search=RUN
    python -m dpl_jax.data check --config=configs/food101.py --config.data.root=DIR

DIR holds the folder food-101/ (docs/datasets.md).
101 classes; train / val / test: 50500 / 20200 / 30300 images.
Template: "a photo of {}, a type of food."
Data: food-101.tar.gz of ETH Zurich and CoOp's split_zhou_Food101.json.

Published with 16 shots and CLIP ViT-B/16, accuracy in %: CoOp 84.20,
CoCoOp 87.25, MaPLe 85.33, PromptSRC 87.50 (PromptSRC, arXiv 2307.06948, table 13);
PLOT++ 87.11 (its authors' repository, CHENGY12/PLOT).
"""

from ml_collections import ConfigDict

from dpl_jax import config as base


def get_config(shortcuts: str | None = None) -> ConfigDict:
    """Settings; ``shortcuts`` such as "shots=4,seed=2"."""
    config = base.get_config()
    config.data.name = "food101"
    config.data.augment = "crop_flip"
    # CoOp's rule, so that the published numbers can be compared.
    config.data.allow_fewer_shots = True
    return base.with_shortcuts(config, shortcuts)
