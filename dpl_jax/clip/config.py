"""Sizes of a CLIP, read from the ``config.json`` that Hugging Face stores beside the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from dpl_jax.errors import WeightsError
from dpl_jax.files import limits
from dpl_jax.files.json import read_json

# OpenAI's published configs name end-of-text 2, which is not the id their tokenizer writes;
# transformers then takes the largest id of the row instead.
LEGACY_EOS_ID = 2
ACTIVATIONS = ("quick_gelu", "gelu")
# The largest value of every size; all but end-of-text are at least 1.
LARGEST = {
    "hidden_size": limits.CLIP_WIDTH,
    "intermediate_size": limits.CLIP_WIDTH,
    "num_hidden_layers": limits.CLIP_LAYERS,
    "num_attention_heads": limits.CLIP_WIDTH,
    "vocab_size": limits.CLIP_WORDS,
    "max_position_embeddings": limits.CLIP_POSITIONS,
    "eos_token_id": limits.CLIP_WORDS,
    "num_channels": 3,
    "image_size": limits.CLIP_SIDE,
    "patch_size": limits.CLIP_SIDE,
    "projection_dim": limits.CLIP_WIDTH,
}
C = TypeVar("C", "TextConfig", "VisionConfig")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """Sizes shared by both towers; the defaults are those of transformers' ``CLIPConfig``."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int = 12
    num_attention_heads: int
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        for name in LARGEST.keys() & vars(self).keys():
            check_size(name, getattr(self, name))
        epsilon = self.layer_norm_eps
        if not isinstance(epsilon, float) or not 0 < epsilon < 1:
            raise WeightsError(f"config.json: layer_norm_eps is {epsilon!r:.100}, not in (0, 1).")
        if self.hidden_act not in ACTIVATIONS:
            raise WeightsError(
                f"config.json asks for the activation {self.hidden_act!r:.100}; "
                f"a CLIP tower here has one of {', '.join(ACTIVATIONS)}."
            )
        if self.hidden_size % self.num_attention_heads:
            raise WeightsError(
                f"config.json: the width {self.hidden_size} is not a multiple of "
                f"the {self.num_attention_heads} attention heads."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextConfig(TowerConfig):
    """Sizes of the text tower."""

    hidden_size: int = 512
    intermediate_size: int = 2048
    num_attention_heads: int = 8
    vocab_size: int = 49408
    max_position_embeddings: int = 77
    eos_token_id: int = 49407


@dataclasses.dataclass(frozen=True, kw_only=True)
class VisionConfig(TowerConfig):
    """Sizes of the image tower."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_attention_heads: int = 12
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_channels != 3 or self.patch_size > self.image_size:
            raise WeightsError(
                f"config.json: an image of {self.num_channels} channels and {self.image_size} "
                f"pixels a side, in patches of {self.patch_size}, is none that a CLIP takes here."
            )

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Sizes of a CLIP."""

    text: TextConfig
    vision: VisionConfig
    projection_dim: int = 512

    def __post_init__(self) -> None:
        check_size("projection_dim", self.projection_dim)

    @property
    def layers(self) -> dict[str, int]:
        """Number of layers of each tower."""
        return {
            "image": self.vision.num_hidden_layers,
            "text": self.text.num_hidden_layers,
        }

    @property
    def widths(self) -> dict[str, int]:
        """Width of each tower."""
        return {"image": self.vision.hidden_size, "text": self.text.hidden_size}


def check_size(name: str, value: Any) -> None:
    """Raises WeightsError unless ``value`` is a whole number that this size can be."""
    least = 0 if name == "eos_token_id" else 1
    if type(value) is not int or not least <= value <= LARGEST[name]:
        raise WeightsError(
            f"config.json: {name} is {value!r:.100}; it must be a whole number from {least} to "
            f"{LARGEST[name]}."
        )


def from_hugging_face(config: Mapping[str, Any]) -> ClipConfig:
    """Reads the sizes from the contents of a ``config.json`` of a ``CLIPModel``.

    Raises:
      WeightsError: when it is not a CLIP's, or a size cannot work.
    """
    if config.get("model_type", "clip") != "clip":
        raise WeightsError(
            f"config.json describes a {config['model_type']!r:.100} model; dpl_jax needs a "
            'CLIPModel (model_type "clip") such as openai/clip-vit-base-patch16.'
        )
    # Files written before transformers 4.30 repeat both towers under these older names.
    text = config.get("text_config") or config.get("text_config_dict") or {}
    vision = config.get("vision_config") or config.get("vision_config_dict") or {}
    if not isinstance(text, Mapping) or not isinstance(vision, Mapping):
        raise WeightsError("config.json: text_config and vision_config must be mappings of sizes.")
    return ClipConfig(
        text=_pick(TextConfig, text),
        vision=_pick(VisionConfig, vision),
        projection_dim=config.get("projection_dim", 512),
    )


def read_config(path: Path) -> ClipConfig:
    """Reads a ``config.json``.

    Raises:
      WeightsError: when the file is no JSON object or not a CLIP's.
    """
    try:
        contents = read_json(path)
    except (ValueError, OSError) as error:
        raise WeightsError(f"{error} Download it again.") from error
    if not isinstance(contents, dict):
        raise WeightsError(f"{path} holds no JSON object; download it again.")
    return from_hugging_face(contents)


def to_hugging_face(sizes: ClipConfig) -> dict[str, Any]:
    """The inverse of :func:`from_hugging_face`."""
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": sizes.projection_dim,
        "text_config": {
            "model_type": "clip_text_model",
            "projection_dim": sizes.projection_dim,
            **dataclasses.asdict(sizes.text),
        },
        "vision_config": {
            "model_type": "clip_vision_model",
            "projection_dim": sizes.projection_dim,
            **dataclasses.asdict(sizes.vision),
        },
    }


def _pick(cls: type[C], values: Mapping[str, Any]) -> C:
    names = {field.name for field in dataclasses.fields(cls)}
    return cls(**{name: value for name, value in values.items() if name in names})
