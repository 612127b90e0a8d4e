"""What is measured: a CLIP with random weights, made-up images, and texts of real lengths."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax import config as base
from dpl_jax.clip.config import ClipConfig, TextConfig, VisionConfig
from dpl_jax.clip.model import Clip
from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.clip.texts import Texts, prepare_texts
from dpl_jax.clip.tokenizer import Tokenizer
from dpl_jax.clip.weights import abstract_params
from dpl_jax.prompts.trees import TOWERS, init_discrete, init_supernet
from dpl_jax.training.inputs import Batch, Task
from dpl_jax.training.optimizers import search_optimizer, train_optimizer
from dpl_jax.training.steps import State, create_state

VIT_B16 = ClipConfig(text=TextConfig(), vision=VisionConfig(patch_size=16))
# For a smoke run: everything of ViT-B/16, only smaller.
SMALL = ClipConfig(
    text=TextConfig(
        hidden_size=64, intermediate_size=256, num_hidden_layers=3, num_attention_heads=2
    ),
    vision=VisionConfig(
        hidden_size=96,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=3,
        image_size=64,
        patch_size=16,
    ),
)
# "a photo of a {}.": start of text and the template's four words come before the class name, a
# full stop and the end of text behind it. Share of the class names that take 1, 2, .. 5 tokens,
# about as Caltech101's: its longest text has 12 tokens.
PREFIX = (49406, 320, 1125, 539, 320)
FULL_STOP, END = 269, 49407
NAME_TOKENS = (0.60, 0.26, 0.09, 0.04, 0.01)
STEPS_PER_EPOCH = 100


class Problem(NamedTuple):
    """Everything that a step takes.

    Attributes:
      clip: random weights.
      input_ids: (C, 77) token ids as CLIP's tokenizer pads them.
      texts: the same, cut and with the common prefix taken out.
      batches: a train and a validation batch.
      task: what :func:`dpl_jax.training.steps.search_step` wants besides.
      config: all settings.
    """

    clip: Clip
    input_ids: np.ndarray
    texts: Texts
    batches: tuple[Batch, Batch]
    task: Task
    config: ConfigDict

    @property
    def search(self) -> FrozenConfigDict:
        """``config.search``."""
        return FrozenConfigDict(self.config.search)

    @property
    def train(self) -> FrozenConfigDict:
        """``config.train``."""
        return FrozenConfigDict(self.config.train)

    def search_state(self) -> State:
        """The state before the first step of a search."""
        prompts, alphas = init_supernet(
            self.clip.sizes, self.search.max_context_length, 1, self.search.prompt_scale
        )
        params = {"prompts": prompts, "alphas": alphas}
        return create_state(params, search_optimizer(self.search, STEPS_PER_EPOCH), 1)

    def train_state(self) -> State:
        """The state before the first step of stage 2, with lengths 0 to T, T among them."""
        random = np.random.default_rng(0)
        longest = self.search.max_context_length
        lengths = {}
        for tower in TOWERS:
            lengths[tower] = random.integers(0, longest + 1, self.clip.sizes.layers[tower])
            lengths[tower][0] = longest
        prompts = init_discrete(self.clip.sizes, lengths, 1, self.train.prompt_scale)
        return create_state(
            {"prompts": prompts}, train_optimizer(self.train, STEPS_PER_EPOCH), 1, lengths
        )


def make_problem(
    sizes: ClipConfig,
    *,
    classes: int = 100,
    longest: int = 6,
    batch: int = 4,
    dtype: str = "float32",
    params: Any = None,
) -> Problem:
    """A search on ``classes`` classes with T = ``longest`` and a batch of ``batch`` images.

    Args:
      sizes: of the CLIP.
      classes: C.
      longest: T.
      batch: B, of the train and of the validation batch.
      dtype: of the towers' matrix products.
      params: of another problem, to share its memory.
    """
    settings = base.get_config()
    settings.search.max_context_length = longest
    settings.search.prompt_scale.update({"image": 0.02, "text": 0.02})
    # What a class or a step costs does not depend on the numbers, as long as they are finite.
    clip = Clip(
        params=random_params(sizes) if params is None else params,
        sizes=sizes,
        dtype=dtype,
        tokenizer=Tokenizer("", sizes.text.max_position_embeddings),
        preprocessing=Preprocessing(sizes.vision.image_size, sizes.vision.image_size),
        source="random weights",
        folder="",
    )
    input_ids = class_ids(classes, sizes.text.max_position_embeddings)
    texts = prepare_texts(input_ids, sizes.text)
    side = sizes.vision.image_size
    task = Task(
        train=None,
        val=None,
        texts=texts,
        teacher_texts=jnp.zeros((classes, sizes.projection_dim)),
        preprocessing=Preprocessing(side, side),
    )
    batches = random_batch(1, batch, side, classes), random_batch(2, batch, side, classes)
    return Problem(clip, input_ids, texts, batches, task, settings)


def class_ids(classes: int, length: int) -> np.ndarray:
    """Token ids (C, length) of one text per class, padded with the end of text as CLIP does."""
    random = np.random.default_rng(0)
    ids = np.full((classes, length), END, np.int32)
    ids[:, : len(PREFIX)] = PREFIX
    names = random.choice(len(NAME_TOKENS), size=classes, p=NAME_TOKENS) + 1
    names[0] = len(NAME_TOKENS)
    for row, tokens in zip(ids, names, strict=True):
        row[len(PREFIX) : len(PREFIX) + tokens] = random.integers(1000, 40000, tokens)
        row[len(PREFIX) + tokens] = FULL_STOP
    return ids


def random_params(sizes: ClipConfig) -> Any:
    """Random weights with CLIP's scale; those of a norm are 1 and biases small."""
    random = np.random.default_rng(0)

    def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        values = 0.02 * random.standard_normal(leaf.shape, np.float32)
        return jnp.asarray(values + (path[-1].key == "scale"), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, abstract_params(sizes))


def random_batch(seed: int, batch: int, side: int, classes: int) -> Batch:
    """Normalised images (B, side, side, 3) and labels (B,)."""
    random = np.random.default_rng(seed)
    images = random.standard_normal((batch, side, side, 3), np.float32)
    return jnp.asarray(images), jnp.asarray(random.integers(0, classes, batch, np.int32))
