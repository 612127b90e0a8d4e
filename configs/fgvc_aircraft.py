"""FGVCAircraft: variants of aircraft.

    python launch/search.py --config=configs/fgvc_aircraft.py --config.data.root=DIR --workdir=RUN
    python launch/train.py --config=configs/fgvc_aircraft.py --config.data.root=DIR --search=RUN
    python -m dpl_jax.data check --config=configs/fgvc_aircraft.py --config.data.root=DIR

DIR holds the folder fgvc_aircraft/ (docs/datasets.md).
100 classes; train / val / test: 3334 / 3333 / 3333 images.
Template: "a photo of a {}, a type of aircraft."
Data: fgvc-aircraft-2013b.tar.gz of Oxford, whose own lists are the split.

Published with 16 shots and CLIP ViT-B/16, accuracy in %: CoOp 43.40,
CoCoOp 31.21, MaPLe 48.40, PromptSRC 50.83 (PromptSRC, arXiv 2307.06948, table 13);
PLOT++ 46.74 (its authors' repository, CHENGY12/PLOT).
"""

from ml_collections import ConfigDict

from dpl_jax import config as base


def get_config(shortcuts: str | None = None) -> ConfigDict:
    """Settings; ``shortcuts`` such as "shots=4,seed=2"."""
    config = base.get_config()
    config.data.name = "fgvc_aircraft"
    config.data.augment = "crop_flip"
    # CoOp's rule, so that the published numbers can be compared.
    config.data.allow_fewer_shots = True
    return base.with_shortcuts(config, shortcuts)
