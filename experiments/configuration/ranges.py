"""Ranges that values of a configuration have to lie in."""

import math
from collections.abc import Sequence


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


def check_seeds(key: str, seeds: Sequence[int]) -> None:
    """Refuse numbers that are no seeds, and a list without any."""
    if not seeds:
        raise ValueError(f"{key} is empty: it must name at least one")
    for seed in seeds:
        check(key, seed, 0 <= seed < 2**32, "from 0 to 2^32 - 1")


def check_apart(group: str, tuning: Sequence[int], test: Sequence[int]) -> None:
    """Refuse seeds to tune with that are also used to report."""
    check_seeds(f"{group}.tuning_seeds", tuning)
    check_seeds(f"{group}.test_seeds", test)
    if shared := sorted(set(tuning) & set(test)):
        raise ValueError(
            f"{group}.tuning_seeds={list(tuning)}: {shared} are in {group}.test_seeds too, and "
            "what is tuned on them cannot be reported on them"
        )
