"""Every setting, with its default: the base that the files in ``configs/`` start from.

The defaults of the search and of the training are those of Differentiable Prompt Learning
(Huang et al., IJCAI 2025) and its released code, unless a comment says otherwise.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from dpl_jax.clip.names import embedded_folder
from dpl_jax.errors import ConfigError

# Short names for `configs/NAME.py:shots=4,seed=2`.
SHORTCUTS = {
    "shots": "data.shots",
    "seed": "seed",
    "classes": "data.classes",
    "clip": "clip.path",
    "dtype": "clip.dtype",
    "T": "search.max_context_length",
}
AT_LEAST_ONE = (
    "search.max_context_length",
    "search.epochs",
    "search.batch_size",
    "search.val_batch_size",
    "train.epochs",
    "train.batch_size",
    "evaluate.batch_size",
    "checkpoint.every_epochs",
    "checkpoint.keep",
)
SHA256 = re.compile("[0-9a-fA-F]{64}")
LOWEST_TEMPERATURE = 1e-6  # alpha divided by less would leave float32
SCHEDULES = ("cosine", "constant")
CHOICES = {
    "clip.dtype": ("float32", "bfloat16"),
    "search.alphas.name": ("adam", "sgd"),
    "search.selection": ("argmax", "perturbation"),
    "search.prompts.schedule": SCHEDULES,
    "train.prompts.schedule": SCHEDULES,
    "train.final": ("discrete", "mixture"),
    "train.start": ("random", "supernet"),
    "train.alphas": ("frozen", "learned"),
    "train.alpha_optimizer.name": ("adam", "sgd"),
    "memory.remat": ("auto", "on", "off"),
    "progress": ("auto", "plain", "off"),
}


def get_config() -> ConfigDict:
    """All settings."""
    config = ConfigDict()
    # Seed of everything random in a run: the few-shot sample, the initial prompts, the order.
    config.seed = 1
    # GPUs of each machine that share a run's images and classes; 0 for all. A CPU is one device,
    # unless this says more and JAX_NUM_CPU_DEVICES=N makes it so many.
    config.devices = 0
    config.clip = clip()
    config.data = data()
    config.search = search()
    config.train = train()
    config.evaluate = evaluate()
    config.ablate = ablate()
    config.compare = compare()
    config.checkpoint = checkpoint()
    config.memory = memory()
    # Write RUN/report.html at the end of a search, a training and an evaluation.
    config.report = True
    # Also write TensorBoard event files (RUN/tensorboard).
    config.tensorboard = False
    # Also log to this project of Weights & Biases; "" for none. Needs pip install "dpl_jax[wandb]".
    config.wandb = ""
    # Show progress: "auto" (a bar on a terminal, else plain lines), "plain" or "off".
    config.progress = "auto"
    return config


def with_absolute_paths(config: ConfigDict) -> ConfigDict:
    """A copy whose paths mean the same from any working directory, as a run keeps them.

    A ``data.root`` that is left empty becomes the folder that it stands for; a ``clip.path`` that
    is no folder (a hub id, "tiny") stays as it is.
    """
    config = config.copy_and_resolve_references()
    data = config.data
    if data.name not in ("digits", "folder") and not data.root:
        data.root = os.environ.get("DPL_DATA_ROOT") or "data"
    for name in ("root", "tfds_dir", "split_file", "cache_dir"):
        data[name] = _absolute(data[name])
    if os.path.isdir(os.path.expanduser(config.clip.path)) and not embedded_folder(
        config.clip.path
    ):
        config.clip.path = _absolute(config.clip.path)
    return config


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path)) if path else ""


def clip() -> ConfigDict:
    """The frozen CLIP."""
    c = ConfigDict()
    # A folder in Hugging Face's format, a hub id, or "tiny" for the one inside this package.
    c.path = "openai/clip-vit-base-patch16"
    # Commit, tag or branch of the hub repository; "" for its newest.
    c.revision = ""
    # SHA-256 that the weights must have, as results.json records it; "" for any.
    c.sha256 = ""
    # Of the towers' matrix products: "float32" or "bfloat16". All else is float32.
    c.dtype = "float32"
    return c


def data() -> ConfigDict:
    """The images and the classes."""
    c = ConfigDict()
    # "digits", "folder", or caltech101 oxford_pets stanford_cars oxford_flowers food101
    # fgvc_aircraft sun397 dtd eurosat ucf101 imagenet imagenetv2 imagenet_sketch imagenet_a
    # imagenet_r.
    c.name = "digits"
    # The folder that holds the dataset's folder, or that folder itself; "" for $DPL_DATA_ROOT,
    # else ./data.
    c.root = ""
    # "files": image files on disk; "tfds": TensorFlow Datasets prepared as array_record.
    c.source = "files"
    # TFDS's data_dir when source is "tfds"; "" for TFDS's own default.
    c.tfds_dir = ""
    # A CoOp split file to use instead of the one in the dataset's folder; "" for that one.
    c.split_file = ""
    # Of "folder": a CSV or TSV file with a column of paths in the root and one of classes, and
    # perhaps one of splits, to use instead of class folders; relative to the root. "" for none.
    c.labels = ""
    # Labelled training images per class; 0 for the whole training split.
    c.shots = 16
    # "all", or the "base" (first half) or "new" (second half) classes of base-to-new.
    c.classes = "all"
    # Text prompt with {} for the class name; "" for the dataset's own.
    c.template = ""
    # True: a class with fewer images than shots gives all it has, as in CoOp. False: an error.
    c.allow_fewer_shots = False
    # True: leave out unreadable images, with a counted warning. False: stop and name the file.
    c.skip_unreadable = False
    # Larger images are refused before they are decoded (Pillow's own limit).
    c.max_pixels = 178_956_970
    # Training images: "none" (the test transform) or "crop_flip" (random resized crop and flip).
    c.augment = "none"
    # Side in pixels of the square canvases that "crop_flip" crops from; 0 for twice the input.
    c.canvas_size = 0
    # Training images beyond this many MB are fed from the host instead of living on the device.
    c.device_memory_mb = 2048
    # Decoded images are kept in this folder between runs; "" for no cache.
    c.cache_dir = ""
    # Threads that decode images; 0 for one a CPU core (at most 16).
    c.workers = 0
    return c


def search() -> ConfigDict:
    """Stage 1: how many prompt rows each layer of each tower should get."""
    c = ConfigDict()
    # T, the longest prompt a layer may get.
    c.max_context_length = 6
    c.epochs = 60
    # Train images of a prompts half-step, and validation images of an alpha half-step.
    c.batch_size = 4
    c.val_batch_size = 4
    # Initial prompts: normal(0, image) and uniform [0, text). 1 is the released code's; on a
    # small CLIP 0.02 does far better.
    c.prompt_scale = ConfigDict({"image": 1.0, "text": 1.0})
    c.prompts = prompt_optimizer()
    c.alphas = alpha_optimizer()
    # Weight of KL(zero-shot CLIP || prompted CLIP) over the class logits, added to the loss.
    c.distillation = 0.0
    # How a layer's length is chosen in the end: "argmax" of alpha (the paper), or "perturbation",
    # the length whose removal hurts the supernet most (DARTS-PT).
    c.selection = "argmax"
    # Alpha is divided by a temperature that falls from 1 to this over the epochs; 1 for none.
    c.final_temperature = 1.0
    # Weight, growing from 0 to this over the epochs, of alpha's entropy in the loss of alpha.
    c.entropy = 0.0
    # Weight of the expected number of prompt tokens in the loss of alpha.
    c.budget = 0.0
    # Alpha sees ahead by one step of the prompts (DARTS' second order), at about twice the time.
    c.second_order = False
    return c


def prompt_optimizer() -> ConfigDict:
    """SGD for the prompts, in both stages."""
    c = ConfigDict()
    c.learning_rate = 3.5e-3
    c.momentum = 0.9
    # Added to the gradient before momentum, as in PyTorch.
    c.weight_decay = 5e-4
    # Of the rate, stepped once an epoch: "cosine", as long as the epochs, or "constant", with which
    # a run can be given more epochs later.
    c.schedule = "cosine"
    # So many epochs at warmup_rate come before it.
    c.warmup_epochs = 1
    c.warmup_rate = 1e-5
    return c


def alpha_optimizer() -> ConfigDict:
    """The optimiser of alpha."""
    c = ConfigDict()
    # "adam" as in the released code, or "sgd" as in the paper.
    c.name = "adam"
    # Constant over the search.
    c.learning_rate = 3.5e-3
    # Of Adam.
    c.b1 = 0.5
    c.b2 = 0.999
    # Of SGD.
    c.momentum = 0.9
    # Added to the gradient.
    c.weight_decay = 0.0
    return c


def train() -> ConfigDict:
    """Stage 2: training the prompts of the lengths that were found."""
    c = ConfigDict()
    c.epochs = 40
    c.batch_size = 4
    # What is trained: "discrete", one length per layer, or "mixture", the whole supernet.
    c.final = "discrete"
    # Where prompts start: "random", normal(0, prompt_scale), or "supernet", the rows that the
    # search ended with. A mixture always starts from its supernet.
    c.start = "random"
    c.prompt_scale = 0.02
    c.prompts = prompt_optimizer()
    # Alphas of a mixture: "frozen", or "learned" on the train images by their own optimiser.
    c.alphas = "frozen"
    c.alpha_optimizer = alpha_optimizer()
    # As in the search.
    c.distillation = 0.0
    return c


def evaluate() -> ConfigDict:
    """Measuring accuracy."""
    c = ConfigDict()
    # Images at a time.
    c.batch_size = 100
    return c


def ablate() -> ConfigDict:
    """Runs of every combination, trained together as members of one program.

    As many at a time as fit memory.limit_mb.
    """
    c = ConfigDict()
    # Values of search.max_context_length, and of seed.
    c.max_context_length = (2, 4, 6, 8, 10)
    c.seeds = (1, 2, 3)
    return c


def compare() -> ConfigDict:
    """DPL beside other methods, on the same images and for the same number of epochs."""
    c = ConfigDict()
    # Names of the methods with commas between them (docs/comparison.md lists them); "" for all.
    c.methods = ""
    # Values of seed; all of a method are trained together.
    c.seeds = (1, 2, 3, 4, 5)
    return c


def checkpoint() -> ConfigDict:
    """What is kept of a run while it goes on."""
    c = ConfigDict()
    # A checkpoint is written after every so many epochs, and after the last.
    c.every_epochs = 5
    # Long epochs are cut after every so many steps, and each part ends with a checkpoint; 0 not to.
    # Cut or not, a run learns the same, to rounding.
    c.every_steps = 0
    # The newest so many are kept.
    c.keep = 2
    return c


def memory() -> ConfigDict:
    """Saving memory by computing again what the gradient needs; exact, and slower."""
    c = ConfigDict()
    # What a run may take of the device's memory; 0 for all of it (16 GB where it is not known).
    c.limit_mb = 0
    # Keep only the hidden states between layers: "on", "off", or "auto" to do what fits.
    c.remat = "auto"
    # Encode the classes in so many parts, one after the other; 0 for as many as it takes to fit.
    c.class_chunks = 0
    return c


def with_shortcuts(config: ConfigDict, shortcuts: str | None) -> ConfigDict:
    """Applies the part of ``--config=configs/NAME.py:shots=4,seed=2`` behind the colon.

    Raises:
      ConfigError: for a name that is no shortcut, or a value of the wrong kind.
    """
    for part in filter(None, (shortcuts or "").split(",")):
        name, equals, value = part.partition("=")
        if name not in SHORTCUTS or not equals:
            raise ConfigError(
                f"{part!r} behind the colon of --config is not understood; write name=value, with "
                f"a name of {', '.join(SHORTCUTS)}. Any other field: --config.FIELD=VALUE."
            )
        field = SHORTCUTS[name]
        config.update_from_flattened_dict({field: _convert(part, value, _get(config, field))})
    return config


def check_config(config: ConfigDict) -> None:
    """Checks what would otherwise fail late or silently.

    Raises:
      ConfigError: naming the field, its value and what it must be.
    """
    for field, value in flatten(config).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{field} is {value}; it must be a finite number.")
    for field in AT_LEAST_ONE:
        value = _get(config, field)
        if value < 1:
            raise ConfigError(f"{field} is {value}; it must be at least 1.")
    if not config.search.final_temperature >= LOWEST_TEMPERATURE:
        raise ConfigError(
            f"search.final_temperature is {config.search.final_temperature}; it must be at least "
            f"{LOWEST_TEMPERATURE}."
        )
    for field in ("devices", "checkpoint.every_steps"):
        if _get(config, field) < 0:
            raise ConfigError(f"{field} is {_get(config, field)}; it must be at least 0.")
    for field, choices in CHOICES.items():
        if _get(config, field) not in choices:
            raise ConfigError(
                f"{field} is {_get(config, field)!r}; it must be one of {', '.join(choices)}."
            )
    # A run of an older version has no sha256.
    if (sha256 := config.clip.get("sha256", "")) and not SHA256.fullmatch(sha256):
        raise ConfigError(
            f"clip.sha256 is {sha256!r:.100}; it must be the 64 hexadecimal digits of a SHA-256, "
            'or "" for weights that are not checked.'
        )
    if config.wandb and importlib.util.find_spec("wandb") is None:
        raise ConfigError(
            f"wandb is {config.wandb!r}, but Weights & Biases is not installed. Install it with "
            'pip install "dpl_jax[wandb]", or log nothing to it with --config.wandb='
        )


def flatten(config: ConfigDict | Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """All settings by their dotted names; a group without settings is a value itself."""
    settings: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict | Mapping) and value:
            settings |= flatten(value, f"{prefix}{name}.")
        else:
            settings[prefix + name] = value
    return settings


def _get(config: ConfigDict, field: str) -> Any:
    for name in field.split("."):
        config = config[name]
    return config


def _convert(part: str, value: str, default: Any) -> Any:
    try:
        return type(default)(value)
    except ValueError as error:
        raise ConfigError(
            f"{part!r} behind the colon of --config needs a {type(default).__name__}."
        ) from error
