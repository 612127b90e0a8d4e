"""DTD: textures in words (Describable Textures).

    python launch/search.py --config=configs/dtd.py --config.data.root=DIR --workdir=RUN
    python launch/train.py --config=configs/dtd.py --config.data.root=DIR --search=RUN
    python -m dpl_jax.data check --config=configs/dtd.py --config.data.root=DIR

DIR holds the folder dtd/ (docs/datasets.md).
47 classes; train / val / test: 2820 / 1128 / 1692 images.
Template: "{} texture."
Data: dtd-r1.0.1.tar.gz of Oxford and CoOp's split_zhou_DescribableTextures.json.

Published with 16 shots and CLIP ViT-B/16, accuracy in %: CoOp 69.87,
CoCoOp 63.04, MaPLe 71.33, PromptSRC 72.73 (PromptSRC, arXiv 2307.06948, table 13);
PLOT++ 71.43 (its authors' repository, CHENGY12/PLOT).
"""

from ml_collections import ConfigDict

from dpl_jax import config as base


def get_config(shortcuts: str | None = None) -> ConfigDict:
    """Settings; ``shortcuts`` such as "shots=4,seed=2"."""
    config = base.get_config()
    config.data.name = "dtd"
    config.data.augment = "crop_flip"
    # CoOp's rule, so that the published numbers can be compared.
    config.data.allow_fewer_shots = True
    return base.with_shortcuts(config, shortcuts)
