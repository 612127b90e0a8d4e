import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections import namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.sharding import NamedSharding, PartitionSpec

from dpl_jax.errors import CheckpointError
from dpl_jax.runs.checkpoints import Checkpoints, load
from dpl_jax.runs.manifest import check_manifest, empty_arrays, make_manifest
from tests.support.repository import ROOT


def assert_same(found, expected):
    """Equal structure, types, shapes and bits."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def restore(folder, target):
    """The newest good checkpoint, as a run restores it."""
    with Checkpoints(folder) as checkpoints:
        return checkpoints.restore_latest(target)


def optimizer():
    """Adam for alpha and SGD with momentum for the prompts, as a search has."""
    cosine = optax.cosine_decay_schedule(0.1, 20)
    sgd = optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(cosine, momentum=0.9))
    return optax.multi_transform(
        {"alphas": optax.adam(3.5e-3, b1=0.5), "prompts": sgd},
        {"alphas": "alphas", "prompts": "prompts"},
    )


def search_state(seed=0):
    keys = jax.random.split(jax.random.key(seed), 4)
    params = {
        "alphas": {"image": jax.random.normal(keys[0], (2, 4))},
        "prompts": {
            "image": jax.random.normal(keys[1], (2, 6, 5)),
            "text": jax.random.normal(keys[2], (2, 6, 3)),
        },
    }
    return {
        "params": params,
        "optimizer": optimizer().init(params),
        "rng": jax.random.key_data(keys[3]),
        "step": jnp.zeros((), jnp.int32),
    }


@jax.jit
def step(state):
    gradients = jax.tree.map(lambda x: jnp.sin(3 * x), state["params"])
    updates, opt = optimizer().update(gradients, state["optimizer"], state["params"])
    params = optax.apply_updates(state["params"], updates)
    return state | {"params": params, "optimizer": opt, "step": state["step"] + 1}


def save(folder, *steps, tree=None):
    with Checkpoints(folder, keep=9) as checkpoints:
        for number in steps:
            state = {"x": jnp.full((3, 5), number, jnp.float32)} if tree is None else tree
            checkpoints.save(number, state, {"epoch": number})


TARGET = {"x": jax.ShapeDtypeStruct((3, 5), jnp.float32)}


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path):
    state = step(step(search_state()))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(2, state, {"epoch": 1, "best": 0.1})
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore_latest(search_state(seed=1))
    assert (restored.step, restored.metadata) == (2, {"epoch": 1, "best": 0.1})
    assert_same(restored.tree, state)
    assert_same(step(step(restored.tree)), step(step(state)))


def test_every_bit_pattern_comes_back(tmp_path):
    Point = namedtuple("Point", ["x", "y"])
    tree = {
        "odd": jnp.array([np.nan, -0.0, np.inf, 1e-45, -np.nan], jnp.float32),
        "bits": np.arange(256, dtype=np.uint8),
        "half": jnp.array([1.5, np.nan], jnp.bfloat16),
        "empty": jnp.zeros((4, 0, 3)),
        "scalar": jnp.int32(-7),
        "flag": np.array(True),
        "double": np.array([0.1], np.float64),
        "point": Point((np.array(2), {}), None),
    }
    save(tmp_path, 1, tree=tree)
    assert_same(restore(tmp_path, tree).tree, tree)
    assert isinstance(restore(tmp_path, tree).tree["bits"], np.ndarray)
    assert isinstance(restore(tmp_path, tree).tree["odd"], jax.Array)


DTYPES = st.sampled_from(["float64", "float32", "float16", "int32", "uint8", "bool"]).map(np.dtype)
ARRAYS = DTYPES.flatmap(lambda t: hnp.arrays(t, hnp.array_shapes(min_dims=0, min_side=0)))


@settings(max_examples=15)
@given(st.lists(ARRAYS, min_size=1, max_size=4))
def test_any_arrays_come_back(tmp_path_factory, arrays):
    folder = tmp_path_factory.mktemp("any")
    tree = {"a": {str(index): array for index, array in enumerate(arrays)}, "n": np.zeros(1)}
    save(folder, 1, tree=tree)
    assert_same(load(folder).tree, tree)


def test_arrays_may_be_donated_as_soon_as_save_returns(tmp_path):
    overwrite = jax.jit(lambda x: jax.tree.map(lambda y: y * 0 - 1, x), donate_argnums=0)
    with Checkpoints(tmp_path) as checkpoints:
        state = {"x": jnp.arange(1 << 18, dtype=jnp.float32)}
        expected = np.array(state["x"])
        checkpoints.save(1, state, {})
        state = overwrite(state)
        state["x"].block_until_ready()
    assert_same(load(tmp_path).tree, {"x": expected})


def test_saving_and_restoring_make_no_implicit_transfers(tmp_path):
    state = search_state()
    with jax.transfer_guard("disallow"), Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, {})
        assert_same(checkpoints.restore_latest(state).tree, state)


def test_the_newest_are_kept(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        assert checkpoints.restore_latest(TARGET) is None
        for number in (5, 10, 15, 20):
            checkpoints.save(number, {"x": jnp.full((3, 5), number, jnp.float32)}, {})
    assert sorted(os.listdir(tmp_path)) == ["15", "20"]
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        restored = checkpoints.restore_latest(TARGET)
        assert restored.step == 20
        checkpoints.save(20, restored.tree, {})  # the end of a run that was complete
        checkpoints.save(25, restored.tree, {})
    assert sorted(os.listdir(tmp_path)) == ["20", "25"]


def test_an_array_keeps_the_placement_of_its_target(tmp_path):
    save(tmp_path, 1)
    placed = NamedSharding(jax.make_mesh((1,), ("data",)), PartitionSpec("data"))
    target = {"x": jax.ShapeDtypeStruct((3, 5), jnp.float32, sharding=placed)}
    assert restore(tmp_path, target).tree["x"].sharding == placed
    assert restore(tmp_path, {"x": jax.device_put(jnp.zeros((3, 5)), placed)}).tree["x"].committed
    assert not restore(tmp_path, {"x": jnp.zeros((3, 5))}).tree["x"].committed


SHARDED = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from dpl_jax.runs.checkpoints import Checkpoints
mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
value = np.arange(32, dtype=np.float32).reshape(8, 4)
place = lambda *spec: NamedSharding(mesh, P(*spec))
state = {"rows": jax.device_put(value, place("data")), "all": jax.device_put(value, place())}
with Checkpoints(sys.argv[1]) as checkpoints:
    checkpoints.save(1, state, {})
target = {
    "rows": jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=place(None, "data")),
    "all": jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=place("data")),
}
found = Checkpoints(sys.argv[1]).restore_latest(target).tree
assert jax.tree.map(lambda x: x.sharding, found) == jax.tree.map(lambda x: x.sharding, target)
assert all((np.asarray(x) == value).all() for x in found.values())
print("ok")
"""


