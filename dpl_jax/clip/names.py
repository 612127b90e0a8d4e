"""The names of CLIPs: of those in this package, and the short ones of those on the hub."""

from __future__ import annotations

from pathlib import Path

from dpl_jax.errors import WeightsNotFoundError

ASSETS = Path(__file__).resolve().parent.parent / "assets"
# Names of the CLIPs that may come with this package, in folders such as assets/tiny_clip.
EMBEDDED = ("tiny", "small")
OPENAI = {
    "ViT-B/32": "openai/clip-vit-base-patch32",
    "ViT-B/16": "openai/clip-vit-base-patch16",
    "ViT-L/14": "openai/clip-vit-large-patch14",
    "ViT-L/14@336px": "openai/clip-vit-large-patch14-336",
}
# open_clip's model and tag (src/open_clip/pretrained.py).
LAION = {
    ("vit-b-32", "laion2b_s34b_b79k"): "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    ("vit-b-32", "datacomp_xl_s13b_b90k"): "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
    ("vit-b-32-256", "datacomp_s34b_b86k"): "laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K",
    ("vit-b-16", "laion2b_s34b_b88k"): "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
    ("vit-b-16", "datacomp_xl_s13b_b90k"): "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
    ("vit-l-14", "laion2b_s32b_b82k"): "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
    ("vit-l-14", "datacomp_xl_s13b_b90k"): "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
    ("vit-h-14", "laion2b_s32b_b79k"): "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    ("vit-g-14", "laion2b_s34b_b88k"): "laion/CLIP-ViT-g-14-laion2B-s34B-b88K",
    ("vit-bigg-14", "laion2b_s39b_b160k"): "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
}
HUB_PREFIX = "hf-hub:"  # open_clip's way to write a hub id
RESNETS = ("rn50", "rn101", "resnet")


def embedded_folder(name: str) -> Path | None:
    """The folder of a CLIP that comes with this package; None for any other name."""
    folder = ASSETS / f"{name}_clip"
    return folder if name in EMBEDDED and folder.is_dir() else None


def to_hub_id(name: str) -> str:
    """The hub id that a short name stands for; any other text as it is.

    Understood are OpenAI's names (``ViT-B/16``, ``ViT-L/14@336px``) in any case, and open_clip's:
    ``ViT-B-16`` alone (OpenAI's weights), or with a tag, ``ViT-B-16/laion2b_s34b_b88k`` (or ``:``
    or a space in place of ``/``), and ``hf-hub:OWNER/NAME``.

    Raises:
      WeightsNotFoundError: for a model or a tag that cannot be had in a format read here.
    """
    if name.lower().startswith(HUB_PREFIX):
        return name[len(HUB_PREFIX) :]
    if name.lower().startswith(RESNETS):
        raise WeightsNotFoundError(
            f"{name} is a CLIP with a ResNet; prompts go into transformer layers, so choose one "
            f"with a ViT: {', '.join(OPENAI)}."
        )
    model, tag = _model_and_tag(name)
    if not model:
        return name
    known = {_dashed(short): hub_id for short, hub_id in OPENAI.items()}
    if tag == "openai" and model.removesuffix("-quickgelu") in known:
        return known[model.removesuffix("-quickgelu")]
    if (model, tag) in LAION:
        return LAION[model, tag]
    tags = [known_tag for known_model, known_tag in LAION if known_model == model]
    tags += ["openai"] * (model in known)
    raise WeightsNotFoundError(
        f"{name}: no weights of that name are known here"
        + (f"; of {model} there are the tags {', '.join(tags)}" if tags else "")
        + ". Give a hub id (OWNER/NAME) or a folder, or one of "
        f"{', '.join(OPENAI)}."
    )


def _model_and_tag(name: str) -> tuple[str, str]:
    """``ViT-B/16`` as ("vit-b-16", "openai"); ("", "") for what is not a short name."""
    dashed = _dashed(name)
    if not dashed.startswith(("vit-b-", "vit-l-", "vit-h-", "vit-g-", "vit-bigg-")):
        return "", ""
    model, separator, tag = dashed.replace(" ", "/").replace(":", "/").partition("/")
    return model, tag.strip("/") if separator else "openai"


def _dashed(name: str) -> str:
    """OpenAI's spelling as open_clip's: ``ViT-L/14@336px`` as ``vit-l-14-336``."""
    lower = name.lower().removesuffix("px").replace("@", "-")
    head, separator, rest = lower.partition("/")
    one_letter = separator and head in ("vit-b", "vit-l", "vit-h", "vit-g", "vit-bigg")
    return f"{head}-{rest}" if one_letter else lower
