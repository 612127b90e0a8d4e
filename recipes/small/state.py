"""Everything a training changes, and its checkpoint: one safetensors file, exact to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from flax import struct
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dpl_jax.clip.config import ClipConfig
from dpl_jax.clip.weights import Params, abstract_params, init_params
from dpl_jax.errors import CheckpointError
from dpl_jax.files.json import write_file


@struct.dataclass
class State:
    """What a step changes.

    Attributes:
      params: the CLIP being trained, and one proxy per class.
      average: exponential moving average of params, the weights that are kept.
      opt_state: of the optimiser.
      step: steps done, int32.
    """

    params: Params
    average: Params
    opt_state: optax.OptState
    step: jax.Array


def create_state(
    config: ml_collections.ConfigDict,
    sizes: ClipConfig,
    classes: int,
    optimizer: optax.GradientTransformation,
) -> State:
    """Returns the state before the first step."""

    @jax.jit
    def create(key: jax.Array) -> State:
        params = init_params(sizes, key)
        # Next to patches of unit scale, CLIP's 0.02 would hide where a patch is for too long.
        position = params["image"]["position_embedding"]
        params["image"]["position_embedding"] = config.position_scale / 0.02 * position
        proxy_key = jax.random.fold_in(key, classes)
        params["proxies"] = jax.random.normal(proxy_key, (classes, sizes.projection_dim))
        average = jax.tree.map(jnp.copy, params)
        return State(params, average, optimizer.init(params), jnp.zeros((), jnp.int32))

    return create(jax.random.key(config.seed))


def save_state(path: Path, state: State) -> None:
    """Writes the checkpoint: the old one stays until the new one is whole."""
    tensors = {name: np.asarray(leaf, order="C") for name, leaf in _named(state).items()}
    with write_file(path) as file:
        file.write(save(tensors))


def load_state(path: Path, like: State) -> State:
    """Reads a checkpoint.

    Raises:
      CheckpointError: it is damaged, or of a CLIP of other sizes than ``like``.
    """
    stored = _read(path)
    expected = {name: (leaf.shape, leaf.dtype) for name, leaf in _named(like).items()}
    found = {name: (leaf.shape, leaf.dtype) for name, leaf in stored.items()}
    if wrong := sorted(name for name in expected | found if expected.get(name) != found.get(name)):
        raise CheckpointError(
            f"{path} is not of this recipe ({wrong[0]}: {found.get(wrong[0], 'missing')}, expected "
            f"{expected.get(wrong[0], 'nothing')}); give another --workdir."
        )
    leaves = [jnp.asarray(stored[name]) for name in expected]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def load_average(path: Path, sizes: ClipConfig) -> tuple[Params, int]:
    """Reads the averaged weights of a checkpoint, and the number of its step.

    Raises:
      CheckpointError: it is damaged, or of a CLIP of other sizes.
    """
    stored, like = _read(path), abstract_params(sizes)
    names = {f".average{name}": leaf.shape for name, leaf in _named(like).items()}
    if any(name not in stored or stored[name].shape != shape for name, shape in names.items()):
        raise CheckpointError(f"{path} holds no CLIP of the sizes in its config.json.")
    params = jax.tree.unflatten(jax.tree.structure(like), [stored[name] for name in names])
    return params, int(stored[".step"])


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); give another folder.") from error


def _named(tree: Any) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
