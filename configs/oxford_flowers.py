"""OxfordFlowers: flowers of the Flowers102 dataset.

    python launch/search.py --config=configs/oxford_flowers.py --config.data.root=DIR --workdir=RUN
    python launch/train.py --config=configs/oxford_flowers.py --config.data.root=DIR --search=RUN
    python -m dpl_jax.data check --config=configs/oxford_flowers.py --config.data.root=DIR

DIR holds the folder oxford_flowers/ (docs/datasets.md).
102 classes; train / val / test: 4093 / 1633 / 2463 images.
Template: "a photo of a {}, a type of flower."
Data: 102flowers.tgz of Oxford's Flowers102 and CoOp's split_zhou_OxfordFlowers.json.

Published with 16 shots and CLIP ViT-B/16, accuracy in %: CoOp 97.07,
CoCoOp 87.84, MaPLe 97.00, PromptSRC 97.60 (PromptSRC, arXiv 2307.06948, table 13);
PLOT++ 97.56 (its authors' repository, CHENGY12/PLOT).
"""

from ml_collections import ConfigDict

from dpl_jax import config as base


def get_config(shortcuts: str | None = None) -> ConfigDict:
    """Settings; ``shortcuts`` such as "shots=4,seed=2"."""
    config = base.get_config()
    config.data.name = "oxford_flowers"
    config.data.augment = "crop_flip"
    # CoOp's rule, so that the published numbers can be compared.
    config.data.allow_fewer_shots = True
    return base.with_shortcuts(config, shortcuts)
