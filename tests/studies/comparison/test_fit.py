"""The training of a baseline as members, against a plain loop with SGD written out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax.baselines.coop import CoOp
from dpl_jax.baselines.training import baseline_stage
from dpl_jax.members.groups import member_mesh
from dpl_jax.members.seed_bank import load_seed_bank
from dpl_jax.members.states import Member

MEMBERS = [Member(2, 1), Member(2, 2)]


def test_members_equal_a_loop_of_sgd(config: ConfigDict) -> None:
    config = config.copy_and_resolve_references()
    bank, train = load_seed_bank(config, [1, 2], hold_out=False), FrozenConfigDict(config.train)
    method, clip = CoOp(2), bank.inputs.clip
    inputs, mesh = method.inputs(clip, bank.inputs.sampled), member_mesh(jax.devices()[:2])
    stage = baseline_stage(config, bank, mesh, method, inputs, MEMBERS, "fit")
    states, metrics = stage.run_steps(stage.start(), 0, slice(None))

    @jax.jit
    def gradient(context: jax.Array, images: jax.Array, labels: jax.Array) -> tuple:
        def loss(context: jax.Array) -> jax.Array:
            logits = method.logits({"text": context}, clip, inputs, images)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        return jax.value_and_grad(loss)(context)

    orders = bank.train_orders([1, 2], train.batch_size, 0)  # (steps, M, B)
    task = bank.inputs.task.replace(train=bank.inputs.train.resident)
    for index, member in enumerate(MEMBERS):
        context = np.asarray(method.init(clip, inputs, member.seed)["text"])
        momentum, losses = np.zeros_like(context), []
        for order in orders[:, index]:
            value, slope = gradient(
                context, *task.train_batch(jnp.asarray(order), jax.random.key(0))
            )
            momentum = 0.9 * momentum + np.asarray(slope) + 5e-4 * context
            context = context - 0.02 * momentum
            losses.append(float(value))
        ours = states.params["prompts"]["text"][index]
        np.testing.assert_allclose(ours, context, rtol=0, atol=1e-5)
        np.testing.assert_allclose(metrics["train"]["loss"][:, index], losses, rtol=1e-4)
    assert np.abs(ours - np.asarray(method.init(clip, inputs, 2)["text"])).max() > 1e-3
