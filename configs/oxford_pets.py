"""OxfordPets: breeds of cats and dogs.

    python launch/search.py --config=configs/oxford_pets.py --config.data.root=DIR --workdir=RUN
    python launch/train.py --config=configs/oxford_pets.py --config.data.root=DIR --search=RUN
    python -m dpl_jax.data check --config=configs/oxford_pets.py --config.data.root=DIR

DIR holds the folder oxford_pets/ (docs/datasets.md).
37 classes; train / val / test: 2944 / 736 / 3669 images.
Template: "a photo of a {}, a type of pet."
Data: images and annotations of the Oxford-IIIT Pet dataset and CoOp's split_zhou_OxfordPets.json.

Published with 16 shots and CLIP ViT-B/16, accuracy in %: CoOp 91.87,
CoCoOp 93.34, MaPLe 92.83, PromptSRC 93.67 (PromptSRC, arXiv 2307.06948, table 13);
PLOT++ 93.59 (its authors' repository, CHENGY12/PLOT).
"""

from ml_collections import ConfigDict

from dpl_jax import config as base


def get_config(shortcuts: str | None = None) -> ConfigDict:
    """Settings; ``shortcuts`` such as "shots=4,seed=2"."""
    config = base.get_config()
    config.data.name = "oxford_pets"
    config.data.augment = "crop_flip"
    # CoOp's rule, so that the published numbers can be compared.
    config.data.allow_fewer_shots = True
    return base.with_shortcuts(config, shortcuts)
