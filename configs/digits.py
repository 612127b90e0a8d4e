"""The embedded default: handwritten digits with the tiny CLIP, offline, in minutes on a laptop.

    python launch/search.py --config=configs/digits.py

10 classes; 898 / 359 / 540 train / val / test images of scikit-learn's digits, never seen by the
tiny CLIP, which learned from drawn glyphs. Template: "a photo of the digit {}."
"""

from ml_collections import ConfigDict

from dpl_jax import config as base


def get_config(shortcuts: str | None = None) -> ConfigDict:
    """Settings; ``shortcuts`` such as "shots=4,seed=2"."""
    config = base.get_config()
    config.clip.path = "tiny"
    config.data.name = "digits"
    # The released scale of 1 drowns the small tokens of a small CLIP.
    config.search.prompt_scale.image = 0.02
    config.search.prompt_scale.text = 0.02
    return base.with_shortcuts(config, shortcuts)
