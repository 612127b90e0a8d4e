"""EuroSAT: land use from satellite images.

    python launch/search.py --config=configs/eurosat.py --config.data.root=DIR --workdir=RUN
    python launch/train.py --config=configs/eurosat.py --config.data.root=DIR --search=RUN
    python -m dpl_jax.data check --config=configs/eurosat.py --config.data.root=DIR

DIR holds the folder eurosat/ (docs/datasets.md).
10 classes; train / val / test: 13500 / 5400 / 8100 images.
Template: "a centered satellite photo of {}."
Data: EuroSAT.zip (the RGB images, folder 2750) and CoOp's split_zhou_EuroSAT.json.

Published with 16 shots and CLIP ViT-B/16, accuracy in %: CoOp 84.93,
CoCoOp 73.22, MaPLe 92.33, PromptSRC 92.43 (PromptSRC, arXiv 2307.06948, table 13);
PLOT++ 92.00 (its authors' repository, CHENGY12/PLOT).
"""

from ml_collections import ConfigDict

from dpl_jax import config as base


def get_config(shortcuts: str | None = None) -> ConfigDict:
    """Settings; ``shortcuts`` such as "shots=4,seed=2"."""
    config = base.get_config()
    config.data.name = "eurosat"
    config.data.augment = "crop_flip"
    # CoOp's rule, so that the published numbers can be compared.
    config.data.allow_fewer_shots = True
    return base.with_shortcuts(config, shortcuts)