def run_python(code, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_checkpoint_of_four_devices_is_restored_in_another_sharding(tmp_path):
    output, _ = run_python(SHARDED, tmp_path, JAX_NUM_CPU_DEVICES="4").communicate()
    assert output == "ok\n"


def test_a_checkpoint_that_does_not_fit_lists_every_difference(tmp_path):
    saved = {"a": np.zeros((2, 3), np.float32), "b": {"c": np.zeros(4, np.int32)}, "d": np.zeros(1)}
    save(tmp_path, 1, tree=saved)
    target = {"a": np.zeros((2, 5), np.float32), "b": {"c": np.zeros(4)}, "e": np.zeros(2)}
    with pytest.raises(CheckpointError) as error, Checkpoints(tmp_path) as checkpoints:
        checkpoints.restore_latest(target)
    message = str(error.value)
    assert "a is float32[2, 3], this run needs float32[2, 5]" in message
    assert "b/c is int32[4], this run needs float64[4]" in message
    assert "e is missing" in message
    assert "d is not part of this run" in message
    assert "--workdir" in message
    assert os.listdir(tmp_path) == ["1"]


def test_load_takes_a_run_its_checkpoints_or_one_of_them(tmp_path):
    save(tmp_path / "checkpoints", 1, 2)
    (tmp_path / "checkpoints" / "2.damaged").mkdir()
    for path, number in (
        (tmp_path, 2),
        (tmp_path / "checkpoints", 2),
        (tmp_path / "checkpoints" / "1", 1),
    ):
        found = load(path)
        assert (found.step, found.metadata) == (number, {"epoch": number})
        assert_same(found.tree, {"x": np.full((3, 5), number, np.float32)})
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        load(tmp_path / "elsewhere")


def test_leftovers_of_an_interrupted_save_are_removed(tmp_path):
    save(tmp_path, 1)
    shutil.copytree(tmp_path / "1", tmp_path / "2.orbax-checkpoint-tmp")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore_latest(TARGET).step == 1
    assert os.listdir(tmp_path) == ["1"]


def test_no_threads_and_no_files_stay_open(tmp_path):
    save(tmp_path, 1)
    load(tmp_path)
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for number in range(2, 8):
        save(tmp_path, number)
        load(tmp_path)
    assert threading.active_count() <= threads + 2  # a pool's threads end a little later
    assert len(os.listdir("/proc/self/fd")) <= files + 2


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (jax.random.key(0), "x is a typed PRNG key"),
        (3, "x is a int, not an array"),
        ("text", "x is a str, not an array"),
        (np.array([{}], object), "x is of type object, not of numbers"),
        (np.array(["a"]), "not of numbers"),
    ],
)
def test_what_cannot_be_saved_is_named(tmp_path, leaf, message):
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(ValueError, match=message):
        checkpoints.save(1, {"x": leaf}, {})
    assert os.listdir(tmp_path) == []


def test_two_leaves_of_one_name_are_refused(tmp_path):
    tree = {"a": {"b": np.zeros(1)}, "a/b": np.zeros(2)}
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(ValueError, match="both named a/b"):
        checkpoints.save(1, tree, {})


def record(dtype, *shape):
    return {"dtype": dtype, "shape": list(shape), "sha256": ""}


@pytest.mark.parametrize(
    "leaf",
    [
        record("float32", 1 << 20, 1 << 20),  # 4 TiB
        record("object", 3),
        record("<U1000000", 3),
        record("float32", -1),
        record("nonsense", 1),
    ],
)
def test_a_stranger_s_manifest_cannot_exhaust_memory(leaf):
    with pytest.raises((ValueError, TypeError)):
        empty_arrays({"leaves": {"x": leaf}})


def test_a_manifest_is_bound_to_its_step_and_its_contents():
    manifest = make_manifest(3, {"x": np.arange(4)}, {"epoch": 1})
    assert check_manifest(json.loads(json.dumps(manifest)), 3) == manifest
    for changed in (None, [], {}, manifest | {"step": 4}, manifest | {"metadata": {"epoch": 2}}):
        with pytest.raises(ValueError, match=r"manifest is|renamed"):
            check_manifest(changed, 3)
    with pytest.raises(ValueError, match="JSON compliant"):
        make_manifest(3, {}, {"loss": float("nan")})


def test_orbax_says_nothing_while_all_is_well(tmp_path, caplog, capfd):
    with caplog.at_level(logging.INFO):
        save(tmp_path, 1, 2)
        load(tmp_path)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
