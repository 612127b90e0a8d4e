"""ImageNet (ILSVRC 2012).

    python launch/search.py --config=configs/imagenet.py --config.data.root=DIR --workdir=RUN
    python launch/train.py --config=configs/imagenet.py --config.data.root=DIR --search=RUN
    python -m dpl_jax.data check --config=configs/imagenet.py --config.data.root=DIR

DIR holds the folder imagenet/ (docs/datasets.md).
1000 classes; train / val / test: 1281167 / 0 / 50000 images.
Template: "a photo of a {}."
Data: the training and validation images of ILSVRC 2012, and CoOp's classnames.txt.

Published with 16 shots and CLIP ViT-B/16, accuracy in %: CoOp 71.87,
CoCoOp 70.83, MaPLe 72.33, PromptSRC 73.17 (PromptSRC, arXiv 2307.06948, table 13);
PLOT++ 72.60 (its authors' repository, CHENGY12/PLOT).
The validation images are the test set, as everywhere. For the search, part of the few-shot train
set is held out (16 shots: 12 train, 4 validate); the training then uses all shots.
"""

from ml_collections import ConfigDict

from dpl_jax import config as base


def get_config(shortcuts: str | None = None) -> ConfigDict:
    """Settings; ``shortcuts`` such as "shots=4,seed=2"."""
    config = base.get_config()
    config.data.name = "imagenet"
    config.data.augment = "crop_flip"
    # CoOp's rule, so that the published numbers can be compared.
    config.data.allow_fewer_shots = True
    return base.with_shortcuts(config, shortcuts)
