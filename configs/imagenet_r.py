"""ImageNet-R: paintings, toys and other renditions of 200 of ImageNet's classes; for testing only.

    python -m dpl_jax.data check --config=configs/imagenet_r.py --config.data.root=DIR

The last step of domain generalisation: train on ImageNet (configs/imagenet.py), evaluate here.
DIR holds the folder imagenet-rendition/ (docs/datasets.md).
200 classes, those of ImageNet with the same wnids, in its order;
no train or val images, 30000 test images.
Template: "a photo of a {}."
Data: imagenet-r.tar of hendrycks/imagenet-r, and the classnames.txt of
CoOp's ImageNet. Compare with the zero-shot row of the same evaluation.
"""

from ml_collections import ConfigDict

from dpl_jax import config as base


def get_config(shortcuts: str | None = None) -> ConfigDict:
    """Settings; ``shortcuts`` such as "shots=4,seed=2"."""
    config = base.get_config()
    config.data.name = "imagenet_r"
    return base.with_shortcuts(config, shortcuts)
