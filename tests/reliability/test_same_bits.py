"""The same seed on the same machine gives the same bits; a gradient that is not finite is told."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from ml_collections import FrozenConfigDict

from dpl_jax import config
from dpl_jax.training.optimizers import search_optimizer
from dpl_jax.training.steps import create_state, descend
from tests.reliability.conftest import Start
from tests.reliability.test_extension import run
from tests.reliability.test_interrupts import assert_same_run

SHORT = {"search.epochs": 1, "train.epochs": 1, "checkpoint.every_steps": 0}


@pytest.mark.parametrize("stage", ["search", "train"])
def test_two_processes_and_a_third_without_compiled_programs_agree_bit_for_bit(
    stage: str, start: Start, files: Path, fields: dict[str, Any], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        assert start(stage, tmp_path / name, fields=SHORT) == 0
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    jax.clear_caches()
    try:
        run(stage, files, tmp_path / "compiled", fields | SHORT)
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
    assert_same_run(tmp_path / "two", tmp_path / "one")
    assert_same_run(tmp_path / "compiled", tmp_path / "one")


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("wrong", [jnp.nan, jnp.inf, -jnp.inf])
@pytest.mark.parametrize("group", ["alphas", "prompts"])
def test_a_gradient_that_is_not_finite_is_noticed_at_its_step(
    group: str, wrong: float, optimizer: str
) -> None:
    search = config.search()
    search.alphas.name = optimizer
    search = FrozenConfigDict(search)
    params = {"alphas": {"image": jnp.zeros((2, 3))}, "prompts": {"image": jnp.ones((2, 3, 4))}}
    state = create_state(params, search_optimizer(search, 5), 1)

    @jax.custom_vjp
    def value(leaf: jax.Array) -> jax.Array:
        return jnp.zeros(())  # the loss itself stays finite

    def backward(shape: Any, slope: jax.Array) -> tuple[jax.Array]:
        return (jnp.zeros(shape).at[0, 1].set(wrong),)

    value.defvjp(lambda leaf: (value(leaf), leaf.shape), backward)

    def objective(params: Any, batch: Any) -> Any:
        loss = value(params[group]["image"])
        return loss, (loss, loss)

    after, metrics = descend(objective, state, group, (), search_optimizer(search, 5))
    assert metrics["loss"] == 0 and not metrics["finite"]
    assert not jnp.isfinite(after.params[group]["image"]).all()
