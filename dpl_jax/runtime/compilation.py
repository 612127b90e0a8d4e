"""Compiled programs are kept between runs, so that only the first run of its kind compiles."""

from __future__ import annotations

import hashlib
import os
import platform
import warnings
from pathlib import Path

import jax
import jaxlib

from dpl_jax.files.private_folder import make_private

CPU_INFO = Path("/proc/cpuinfo")
FEATURES = ("flags", "features")  # as x86 and ARM call them
SWITCH = "DPL_COMPILATION_CACHE"
MAX_BYTES = 2 * 2**30  # the programs not used for longest go first
MIN_COMPILE_SECONDS = 0.5  # quicker ones are not worth a file


def use_compilation_cache() -> Path | None:
    """Switches JAX's persistent compilation cache on; DPL_COMPILATION_CACHE=off leaves it off.

    A folder that JAX was already told of (JAX_COMPILATION_CACHE_DIR) stays. Loading a compiled
    program runs code, so the folder must belong to the user alone; where there can be no such
    folder there is no cache, and nothing else changes.

    Returns:
      The folder in use, or None.
    """
    if os.environ.get(SWITCH) == "off":
        return None
    if named := jax.config.values["jax_compilation_cache_dir"]:
        return Path(named)
    folder = private_folder(cache_home() / "dpl_jax" / "compiled" / machine_key())
    if folder is not None:
        # A damaged entry or a full disk costs time only, and JAX compiles instead.
        warnings.filterwarnings("ignore", message=".*persistent compilation cache")
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_SECONDS)
    return folder


def machine_key() -> str:
    """What compiled programs depend on: the kind and the features of the processor, and jaxlib.

    Containers have a new host name each time, and machines that are alike share their programs.
    """
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # no Linux: the host name tells machines apart
        lines = [f"flags {platform.processor()} {platform.node()}"]
    features = next((line for line in lines if line.lower().startswith(FEATURES)), "")
    model = next((line for line in lines if line.startswith("model name")), "")
    words = sorted(features.partition(":")[2].split()) or [features]
    about = " ".join((platform.machine(), model, *words))
    return f"jaxlib-{jaxlib.__version__}-{hashlib.sha256(about.encode()).hexdigest()[:16]}"


def cache_home() -> Path:
    """The user's cache directory (XDG base directory specification)."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path("~/.cache").expanduser()


def private_folder(folder: Path) -> Path | None:
    """Makes ``folder`` with mode 0700; None where it cannot be made, written, or made private.

    The last part names the kind of machine: those with other processors may share the home, and a
    compiled program fits only one kind. The folder above it is private too.
    """
    try:
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        for part in (folder.parent, folder):
            if not make_private(part):
                return None
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None
