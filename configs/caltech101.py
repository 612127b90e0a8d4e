"""Caltech101: objects and scenes.

    python launch/search.py --config=configs/caltech101.py --config.data.root=DIR --workdir=RUN
    python launch/train.py --config=configs/caltech101.py --config.data.root=DIR --search=RUN
    python -m dpl_jax.data check --config=configs/caltech101.py --config.data.root=DIR

DIR holds the folder caltech-101/ (docs/datasets.md).
100 classes (without background and faces_easy); train / val / test: 4128 / 1649 / 2465 images.
Template: "a photo of a {}."
Data: 101_ObjectCategories.tar.gz of Caltech's data archive and CoOp's split_zhou_Caltech101.json.

Published with 16 shots and CLIP ViT-B/16, accuracy in %: CoOp 95.57,
CoCoOp 95.16, MaPLe 96.00, PromptSRC 96.07 (PromptSRC, arXiv 2307.06948, table 13);
PLOT++ 96.04 (its authors' repository, CHENGY12/PLOT).
Zero-shot CLIP: 93.3 (CoOp's repository). One test image is 0.041 points and the standard error at
96 % is 0.39, so single runs that differ by less than about 1 point do not differ.
"""

from ml_collections import ConfigDict

from dpl_jax import config as base


def get_config(shortcuts: str | None = None) -> ConfigDict:
    """Settings; ``shortcuts`` such as "shots=4,seed=2"."""
    config = base.get_config()
    config.data.name = "caltech101"
    config.data.augment = "crop_flip"
    # CoOp's rule, so that the published numbers can be compared.
    config.data.allow_fewer_shots = True
    return base.with_shortcuts(config, shortcuts)
