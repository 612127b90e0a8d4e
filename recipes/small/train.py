"""The pretraining of the small CLIP: goes on from its checkpoint, whenever it was stopped."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import optax

from dpl_jax.clip.config import ClipConfig
from dpl_jax.clip.preprocessing import CLIP_MEAN, CLIP_STD
from dpl_jax.clip.tokenizer import Tokenizer
from dpl_jax.data.templates import PHOTO
from dpl_jax.data.transforms import normalise
from dpl_jax.errors import ConfigError, Interrupted, NumericsError, RunFolderError
from dpl_jax.files.json import read_json, remove_leftovers, to_json, write_json
from dpl_jax.runs.folder import RunFolder
from dpl_jax.runs.lock import lock_folder
from dpl_jax.runs.metrics import append_metrics, truncate_metrics
from dpl_jax.runtime.progress import progress
from dpl_jax.runtime.signals import EXIT_CODES, stop_signals
from recipes.sizes import clip_config
from recipes.small.augment import augment
from recipes.small.loss import batch_loss
from recipes.small.names import Names, Words, all_captions, read_names, read_words
from recipes.small.optimizer import make_optimizer
from recipes.small.photos import (
    Batch,
    Photos,
    batch_at,
    read_photos,
    read_test_photos,
    steps_per_epoch,
)
from recipes.small.state import State, create_state, load_state, save_state
from recipes.small.towers import encode_patches
from recipes.small.zero_shot import make_look
from recipes.tokenizer_training import padded_tokenizer, write_tokenizer

MAX_LOGIT_SCALE = math.log(100)  # Radford et al. (2021), section 2.5
CHECKPOINT = "checkpoint.safetensors"
# What another start of the same run may change; all else would make it another run.
CHANGEABLE = (
    "epochs",
    "cooldown_epochs",
    "full_epochs",
    "look_every",
    "checkpoint_minutes",
    "data",
)


class Job(NamedTuple):
    """What a run has beside its state: sizes, data, and how to look at accuracies."""

    sizes: ClipConfig
    photos: Photos
    names: Names
    words: Words
    tokenize: Callable[[str], Any]
    look: Callable[[State], dict[str, float]]


def pretrain(config: ml_collections.ConfigDict, workdir: Path) -> State:
    """Trains in ``workdir`` until all epochs are done; resumes what is there.

    Raises:
      ConfigError: for a setting that cannot be.
      DataError: for photos or names that cannot be read.
      RunFolderError: ``workdir`` is in use, or of a run with other settings.
      NumericsError: the loss is not finite.
      Interrupted: by a signal, after a checkpoint.
    """
    check_recipe(config)
    workdir.mkdir(parents=True, exist_ok=True)
    with lock_folder(workdir) as lock:
        remove_leftovers(workdir)
        keep_config(workdir, config)
        job = prepare(config, workdir)
        epoch_steps = steps_per_epoch(config, job.photos)
        optimizer = make_optimizer(config, epoch_steps)
        state = create_state(config, job.sizes, len(job.names.levels), optimizer)
        if (workdir / CHECKPOINT).exists():
            state = load_state(workdir / CHECKPOINT, state)
        run = RunFolder(workdir, True, lock)
        truncate_metrics(run, range(config.log_every, int(state.step) + 1, config.log_every))
        return _run_steps(config, job, state, make_train_step(config, job.sizes, optimizer), run)


def check_recipe(config: ml_collections.ConfigDict) -> None:
    """Raises ConfigError for a setting that cannot be."""
    patches = (config.image_size // config.patch_size) ** 2
    for name, low, high in (
        ("epochs", 1, math.inf),
        ("batch_size", 1, math.inf),
        ("kept_patches", 1, patches),
        ("words", 0, config.captions - 1),
        ("log_every", 1, math.inf),
    ):
        if not low <= config[name] <= high:
            raise ConfigError(f"{name} is {config[name]}; it must be between {low} and {high}.")
    if config.look_every % config.log_every:
        raise ConfigError("look_every must be a multiple of log_every.")


def keep_config(workdir: Path, config: ml_collections.ConfigDict) -> None:
    """Writes config.json, after a comparison with that of the run so far.

    Raises:
      RunFolderError: naming the settings that differ and must not.
    """
    path, now = workdir / "config.json", to_json(config.to_dict())
    if path.exists():
        before = read_json(path)
        differing = [n for n in before | now if before.get(n) != now.get(n) and n not in CHANGEABLE]
        if differing:
            raise RunFolderError(
                f"{workdir} holds a run with other settings of {', '.join(differing)} "
                "(config.json); give these, or another --workdir."
            )
    write_json(path, now)


def prepare(config: ml_collections.ConfigDict, workdir: Path) -> Job:
    """Reads photos and names, and makes the tokenizer where there is none yet."""
    photos, held_out = read_photos(config.data.root, config.image_size)
    names = read_names(config.data.names, photos.classes)
    words = read_words(config.data.words, names, config.words)
    folder = workdir / "tokenizer"
    if not (folder / "vocab.json").exists():
        folder.mkdir(exist_ok=True)
        write_tokenizer(
            folder, all_captions(names, words), config.vocab_size, config.context_length
        )
    tokenizer = Tokenizer(str(folder), config.context_length)
    tokenize = padded_tokenizer(tokenizer, config.caption_length)
    for name in (*names.words, *(word for word, _ in words.kinds)):
        tokenize(PHOTO.format(name))  # an error now, not hours later
    sizes = clip_config(config)
    count = config.data.looked_at
    tasks = {"validation": held_out.part(count)._replace(classes=tuple(names.first))}
    for root in config.data.tasks:
        tasks[Path(root).name] = read_test_photos(root, config.image_size).part(count)
    accuracy = make_look(sizes, tokenizer)

    def look(state: State) -> dict[str, float]:
        return {name: accuracy(state.average, task) for name, task in tasks.items()}

    return Job(
        sizes, photos, names, words, padded_tokenizer(tokenizer, config.caption_length), look
    )


def make_train_step(
    config: ml_collections.ConfigDict, sizes: ClipConfig, optimizer: optax.GradientTransformation
) -> Callable[[State, Batch, int], tuple[State, jax.Array]]:
    """Returns the jitted step: state, batch and how many patches are kept."""

    def loss_of(params: Any, key: jax.Array, batch: Batch, kept: int) -> jax.Array:
        crop_key, patch_key = jax.random.split(key)
        images = augment(crop_key, batch["pixels"], config.crop_area, config.colour)
        images = normalise(images * 255, CLIP_MEAN, CLIP_STD)
        seen = encode_patches(patch_key, params["image"], sizes, images, kept)
        return batch_loss(params, sizes, seen, batch, config.proxy_weight)

    def train_step(state: State, batch: Batch, kept: int) -> tuple[State, jax.Array]:
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        loss, grads = jax.value_and_grad(loss_of)(state.params, key, batch, kept)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        params["logit_scale"] = jnp.clip(params["logit_scale"], 0, MAX_LOGIT_SCALE)
        # The average forgets the random start quickly, then has the configured memory.
        decay = jnp.minimum(config.average_decay, (1 + state.step) / (10 + state.step))
        average = optax.incremental_update(params, state.average, 1 - decay)
        return State(params, average, opt_state, state.step + 1), loss

    return jax.jit(train_step, static_argnames="kept", donate_argnums=0)


def kept_patches(config: ml_collections.ConfigDict, step: int, epoch_steps: int) -> int:
    """Number of patches that a step sees: all of them in the last epochs."""
    last = step >= (config.epochs - config.full_epochs) * epoch_steps
    return (config.image_size // config.patch_size) ** 2 if last else config.kept_patches


def _run_steps(
    config: ml_collections.ConfigDict,
    job: Job,
    state: State,
    train_step: Callable[[State, Batch, int], tuple[State, jax.Array]],
    run: RunFolder,
) -> State:
    """Takes the steps that are left, with a row of metrics and checkpoints at intervals."""
    epoch_steps = steps_per_epoch(config, job.photos)
    start, total = int(state.step), config.epochs * epoch_steps
    path = run.path / CHECKPOINT
    losses: list[jax.Array] = []
    saved = clock = time.monotonic()
    with stop_signals() as stop, progress(total, "pretrain", start=start) as bar:
        for step in range(start, total):
            batch = batch_at(config, step, job.photos, job.names, job.words, job.tokenize)
            state, loss = train_step(state, batch, kept_patches(config, step, epoch_steps))
            losses.append(loss)
            done = step + 1
            if done % config.log_every and done != total:
                continue
            mean = _finite(sum(map(float, losses)) / len(losses), done)
            now = time.monotonic()
            speed = round(len(losses) * config.batch_size / (now - clock), 1)
            row = {"step": done, "epoch": round(done / epoch_steps, 3), "loss": mean}
            bar.update(done, loss=mean, images_per_second=speed)
            if done % config.look_every == 0 or done == total:
                row |= job.look(state)
            append_metrics(run, [row | {"images_per_second": speed}])
            losses, clock = [], time.monotonic()
            if done == total or stop.signal or clock - saved > 60 * config.checkpoint_minutes:
                save_state(path, state)
                saved = clock
            if stop.signal and done != total:
                raise _stopped(run.path, done, stop.signal)
    return state


def _stopped(workdir: Path, step: int, number: signal.Signals) -> Interrupted:
    return Interrupted(
        f"Stopped by {number.name} after step {step}.",
        workdir=workdir,
        exit_code=EXIT_CODES[number],
    )


def _finite(loss: float, step: int) -> float:
    if not math.isfinite(loss):
        raise NumericsError(f"The loss is {loss} by step {step}; lower learning_rate.")
    return loss
