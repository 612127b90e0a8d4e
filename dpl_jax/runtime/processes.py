"""Several processes, on one machine or many, that carry out one run together.

Each drives its own devices and reads its own part of the images. The first one alone locks and
writes the run's folder, which all have to see; Orbax writes checkpoints through all of them.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from dpl_jax.errors import ConfigError, RunFolderError

LOG = logging.getLogger(__name__)
# A process that has not been heard of for so long is taken for dead, and all others end.
HEARTBEAT_SECONDS = 30
# How long to wait for all processes at the start, and at the end.
START_SECONDS, END_SECONDS = 300, 60


def join(
    coordinator: str, processes: int | None, process: int | None, bind_address: str | None = None
) -> None:
    """Makes this process one of several; to be called before JAX has looked for devices.

    Args:
      coordinator: host:port of process 0, or "auto" for what SLURM, Open MPI or Kubernetes say.
      processes: how many there are; None where the cluster says it.
      process: number of this one, from 0; likewise.
      bind_address: host:port that process 0 listens on; None for the coordinator's port on all
        interfaces. Whoever reaches it can take part in the run: JAX asks for no password.

    Raises:
      ConfigError: when an address is not host:port, or the processes do not find each other.
    """
    given = None if coordinator == "auto" else coordinator
    if given and (processes is None or process is None):
        raise ConfigError("--coordinator=host:port also needs --num_processes and --process_id.")
    for flag, address in (("coordinator", given), ("coordinator_bind_address", bind_address)):
        _check_address(flag, address)
    # On CPUs, two programs that run at once mix up their messages.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    # Its handler would take the place of ours (dpl_jax.runtime.signals).
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            given,
            processes,
            process,
            cluster_detection_method="deactivate" if given else None,
            initialization_timeout=START_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=END_SECONDS,
            coordinator_bind_address=bind_address,
        )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"The processes of --coordinator={coordinator} did not find each other ({error}). "
            "Start all of them, with the host and a free port of process 0; auto needs a step of "
            "SLURM, Open MPI's mpirun, or an indexed job of Kubernetes."
        ) from error
    if jax.process_index() == 0:
        LOG.warning(
            "Process 0 of --coordinator=%s listens on %s without a password: on a trusted network "
            "only (docs/devices.md).",
            coordinator,
            bind_address or "all interfaces",
        )


def _check_address(flag: str, address: str | None) -> None:
    host, _, port = (address or "host:1").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"--{flag}={address} is not host:port, such as 192.0.2.7:12345.")


def is_multiprocess() -> bool:
    """Whether this process has joined others; it asks nothing of the devices."""
    return jax.distributed.is_initialized()


def is_first() -> bool:
    """Whether this process writes the run's folder."""
    return not is_multiprocess() or jax.process_index() == 0


def leave(code: int) -> NoReturn:
    """Ends this process of several without waiting for the others, which then end as well."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def from_first(payload: bytes) -> bytes:
    """What the first process gives, in all of them."""
    if jax.process_count() == 1:
        return payload
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(payload))))
    buffer = np.zeros(size, np.uint8)
    if is_first():
        buffer[:] = np.frombuffer(payload, np.uint8)
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(buffer), np.uint8))


def only_first(action: Callable[[], Any]) -> Any:
    """The JSON value that ``action`` gives in the first process; the others wait for it.

    Raises:
      Exception: in the first process, what ``action`` raises.
      RunFolderError: in the others, when it has raised anything.
    """
    if jax.process_count() == 1:
        return action()
    if not is_first():
        outcome = json.loads(from_first(b""))
        if "error" in outcome:
            raise RunFolderError(f"Process 0 could not go on: {outcome['error']}")
        return outcome["value"]
    try:
        value = action()
    except Exception as error:
        from_first(json.dumps({"error": str(error)}).encode())
        raise
    from_first(json.dumps({"value": value}).encode())
    return value


def any_of(number: int) -> int:
    """The largest ``number`` of all processes."""
    if jax.process_count() == 1:
        return number
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def parts(count: int) -> list[slice]:
    """Which of ``count`` rows each process has; a single part where there are too few to share."""
    processes = jax.process_count() if count >= jax.process_count() else 1
    bounds = [count * process // processes for process in range(processes + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(bounds)]


def own_part(count: int) -> slice:
    """This process's rows of :func:`parts`; all where there are too few to share."""
    return parts(count)[jax.process_index() if len(parts(count)) > 1 else 0]


def gather_parts(tree: Any, count: int) -> Any:
    """The rows of all processes, one process after the other.

    Args:
      tree: of NumPy arrays (n, ..), this process's part; n may differ between processes.
      count: what :func:`own_part` was asked.
    """
    if len(parts(count)) == 1:
        return tree
    own = len(jax.tree.leaves(tree)[0])
    sizes = np.asarray(multihost_utils.process_allgather(np.int32(own)))  # (processes,)

    def gather(leaf: np.ndarray) -> np.ndarray:
        filled = np.zeros((sizes.max(), *leaf.shape[1:]), leaf.dtype)
        filled[:own] = leaf
        parts = np.asarray(multihost_utils.process_allgather(filled))  # (processes, n, ..)
        return np.concatenate([part[:size] for part, size in zip(parts, sizes, strict=True)])

    return jax.tree.map(gather, tree)
