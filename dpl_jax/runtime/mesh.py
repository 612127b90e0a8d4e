"""The devices of a run, and how the rows of a batch are laid over them.

One axis, ``data``: each device encodes its part of the images and its part of the classes. All
else (frozen weights, prompts, alphas, optimisers, the images that batches are taken from) is whole
on every device; XLA puts the few collectives where they are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dpl_jax.errors import ConfigError

DATA = "data"


def data_mesh(devices: int, processes: int | None = None) -> Mesh | None:
    """The mesh of a run, or None where one device does everything.

    Args:
      devices: how many of each process; 0 for all, of which a CPU counts as one.
      processes: 1 for the devices of this process alone; None for those of all.

    Raises:
      ConfigError: when a process has fewer.
    """
    local = jax.local_devices()
    count = devices or (1 if local[0].platform == "cpu" else len(local))
    if not 0 < count <= len(local):
        raise ConfigError(
            f"devices is {devices}, and JAX sees {len(local)} ({local[0].platform}). 0 takes all "
            "there are; with JAX_NUM_CPU_DEVICES=N in the environment a CPU counts as N."
        )
    everywhere: list[jax.Device] = []
    numbers = range(jax.process_count()) if processes is None else [jax.process_index()]
    for number in numbers:
        everywhere += jax.local_devices(number)[:count]
    if len(everywhere) == 1:
        return None
    return jax.make_mesh((len(everywhere),), (DATA,), (AxisType.Auto,), devices=everywhere)


def replicate(tree: Any, mesh: Mesh | None) -> Any:
    """The arrays of ``tree``, the same in every process, whole on every device of the mesh."""
    if mesh is None:
        return jax.tree.map(jnp.asarray, tree)
    sharding = NamedSharding(mesh, PartitionSpec())

    def put(leaf: Any) -> jax.Array:
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(put, tree)


def over_devices(
    function: Callable[[Any, Any], jax.Array], whole: Any, rows: Any, mesh: Mesh | None
) -> jax.Array:
    """``function`` of ``rows``, each device its part of them; all get the whole result.

    Every device runs the program of one device on its rows (:func:`jax.shard_map`). The results are
    gathered behind it, the gradients of ``whole`` summed behind it: nothing is exchanged within.
    XLA left to itself also exchanges hidden states at the token that CLIP reads.

    Where the rows cannot be shared out evenly, rows of zeros make up for it; their results are cut
    off, so they have no part in the value nor in any gradient.

    Args:
      function: maps ``whole`` and rows to as many rows, each for itself.
      whole: a tree of arrays that all rows need.
      rows: a tree of arrays (n, ..).
      mesh: of :func:`data_mesh`; with None this is ``function(whole, rows)``.

    Returns:
      (n, ..).
    """
    if mesh is None:
        return function(whole, rows)
    count = jax.tree.leaves(rows)[0].shape[0]
    missing = -count % mesh.size

    def fill(leaf: jax.Array) -> jax.Array:
        return jnp.pad(leaf, [(0, missing)] + [(0, 0)] * (leaf.ndim - 1))  # (n + missing, ..)

    shared_out = jax.shard_map(
        function,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(DATA)),
        out_specs=PartitionSpec(DATA),
        check_vma=False,  # the prefix of texts is the same everywhere until prompts touch it
    )
    results = shared_out(whole, jax.tree.map(fill, rows))
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.lax.with_sharding_constraint(results, everywhere)[:count]
