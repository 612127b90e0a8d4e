"""The text prompts: each dataset's template, and class names put into it."""

from __future__ import annotations

from collections.abc import Sequence

from dpl_jax.errors import DataError

PHOTO = "a photo of a {}."

# The hand-made templates of CoOp (arXiv 2109.01134), one per dataset.
TEMPLATES = {
    "imagenet": PHOTO,
    "imagenetv2": PHOTO,
    "imagenet_sketch": PHOTO,
    "imagenet_a": PHOTO,
    "imagenet_r": PHOTO,
    "caltech101": PHOTO,
    "sun397": PHOTO,
    "stanford_cars": PHOTO,
    "oxford_pets": "a photo of a {}, a type of pet.",
    "oxford_flowers": "a photo of a {}, a type of flower.",
    "fgvc_aircraft": "a photo of a {}, a type of aircraft.",
    "food101": "a photo of {}, a type of food.",
    "dtd": "{} texture.",
    "eurosat": "a centered satellite photo of {}.",
    "ucf101": "a photo of a person doing {}.",
    "digits": "a photo of the digit {}.",
    "folder": PHOTO,
}


def prompts_for(classnames: Sequence[str], template: str) -> list[str]:
    """Returns the C texts: every class name in the template, underscores as spaces.

    Raises:
        DataError: the template does not have exactly one ``{}``.
    """
    check_template(template)
    return [fill(template, classname) for classname in classnames]


def fill(template: str, classname: str) -> str:
    """Returns the text of one class: its name in place of every ``{}``, underscores as spaces."""
    return template.replace("{}", classname.replace("_", " "))


def check_template(template: str) -> str:
    """Returns the template.

    Raises:
        DataError: it does not have exactly one ``{}``.
    """
    if template.count("{}") != 1:
        raise DataError(
            f"The template {template!r} has {template.count('{}')} places for the class name; "
            'write {} exactly once, as in "a photo of a {}." (data.template).'
        )
    return template
