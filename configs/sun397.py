"""SUN397: scenes.

    python launch/search.py --config=configs/sun397.py --config.data.root=DIR --workdir=RUN
    python launch/train.py --config=configs/sun397.py --config.data.root=DIR --search=RUN
    python -m dpl_jax.data check --config=configs/sun397.py --config.data.root=DIR

DIR holds the folder sun397/ (docs/datasets.md).
397 classes; train / val / test: 15880 / 3970 / 19850 images.
Template: "a photo of a {}."
Data: SUN397.tar.gz of Princeton and CoOp's split_zhou_SUN397.json.

Published with 16 shots and CLIP ViT-B/16, accuracy in %: CoOp 74.67,
CoCoOp 72.15, MaPLe 75.53, PromptSRC 77.23 (PromptSRC, arXiv 2307.06948, table 13);
PLOT++ 76.03 (its authors' repository, CHENGY12/PLOT).
"""

from ml_collections import ConfigDict

from dpl_jax import config as base


def get_config(shortcuts: str | None = None) -> ConfigDict:
    """Settings; ``shortcuts`` such as "shots=4,seed=2"."""
    config = base.get_config()
    config.data.name = "sun397"
    config.data.augment = "crop_flip"
    # CoOp's rule, so that the published numbers can be compared.
    config.data.allow_fewer_shots = True
    return base.with_shortcuts(config, shortcuts)
