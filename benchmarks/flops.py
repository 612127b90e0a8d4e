"""Floating-point operations of the matrix products in a program.

XLA's own count (``compiled.cost_analysis()``) takes the body of a loop once, however often it
runs, and our layers are a loop; so the products are counted in the traced program instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core


def matmul_flops(function: Callable[..., Any], *args: Any) -> int:
    """Operations (a multiplication and an addition are two) of ``function(*args)``.

    Args:
      function: traced, never run.
      args: arrays, or their shapes.
    """
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def xla_flops(function: Callable[..., Any], *args: Any) -> float:
    """XLA's count of the compiled program, elementwise work included, loop bodies once."""
    analysis = jax.jit(function).lower(*args).compile().cost_analysis()
    return float((analysis or {}).get("flops", math.nan))


def _count(jaxpr: core.Jaxpr) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: core.JaxprEqn) -> int:
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        left, result = _shape(equation.invars[0]), _shape(equation.outvars[0])
        return 2 * math.prod(result) * math.prod(left[axis] for axis in contracted)
    times = equation.params["length"] if equation.primitive.name == "scan" else 1
    return times * sum(_count(inner) for inner in _inner(equation))


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _inner(equation: core.JaxprEqn) -> Iterator[core.Jaxpr]:
    """The programs inside a loop, a jitted or rematerialised function, .."""
    for value in equation.params.values():
        if isinstance(value, core.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, core.Jaxpr):
            yield value
