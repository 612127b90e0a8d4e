"""A frozen CLIP: sizes, parameters, tokenizer and preprocessing, loaded together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from flax import struct
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dpl_jax.clip import open_clip
from dpl_jax.clip.config import ClipConfig, TextConfig, read_config
from dpl_jax.clip.names import embedded_folder, to_hub_id
from dpl_jax.clip.preprocessing import Preprocessing, read_preprocessing
from dpl_jax.clip.tokenizer import Tokenizer
from dpl_jax.clip.weights import Params, check_sha256, load_params
from dpl_jax.errors import ConfigError, WeightsNotFoundError

# It becomes part of an address and of a path in the hub's cache.
REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,200}", re.ASCII)
# What a CLIP consists of; the weights come as one file or several with an index.
TEXT_FILES = (
    "config.json",
    "vocab.json",
    "merges.txt",
    "tokenizer*.json",
    "special_tokens_map.json",
    open_clip.CONFIG,
)
FILES = (
    *TEXT_FILES,
    "model*.safetensors",
    "model.safetensors.index.json",
    "preprocessor_config.json",
    "processor_config.json",
)


class Clip(struct.PyTreeNode):
    """A frozen CLIP. A pytree whose only leaves are the parameters.

    Attributes:
      params: the frozen parameters, ``{"image": .., "text": .., "logit_scale": ()}``, float32.
      sizes: of both towers, from its config.json.
      dtype: of the towers' matrix products, "float32" or "bfloat16".
      tokenizer: callable, texts to ids.
      preprocessing: how it wants its images.
      source: the folder or hub id that it was loaded from.
      folder: where its files lie on this machine.
      remat: keep only the hidden states between layers for the gradient, which computes the rest
        again (exact).
      class_chunks: encode the classes in so many parts, one after the other (exact; a part keeps
        nothing for the gradient, which computes it again).
      mesh: of the devices that share the images and the classes (:mod:`dpl_jax.runtime.mesh`); None
        for one device.
    """

    params: Params
    sizes: ClipConfig = struct.field(pytree_node=False)
    dtype: str = struct.field(pytree_node=False)
    tokenizer: Tokenizer = struct.field(pytree_node=False)
    preprocessing: Preprocessing = struct.field(pytree_node=False)
    source: str = struct.field(pytree_node=False)
    folder: str = struct.field(pytree_node=False)
    remat: bool = struct.field(pytree_node=False, default=False)
    class_chunks: int = struct.field(pytree_node=False, default=1)
    mesh: Mesh | None = struct.field(pytree_node=False, default=None)

    def tokenize(self, texts: Sequence[str]) -> np.ndarray:
        """Token ids (C, S) int32 of ``texts``, S the longest; see :class:`Tokenizer`."""
        return self.tokenizer(texts)


def load_clip(
    path_or_hub_id: str | Path,
    dtype: str = "float32",
    revision: str | None = None,
    sha256: str = "",
) -> Clip:
    """Loads a CLIP in Hugging Face's format, or in open_clip's.

    Args:
      path_or_hub_id: a folder, a hub id such as "openai/clip-vit-base-patch16", a short name such
        as "ViT-B/16" (:mod:`dpl_jax.clip.names`), or "tiny" for the small CLIP that comes with
        this package.
      dtype: of the towers' matrix products, "float32" or "bfloat16"; everything else is float32.
      revision: commit, tag or branch of the hub repository.
      sha256: that the weights must have (:func:`dpl_jax.clip.weights.weights_sha256`); "" for any.

    Raises:
      WeightsNotFoundError: when there is no such folder and the hub cannot be reached.
      WeightsError: when the files do not make up a CLIP, or are others than ``sha256`` says.
      DataError: when they ask for images in another way than CLIP's.
      ConfigError: for another ``dtype``.
    """
    if dtype not in ("float32", "bfloat16"):
        raise ConfigError(f"dtype is {dtype!r}; the towers compute in float32 or bfloat16.")
    folder = find_folder(str(path_or_hub_id), revision)
    check_sha256(folder, sha256, str(path_or_hub_id))
    sizes = _read_sizes(folder)
    return Clip(
        params=load_params(folder, sizes),
        sizes=sizes,
        dtype=dtype,
        tokenizer=_tokenizer(folder, sizes.text),
        preprocessing=read_preprocessing(folder, sizes.vision.image_size),
        source=str(path_or_hub_id),
        folder=str(folder),
    )


def load_configured(clip: ConfigDict) -> Clip:
    """The CLIP of a config's ``clip``; see :func:`load_clip`."""
    # A run of an older version has no sha256.
    return load_clip(clip.path, clip.dtype, clip.revision or None, clip.get("sha256", ""))


