"""ImageNet-Sketch: drawings of ImageNet's classes; for testing only.

    python -m dpl_jax.data check --config=configs/imagenet_sketch.py --config.data.root=DIR

The last step of domain generalisation: train on ImageNet (configs/imagenet.py), evaluate here.
DIR holds the folder imagenet-sketch/ (docs/datasets.md).
1000 classes, numbered as in ImageNet;
no train or val images, 50889 test images.
Template: "a photo of a {}."
Data: the images of HaohanWang/ImageNet-Sketch, and the classnames.txt of
CoOp's ImageNet. Compare with the zero-shot row of the same evaluation.
"""

from ml_collections import ConfigDict

from dpl_jax import config as base


def get_config(shortcuts: str | None = None) -> ConfigDict:
    """Settings; ``shortcuts`` such as "shots=4,seed=2"."""
    config = base.get_config()
    config.data.name = "imagenet_sketch"
    return base.with_shortcuts(config, shortcuts)
