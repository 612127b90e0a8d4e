"""Whether n devices each do an n-th of a search step, by XLA's account of the compiled program."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.problem import STEPS_PER_EPOCH, make_problem
from dpl_jax.clip.config import ClipConfig
from dpl_jax.clip.weights import abstract_params
from dpl_jax.runtime.mesh import data_mesh
from dpl_jax.training.steps import search_step


class DeviceCost(NamedTuple):
    """What one device has of a compiled search step.

    Attributes:
      flops: floating-point operations; loops over layers count once, on every number of devices.
      traffic: bytes read and written by the program's operations, loops likewise.
      memory: bytes of values that live besides arguments and results.
    """

    flops: float
    traffic: float
    memory: float


def device_cost(sizes: ClipConfig, devices: int, classes: int, batch: int) -> DeviceCost:
    """Compiles a search step for so many devices; nothing is run.

    Raises:
      ConfigError: when there are fewer devices.
    """
    mesh = data_mesh(devices)
    params = abstract_params(sizes)
    problem = make_problem(sizes, classes=classes, longest=2, batch=batch, params=params)
    state = jax.eval_shape(problem.search_state)
    clip = problem.clip.replace(mesh=mesh)
    step = functools.partial(search_step, search=problem.search, steps_per_epoch=STEPS_PER_EPOCH)
    inputs = _everywhere((state, clip, problem.task, *problem.batches), mesh)
    program = jax.jit(step).lower(*inputs).compile()
    counted: Any = program.cost_analysis()
    memory: Any = program.memory_analysis()
    return DeviceCost(counted["flops"], counted["bytes accessed"], memory.temp_size_in_bytes)


def _everywhere(tree: Any, mesh: Mesh | None) -> Any:
    """Shapes of the arrays, whole on every device of the mesh."""
    whole = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=whole), tree
    )