def load_tokenizer(path_or_hub_id: str | Path, revision: str | None = None) -> Tokenizer:
    """The tokenizer of a CLIP alone, for which no weights are downloaded.

    Raises:
      WeightsNotFoundError: as :func:`load_clip`.
      WeightsError: when its config is damaged; the tokenizer's files are read at the first use.
    """
    folder = find_folder(str(path_or_hub_id), revision, TEXT_FILES)
    return _tokenizer(folder, _read_sizes(folder).text)


def _tokenizer(folder: Path, text: TextConfig) -> Tokenizer:
    return Tokenizer(str(folder), text.max_position_embeddings, text.vocab_size, text.eos_token_id)


def find_folder(
    path_or_hub_id: str, revision: str | None = None, files: Sequence[str] = FILES
) -> Path:
    """The local folder of a CLIP; its ``files`` are downloaded when it is not one already."""
    if own := embedded_folder(path_or_hub_id):
        return own
    path = Path(path_or_hub_id).expanduser()
    if path.is_dir():
        return path
    hub_id = to_hub_id(path_or_hub_id)
    if path.is_absolute() or hub_id.startswith((".", "~")) or hub_id.count("/") != 1:
        raise WeightsNotFoundError(
            f"There is no folder {path_or_hub_id}. Give a folder with a CLIP's files "
            "(config.json, model.safetensors, tokenizer), a hub id, a short name such as "
            'ViT-B/16, or "tiny".'
        )
    if revision and (".." in revision or not REVISION.fullmatch(revision)):
        raise ConfigError(
            f"clip.revision is {revision!r:.100}; it is a commit, a tag or a branch of the hub."
        )
    return _download(hub_id, revision, files)


def _read_sizes(folder: Path) -> ClipConfig:
    """The sizes of the CLIP in a folder.

    Raises:
      WeightsNotFoundError: when it has no config of a CLIP.
      WeightsError: when the config is damaged or not a CLIP's.
    """
    if open_clip.is_open_clip(folder):
        return open_clip.read_sizes(folder)
    if (folder / "config.json").is_file():
        return read_config(folder / "config.json")
    raise WeightsNotFoundError(
        f"{folder} has no config.json (and no {open_clip.CONFIG}), so it is not a CLIP's folder."
    )


def _download(hub_id: str, revision: str | None, files: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download

    def get(*patterns: str) -> Path:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=[*patterns]))

    try:
        folder = get(*files)
        # Many repositories hold the weights in both formats: one is enough.
        weights = open_clip.WEIGHTS if files is FILES and open_clip.is_open_clip(folder) else ()
        return get(*files, *weights) if weights else folder
    except Exception as error:  # the hub's client raises many kinds for one situation
        raise WeightsNotFoundError(
            f"{hub_id} (revision {revision or 'main'}) is neither a folder, nor in the local "
            f"cache, nor could it be downloaded ({type(error).__name__}). Without a network, copy "
            "config.json, model.safetensors, vocab.json, merges.txt and preprocessor_config.json "
            "of that repository into a folder and set --config.clip.path to it; or run the "
            "embedded default, which needs no download: --config=configs/digits.py"
        ) from error
