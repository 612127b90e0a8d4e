"""The expected time of a step is what a calculation by hand gives; two devices do half each."""

from dataclasses import replace

import jax.numpy as jnp
import pytest

from benchmarks.flops import matmul_costs
from benchmarks.partition import device_cost
from benchmarks.problem import SMALL, VIT_B16
from benchmarks.report import replace_part
from benchmarks.scaling import expected_step, step_costs, traced_costs
from benchmarks.step_time import (
    LAYOUTS,
    Cost,
    Exchanged,
    Layout,
    Terms,
    communication_seconds,
    fit_cost,
    launch_seconds,
    on_one_gpu,
    step_terms,
)
from dpl_jax.clip.config import ClipConfig
from dpl_jax.training.memory import Plan

AS_IT_IS = Plan(remat=False, class_chunks=1)
ONE, EIGHT, _, MANY = LAYOUTS


@pytest.fixture(scope="module")
def traced():
    return traced_costs(SMALL, "float32")


def test_bytes_of_products_are_those_of_their_operands_and_results():
    left, right = jnp.zeros((3, 5)), jnp.zeros((5, 7))
    assert matmul_costs(jnp.matmul, left, right) == (2 * 3 * 5 * 7, 4 * (15 + 35 + 21))


def test_a_step_of_any_size_costs_what_the_fit_through_four_sizes_says(traced):
    for cost, counted in zip(traced, step_costs(SMALL, "float32", 3, 50), strict=True):
        expected = cost.fixed + 3 * cost.image + 50 * cost.text + 150 * cost.pair
        assert counted == pytest.approx(expected, rel=1e-9)


def test_the_logits_are_three_products_in_each_half_step(traced):
    """One forward, two backward; 2 F operations for each image and class, two half-steps."""
    assert traced[0].pair == 2 * 3 * 2 * SMALL.projection_dim


def test_a_cost_is_found_from_its_values():
    cost = Cost(7.0, 3.0, 5.0, 2.0)
    values = {(b, c): 7 + 3 * b + 5 * c + 2 * b * c for b in (1, 4) for c in (2, 10)}
    assert fit_cost(values) == cost


def test_a_gpu_has_its_rows_rounded_up_what_is_fixed_and_all_logits():
    cost = Cost(fixed=1000.0, image=100.0, text=10.0, pair=1.0)
    assert on_one_gpu(cost, AS_IT_IS, 4, 100, 1) == 1000 + 400 + 1000 + 400
    assert on_one_gpu(cost, AS_IT_IS, 4, 100, 8) == 1000 + 100 + 130 + 400  # 1 image, 13 classes
    assert on_one_gpu(cost, Plan(False, 4), 4, 100, 8) == 1000 + 100 + 195 + 400
    assert on_one_gpu(cost, Plan(True, 1), 4, 100, 8) == 1.5 * (1000 + 100 + 130) + 400


def test_the_kernels_of_a_step_at_vit_b16():
    """12 image layers and twice 12 text layers, 36 kernels each, two half-steps, 4 us."""
    assert launch_seconds(VIT_B16, AS_IT_IS) == pytest.approx(2 * 36 * 36 * 4e-6)
    assert launch_seconds(VIT_B16, Plan(True, 1)) == pytest.approx(2 * 36 * 48 * 4e-6)
    in_two = 2 * (12 * 36 + 2 * 24 * 48) * 4e-6  # only the texts are encoded again
    assert launch_seconds(VIT_B16, Plan(False, 2)) == pytest.approx(in_two)


def test_the_collectives_of_a_step_by_hand():
    exchanged = Exchanged(features=512, prompts=1000, alphas=168)
    gathered = 2 * (4 + 21000) * 512 * 4  # bytes in two half-steps
    summed = 2 * (1000 + 168) * 4
    within = 7 / 8 * (gathered + summed) / (0.7 * 450e9) + 6 * 20e-6
    beyond = 63 / 64 * (gathered + summed) / (0.7 * 50e9) + 6 * (20e-6 + 3 * 10e-6)
    assert communication_seconds(exchanged, 4, 21000, ONE) == 0
    assert communication_seconds(exchanged, 4, 21000, EIGHT) == pytest.approx(within)
    assert communication_seconds(exchanged, 4, 21000, MANY) == pytest.approx(beyond)


def test_a_step_takes_its_longest_term_and_the_communication():
    assert Terms(3.0, 2.0, 1.0, 0.5).seconds == 3.5
    assert Terms(3.0, 2.0, 1.0, 0.5).limit == "compute"
    assert Terms(1.0, 2.0, 3.0, 4.0).seconds == 7.0
    assert Terms(1.0, 2.0, 3.0, 4.0).limit == "communication"
    terms = step_terms(494.7e12, 3.35e12, 0.25, 0.5, "float32")
    assert terms == pytest.approx((1 / 0.4, 2 / 0.8, 0.25, 0.5))
    assert step_terms(989.4e12, 0, 0, 0, "bfloat16").compute == pytest.approx(1 / 0.4)


def test_more_gpus_are_never_worth_more_than_their_number_and_fast_links_help():
    """Of a small CLIP, where memory suffices: nothing is computed again on one GPU."""
    step = expected_step(SMALL, "float32")
    one, eight = (step(256, 1000, layout) for layout in (ONE, EIGHT))
    slow = step(256, 1000, Layout("slow", 8, 1e9))
    assert one.compute / 8 < eight.compute < one.compute
    assert one.memory / 8 < eight.memory < one.memory
    assert eight.communication < slow.communication and one.communication == 0


def test_two_devices_do_half_of_a_step_each_and_never_less():
    """By XLA's account of the compiled program; prefix, logits and optimiser are whole on each."""
    text, vision = (replace(tower, num_hidden_layers=1) for tower in (SMALL.text, SMALL.vision))
    one_layer = ClipConfig(text=text, vision=vision)
    one, two = (device_cost(one_layer, devices, 256, 8) for devices in (1, 2))
    assert 0.5 <= two.flops / one.flops < 0.6
    assert 0.5 < two.traffic / one.traffic < 1  # both read all weights


def test_a_part_of_a_page_is_replaced_and_the_rest_stays(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n\n<!-- a -->\nold\n<!-- end a -->\nafter\n")
    replace_part(page, "a", "new")
    assert page.read_text() == "before\n\n<!-- a -->\nnew\n<!-- end a -->\nafter\n"
