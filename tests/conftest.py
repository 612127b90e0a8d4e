"""What every test shares: JAX on the CPU, no network, and the folder of real images."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from dpl_jax import Clip

# Read when JAX, TensorFlow Datasets and the hub client are imported, so set before the tests are;
# processes that a test starts inherit them.
for name, value in {
    "JAX_PLATFORMS": "cpu",
    "JAX_NUM_CPU_DEVICES": "2",
    # Tests compile far longer than they run.
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
    "JAX_COMPILATION_CACHE_MAX_SIZE": str(2**30),  # bytes; the least used programs go first
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    "HF_HUB_OFFLINE": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}.items():
    os.environ.setdefault(name, value)


def keep_compiled_programs() -> None:
    """In a private folder, so that running the tests again is quick; keyed as those of runs."""
    import jax

    from dpl_jax.runtime.compilation import cache_home, machine_key, private_folder

    folder = private_folder(cache_home() / "dpl_jax" / "tests" / machine_key())
    if folder is not None and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        jax.config.update("jax_compilation_cache_dir", str(folder))


keep_compiled_programs()

# A shell starts its background jobs with Ctrl-C ignored, and they leave it so; the tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples every time, and no limit on the first one's time: it compiles.
hypothesis.settings.register_profile("dpl_jax", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("dpl_jax")


@pytest.fixture(autouse=True, scope="module")
def no_programs_left() -> Iterator[None]:
    """Frees the compiled programs of a file: the memory maps of all would pass Linux's limit."""
    import jax

    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder that DPL_DATA_ROOT names, with datasets in CoOp's layout; skips without it."""
    root = os.environ.get("DPL_DATA_ROOT")
    if not root:
        pytest.skip("DPL_DATA_ROOT is not set")
    if not Path(root).is_dir():
        pytest.skip(f"DPL_DATA_ROOT names no folder: {root}")
    return Path(root)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP with random weights."""
    from tests.support.small_clip import random_tensors, small_config, write_clip

    config = small_config()
    return write_clip(tmp_path_factory.mktemp("clip"), config, random_tensors(config))


@pytest.fixture(scope="session")
def clip(clip_folder: Path) -> "Clip":
    """The same, loaded."""
    from dpl_jax import load_clip

    return load_clip(clip_folder)
