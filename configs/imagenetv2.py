"""ImageNet-V2 (matched frequency): new photos of ImageNet's classes; for testing only.

    python -m dpl_jax.data check --config=configs/imagenetv2.py --config.data.root=DIR

The last step of domain generalisation: train on ImageNet (configs/imagenet.py), evaluate here.
DIR holds the folder imagenetv2/ (docs/datasets.md).
1000 classes, numbered as in ImageNet;
no train or val images, 10000 test images.
Template: "a photo of a {}."
Data: imagenetv2-matched-frequency.tar.gz of its authors, and the classnames.txt of
CoOp's ImageNet. Compare with the zero-shot row of the same evaluation.
"""

from ml_collections import ConfigDict

from dpl_jax import config as base


def get_config(shortcuts: str | None = None) -> ConfigDict:
    """Settings; ``shortcuts`` such as "shots=4,seed=2"."""
    config = base.get_config()
    config.data.name = "imagenetv2"
    return base.with_shortcuts(config, shortcuts)
