"""Run by test_devices.py in a process with eight devices; writes what it finds into a folder.

python on_eight_devices.py FOLDER
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict, FrozenConfigDict

from configs import digits
from dpl_jax import Clip, load_clip
from dpl_jax import config as base
from dpl_jax.clip.config import ClipConfig, TextConfig, VisionConfig
from dpl_jax.clip.features import text_features
from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.clip.texts import Texts, prepare_texts
from dpl_jax.clip.weights import abstract_params
from dpl_jax.evaluate import evaluate
from dpl_jax.prompts.learned import Supernet
from dpl_jax.prompts.trees import init_supernet
from dpl_jax.runs import checkpoints
from dpl_jax.runtime.mesh import data_mesh, replicate
from dpl_jax.search import search
from dpl_jax.train import train
from dpl_jax.training.inputs import Task
from dpl_jax.training.loss import loss_and_accuracy
from dpl_jax.training.optimizers import search_optimizer
from dpl_jax.training.steps import create_state, search_step
from tests.support.small_clip import random_tensors, small_config, write_clip

SCALE = {"image": 0.3, "text": 0.3}
CLASSES = 1000
# Deep enough that the layers stay a loop.
MANY = ClipConfig(
    text=TextConfig(
        hidden_size=32,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=2,
        vocab_size=100,
        max_position_embeddings=16,
    ),
    vision=VisionConfig(
        hidden_size=24,
        intermediate_size=96,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    ),
    projection_dim=20,
)


def spread(clip: Clip, count: int, class_chunks: int) -> Clip:
    mesh = data_mesh(count)
    params = replicate(clip.params, mesh)
    return clip.replace(params=params, mesh=mesh, class_chunks=class_chunks)


def gradients(clip: Clip) -> dict[str, Any]:
    """Loss, accuracy and gradients of 7 classes and 3 images, and all that one device says."""
    random = np.random.default_rng(0)
    images = jnp.asarray(random.standard_normal((3, 16, 16, 3)), jnp.float32)
    labels = jnp.asarray([2, 6, 0])
    words = ["cat", "a dog", "whale", "tree", "blue car", "owl", "fern"]
    texts = prepare_texts(clip.tokenize([f"a {word}." for word in words]), clip.sizes.text)
    prompts, alphas = init_supernet(clip.sizes, 2, 1, SCALE)

    @jax.jit
    def value(params: Any, clip: Clip, teacher: jax.Array) -> Any:
        def loss(params: Any) -> Any:
            seen = Supernet(params["prompts"], params["alphas"]).view()
            distilled = {"distillation": 0.5, "teacher_texts": teacher}
            return loss_and_accuracy(clip, images, labels, texts, seen, **distilled)

        return jax.value_and_grad(loss, has_aux=True)(params)

    params = {"prompts": prompts, "alphas": alphas}
    return jax.device_get(value(params, clip, text_features(clip, texts)))


def make_config(folder: Path, devices: int, augment: str = "none") -> ConfigDict:
    """10 classes, batches of 3: neither is a multiple of 4 or 8 devices."""
    config = digits.get_config("shots=2,seed=3")
    settings = {
        "devices": devices,
        "clip.path": str(folder / "clip"),
        "data.augment": augment,
        "search.max_context_length": 2,
        "search.epochs": 3,
        "search.batch_size": 3,
        "train.epochs": 1,
        "train.batch_size": 3,
        "checkpoint.every_epochs": 1,
        "progress": "off",
        "report": False,
    }
    config.update_from_flattened_dict(settings)
    return config


class StoppedError(Exception):
    pass


def stopped_search(config: ConfigDict, folder: Path) -> None:
    """Runs one more epoch and stops behind its checkpoint."""
    save = checkpoints.Checkpoints.save

    def save_and_stop(self: Any, *args: Any) -> None:
        save(self, *args)
        raise StoppedError

    checkpoints.Checkpoints.save = save_and_stop
    try:
        search(config, folder)
    except StoppedError:
        return
    finally:
        checkpoints.Checkpoints.save = save
    raise AssertionError("it was not stopped")


def runs(folder: Path) -> dict[str, Any]:
    """A search on one device and one moved about; trainings and evaluations on one and eight."""
    search(make_config(folder, 1), folder / "search-one")
    for count in (4, 2):
        stopped_search(make_config(folder, count), folder / "search-moved")
    search(make_config(folder, 1), folder / "search-moved")
    evaluations, lengths = {}, folder / "search-one" / "configuration.json"
    for name, count in (("one", 1), ("eight", 8)):
        run = train(make_config(folder, count, "crop_flip"), lengths, folder / f"train-{name}")
        evaluations[name] = evaluate(run)
    return evaluations


def many_classes(count: int) -> dict[str, Any]:
    """A search step with 1,000 classes: its memory on a device, and its optimised program."""
    mesh = data_mesh(count)

    def shape(*sizes: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(sizes, dtype)

    def everywhere(tree: Any) -> Any:
        if mesh is None:
            return tree
        whole = NamedSharding(mesh, PartitionSpec())
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=whole), tree
        )

    settings = FrozenConfigDict(base.search())

    def state() -> Any:
        prompts, alphas = init_supernet(MANY, 2, 1, SCALE)
        return create_state(
            {"prompts": prompts, "alphas": alphas}, search_optimizer(settings, 1), 1
        )

    texts = Texts(shape(CLASSES, 8, dtype=jnp.int32), shape(CLASSES, dtype=jnp.int32))
    teacher = shape(CLASSES, MANY.projection_dim)
    preprocessing = Preprocessing(size=32, crop=32)
    task = Task(None, None, texts, teacher, preprocessing)
    clip = Clip(abstract_params(MANY), MANY, "float32", None, None, "", "", mesh=mesh)
    batch = shape(8, 32, 32, 3), shape(8, dtype=jnp.int32)
    step = functools.partial(search_step, search=settings, steps_per_epoch=1)
    inputs = everywhere((jax.eval_shape(state), clip, task, batch, batch))
    program = jax.jit(step).lower(*inputs).compile()
    shardings = jax.tree.leaves(program.output_shardings)
    return {
        "bytes": program.memory_analysis().temp_size_in_bytes,
        "whole": all(sharding.is_fully_replicated for sharding in shardings),
        "text": program.as_text(),
    }


def main(folder: Path) -> None:
    config = small_config({"num_hidden_layers": 2}, {"num_hidden_layers": 1})
    write_clip(folder / "clip", config, random_tensors(config))
    clip = load_clip(folder / "clip")
    named = {"one": gradients(clip), "eight": gradients(spread(clip, 8, class_chunks=2))}
    leaves = {name: jax.tree.leaves(values) for name, values in named.items()}
    flat = {f"{name}/{i}": leaf for name, values in leaves.items() for i, leaf in enumerate(values)}
    np.savez(folder / "gradients.npz", **flat)
    (folder / "many.json").write_text(json.dumps({n: many_classes(n) for n in (1, 8)}))
    (folder / "evaluations.json").write_text(json.dumps(runs(folder)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
