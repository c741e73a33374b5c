"""Ranges that values of a configuration have to lie in."""

import math


def check(key: str, value: int | float, inside: bool, allowed: str) -> None:
    """Refuse a value that is not `inside` its range, or not finite.

    Raises:
        ValueError: naming the key, the value and what is allowed.
    """
    if not (inside and math.isfinite(value)):
        raise ValueError(f"{key}={value} is out of range: it must be {allowed}")


def check_at_least(key: str, value: int | float, least: int) -> None:
    """Refuse a value below `least`."""
    check(key, value, value >= least, f"at least {least}")


def check_above_zero(key: str, value: int | float) -> None:
    """Refuse a value that is not positive."""
    check(key, value, value > 0, "above 0")
