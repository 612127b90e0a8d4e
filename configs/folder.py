"""Images of one's own: class folders, no code to write.

    python launch/search.py --config=configs/folder.py --config.data.root=DIR --workdir=RUN
    python launch/train.py --config=configs/folder.py --config.data.root=DIR --search=RUN
    python -m dpl_jax.data check --config=configs/folder.py --config.data.root=DIR

DIR is either DIR/{train,val,test}/<class>/* (val may be missing) or DIR/<class>/*, which is then
split 50/20/30 with a fixed seed. Class names are the folders' names, or what DIR/classnames.json
says: {"n02123045": "tabby cat"}. Images that are not sorted are listed in a CSV file with columns
such as path,label,split: --config.data.labels=FILE. Any class count and sizes; at least as many
training images per class as shots, unless --config.data.allow_fewer_shots=true.
Template: "a photo of a {}.", or one's own: --config.data.template="an x-ray image of a {}."
There are no published numbers; compare with the zero-shot row of the same evaluation.
"""

from ml_collections import ConfigDict

from dpl_jax import config as base


def get_config(shortcuts: str | None = None) -> ConfigDict:
    """Settings; ``shortcuts`` such as "shots=4,seed=2"."""
    config = base.get_config()
    config.data.name = "folder"
    config.data.augment = "crop_flip"
    return base.with_shortcuts(config, shortcuts)
