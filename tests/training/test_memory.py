"""What a step's memory is estimated at, and what is computed again when it is too little."""

import logging
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpl_jax import Clip, config
from dpl_jax.clip.config import ClipConfig, TextConfig, VisionConfig
from dpl_jax.clip.features import text_features
from dpl_jax.clip.texts import Texts
from dpl_jax.clip.weights import abstract_params
from dpl_jax.prompts.trees import candidate_rows, supernet_prompts
from dpl_jax.training import memory
from dpl_jax.training.memory import MB, Plan, StepSizes

VIT_B16 = ClipConfig(text=TextConfig(), vision=VisionConfig(patch_size=16))
IMAGENET = StepSizes(images=4, classes=1000, text_tokens=12, prefix_tokens=5, prompt_rows=21)


# Deep enough that what is kept of every layer is more than one layer's work.
DEEP = ClipConfig(
    text=TextConfig(
        hidden_size=32,
        intermediate_size=128,
        num_hidden_layers=10,
        num_attention_heads=2,
        vocab_size=100,
    ),
    vision=VisionConfig(
        hidden_size=32,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    ),
    projection_dim=16,
)


def temporary_bytes(sizes: ClipConfig, step: StepSizes, longest: int, plan: Plan) -> int:
    """What the compiled gradient of the text prompts takes besides its arguments, says XLA."""

    def shape(*lengths: int, dtype: type = jnp.float32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(lengths, dtype)

    def loss(prompts, alphas, params, texts):
        how = {"remat": plan.remat, "class_chunks": plan.class_chunks}
        clip = Clip(params, sizes, "float32", None, None, "", "", **how)
        return text_features(clip, texts, supernet_prompts(prompts, alphas)).sum()

    layers, width = sizes.text.num_hidden_layers, sizes.text.hidden_size
    args = (
        shape(layers, candidate_rows(longest), width),
        shape(layers, longest + 1),
        abstract_params(sizes),
        Texts(
            shape(step.classes, step.text_tokens, dtype=jnp.int32),
            shape(step.classes, dtype=jnp.int32),
        ),
    )
    program = jax.jit(jax.grad(loss)).lower(*args).compile()
    return program.memory_analysis().temp_size_in_bytes


def test_saving_memory_saves_what_the_estimate_says() -> None:
    sizes = StepSizes(images=1, classes=1024, text_tokens=16, prefix_tokens=0, prompt_rows=3)
    plans = Plan(False, 1), Plan(True, 1), Plan(False, 8)
    measured = [temporary_bytes(DEEP, sizes, 2, plan) for plan in plans]
    estimated = [memory.step_bytes(DEEP, sizes, plan) for plan in plans]
    assert measured[0] > 1.8 * measured[1] > 1.8 * measured[2]
    np.testing.assert_allclose(estimated, measured, rtol=0.5)


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        ({}, {"images": 8}),
        ({}, {"classes": 2000}),
        ({}, {"text_tokens": 24}),
        ({}, {"prefix_tokens": 10}),
        ({}, {"prompt_rows": 55}),
    ],
)
def test_larger_steps_take_more(smaller: dict, larger: dict) -> None:
    for plan in Plan(False, 1), Plan(True, 1), Plan(False, 8):
        less = memory.step_bytes(VIT_B16, IMAGENET._replace(**smaller), plan)
        assert less < memory.step_bytes(VIT_B16, IMAGENET._replace(**larger), plan)


def choose(free: int, step: StepSizes = IMAGENET, **settings: object) -> Plan:
    chosen = config.memory()
    chosen.update(settings)
    return memory.choose_plan(VIT_B16, step, free, memory.plans(step.classes, chosen))


def test_nothing_is_computed_again_where_memory_is_enough() -> None:
    assert choose(16 * 1024 * MB) == Plan(False, 1)


def test_less_memory_means_more_parts_and_then_remat() -> None:
    limits = [megabytes * MB for megabytes in (2500, 1300, 800, 350)]
    chosen = [choose(limit) for limit in limits]
    assert not any(plan.remat for plan in chosen[:3]) and chosen[3].remat
    parts = [plan.class_chunks for plan in chosen[:3]]
    assert 1 < parts[0] < parts[1] < parts[2]
    for plan, limit in zip(chosen, limits, strict=True):
        assert memory.step_bytes(VIT_B16, IMAGENET, plan) <= limit


def test_the_config_decides_where_it_says_something() -> None:
    assert choose(10**15, remat="on") == Plan(True, 1)
    assert choose(10**15, class_chunks=7) == Plan(False, 7)
    assert choose(10**15, class_chunks=5000).class_chunks == 1000
    assert choose(800 * MB, remat="on").remat


def test_a_step_that_cannot_fit_is_tried_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        plan = choose(MB, remat="off")
    assert plan == Plan(False, 32)
    assert len(caplog.records) == 1 and "1 MB are free" in caplog.text


def test_the_limit_is_the_devices_memory_or_16_gb(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory.memory_limit(5) == 5 * MB
    for stats, expected in (({"bytes_limit": 123}, 123), (None, 16 * 1024 * MB)):
        device = types.SimpleNamespace(memory_stats=lambda stats=stats: stats)
        monkeypatch.setattr(jax, "local_devices", lambda device=device: [device])
        assert memory.memory_limit(0) == expected


def test_parameters_and_images_count(clip: Clip) -> None:
    """With room for the step alone, but not for what lies on the device, parts are made."""
    settings = config.get_config()
    ids = jnp.zeros((512, 20), jnp.int32)
    texts = Texts(ids, jnp.zeros((512,), jnp.int32))
    step = memory.step_bytes(clip.sizes, memory.step_sizes(texts, settings), Plan(False, 1))
    settings.memory.limit_mb = step // MB + 2
    assert memory.fit_memory(clip, texts, None, settings).class_chunks == 1
    images = jnp.zeros((3 * MB,), jnp.uint8)
    assert memory.fit_memory(clip, texts, images, settings).class_chunks > 1
