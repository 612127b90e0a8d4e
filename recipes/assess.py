"""Measures a pretrained CLIP on real images that took no part in its training.

python -m recipes.assess tiny
"""

from absl import flags

from dpl_jax import cli
from dpl_jax.clip.model import find_folder
from recipes.tiny.assess import assess

CLIP = flags.DEFINE_string("clip", "tiny", "A CLIP's folder, or tiny.")


def main() -> None:
    """Prints the accuracies."""
    accuracy = assess(find_folder(CLIP.value))
    print(f"digits: zero-shot {accuracy['zero_shot']} %, linear probe {accuracy['linear_probe']} %")


if __name__ == "__main__":
    cli.run(main, positional="clip")
