"""Floating-point operations and operands of the matrix products in a program.

XLA's own count (``compiled.cost_analysis()``) takes the body of a loop once, however often it
runs, and our layers are a loop; so the products are counted in the traced program instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core

Cost = Callable[[core.JaxprEqn], int]  # of one matrix product


def matmul_flops(function: Callable[..., Any], *args: Any) -> int:
    """Operations (a multiplication and an addition are two) of ``function(*args)``.

    Args:
      function: traced, never run.
      args: arrays, or their shapes.
    """
    return matmul_costs(function, *args)[0]


def matmul_costs(function: Callable[..., Any], *args: Any) -> tuple[int, int]:
    """Operations as in :func:`matmul_flops`, and bytes of the products' operands and results.

    The bytes are what memory has to move when every product reads both operands and writes its
    result, and no cache keeps anything between two products.
    """
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    return _count(jaxpr, _operations), _count(jaxpr, _bytes)


def xla_flops(function: Callable[..., Any], *args: Any) -> float:
    """XLA's count of the compiled program, elementwise work included, loop bodies once."""
    analysis = jax.jit(function).lower(*args).compile().cost_analysis()
    return float((analysis or {}).get("flops", math.nan))


def _count(jaxpr: core.Jaxpr, cost: Cost) -> int:
    return sum(_of_equation(equation, cost) for equation in jaxpr.eqns)


def _of_equation(equation: core.JaxprEqn, cost: Cost) -> int:
    if equation.primitive.name == "dot_general":
        return cost(equation)
    times = equation.params["length"] if equation.primitive.name == "scan" else 1
    return times * sum(_count(inner, cost) for inner in _inner(equation))


def _operations(product: core.JaxprEqn) -> int:
    (contracted, _), _ = product.params["dimension_numbers"]
    left, result = _shape(product.invars[0]), _shape(product.outvars[0])
    return 2 * math.prod(result) * math.prod(left[axis] for axis in contracted)


def _bytes(product: core.JaxprEqn) -> int:
    values: list[Any] = [*product.invars, *product.outvars]
    return sum(math.prod(_shape(value)) * value.aval.dtype.itemsize for value in values)


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _inner(equation: core.JaxprEqn) -> Iterator[core.Jaxpr]:
    """The programs inside a loop, a jitted or rematerialised function, .."""
    for value in equation.params.values():
        if isinstance(value, core.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, core.Jaxpr):
            yield value
