"""Checks of what a study varies."""

from __future__ import annotations

from collections.abc import Sequence

from dpl_jax.errors import ConfigError


def check_numbers(flag: str, values: Sequence[int], least: int) -> None:
    """Checks a list of seeds, shots or maximum context lengths.

    Args:
      flag: what sets them, such as "--seeds".
      values: the numbers.
      least: the smallest that is allowed.

    Raises:
      ConfigError: for none, one twice, one below ``least``, or one that is not a whole number.
    """
    whole = all(isinstance(value, int) and value >= least for value in values)
    if not values or not whole or len(set(values)) < len(values):
        raise ConfigError(
            f"{flag} is {','.join(map(str, values))!r}; it must list different whole numbers of "
            f"at least {least}, such as {flag}=1,2,3"
        )
