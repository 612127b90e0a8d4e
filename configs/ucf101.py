"""UCF101: human actions, from the middle frame of each video.

    python launch/search.py --config=configs/ucf101.py --config.data.root=DIR --workdir=RUN
    python launch/train.py --config=configs/ucf101.py --config.data.root=DIR --search=RUN
    python -m dpl_jax.data check --config=configs/ucf101.py --config.data.root=DIR

DIR holds the folder ucf101/ (docs/datasets.md).
101 classes; train / val / test: 7639 / 1898 / 3783 images.
Template: "a photo of a person doing {}."
Data: CoOp's UCF-101-midframes.zip and split_zhou_UCF101.json.

Published with 16 shots and CLIP ViT-B/16, accuracy in %: CoOp 82.23,
CoCoOp 78.14, MaPLe 85.03, PromptSRC 86.47 (PromptSRC, arXiv 2307.06948, table 13);
PLOT++ 85.34 (its authors' repository, CHENGY12/PLOT).
"""

from ml_collections import ConfigDict

from dpl_jax import config as base


def get_config(shortcuts: str | None = None) -> ConfigDict:
    """Settings; ``shortcuts`` such as "shots=4,seed=2"."""
    config = base.get_config()
    config.data.name = "ucf101"
    config.data.augment = "crop_flip"
    # CoOp's rule, so that the published numbers can be compared.
    config.data.allow_fewer_shots = True
    return base.with_shortcuts(config, shortcuts)
