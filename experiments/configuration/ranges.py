"""Conditions on the values of a configuration, written in annotations.

`width: Annotated[int, at_least(1)]` says what a number may be. For a list or a mapping the same
condition holds for each of its values, and `SOME` and `DISTINCT` are conditions on the whole.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints


@dataclass(frozen=True)
class Range:
    """A range of finite numbers.

    Attributes:
        contains: returns True for the numbers of the range.
        allowed: completes the sentence "it must be ...".
    """

    contains: Callable[[float], bool]
    allowed: str

    def check(self, key: str, value: Any) -> None:
        """Refuse a number out of range; null is none, and a list or a mapping has many.

        Raises:
            ValueError: naming the key, the value and what is allowed.
        """
        if isinstance(value, Mapping):
            for name, each in value.items():
                self.check(f"{key}.{name}", each)
        elif isinstance(value, Sequence):
            for each in value:
                self.check(key, each)
        elif value is not None and not (self.contains(value) and math.isfinite(value)):
            raise ValueError(f"{key}={value} is out of range: it must be {self.allowed}")


def at_least(least: int | float) -> Range:
    """Return the range of numbers that are not below `least`."""
    return Range(lambda value: value >= least, f"at least {least}")


def above(bound: int | float) -> Range:
    """Return the range of numbers greater than `bound`."""
    return Range(lambda value: value > bound, f"above {bound}")


def between(least: int | float, most: int | float) -> Range:
    """Return the range of numbers from `least` to `most`, both included."""
    return Range(lambda value: least <= value <= most, f"from {least} to {most}")


def inside(low: int | float, high: int | float) -> Range:
    """Return the range of numbers between `low` and `high`, both excluded."""
    return Range(lambda value: low < value < high, f"above {low} and below {high}")


SEED = Range(lambda value: 0 <= value < 2**32, "from 0 to 2^32 - 1")


@dataclass(frozen=True)
class Entries:
    """A condition on a list: it has entries, and no two are equal if they are `distinct`."""

    distinct: bool

    def check(self, key: str, values: Sequence) -> None:
        """Refuse an empty list, and one that repeats itself."""
        if not values:
            raise ValueError(f"{key} is empty: it must name at least one")
        if self.distinct and len(set(values)) < len(values):
            raise ValueError(f"{key}={values} names one of them twice")


SOME = Entries(distinct=False)
DISTINCT = Entries(distinct=True)


class Bounds:
    """A condition on a list, or on each list of a mapping: the ends of a range above 0."""

    def check(self, key: str, value: Any) -> None:
        """Refuse what is not `[LEAST, MOST]`."""
        if isinstance(value, Mapping):
            for name, each in value.items():
                self.check(f"{key}.{name}", each)
        elif not (len(value) == 2 and 0 < value[0] < value[1]):
            raise ValueError(f"{key}={value}: it must be [LEAST, MOST], above 0")


BOUNDS = Bounds()


class Consistent:
    """A base of dataclasses with conditions that concern several of their values."""

    def check_together(self) -> None:
        """Refuse values that do not go together.

        Raises:
            ValueError: naming the keys.
        """
        raise NotImplementedError


def check_values(value: Any, key: str = "") -> None:
    """Validate all values of a dataclass, however deep: each by itself, then all together.

    Args:
        value: a dataclass; mappings are looked into, and other values have no conditions.
        key: the place of `value` in the configuration, for the message.

    Raises:
        ValueError: naming the first value that does not meet its condition.
    """
    prefix = f"{key}." if key else ""
    if isinstance(value, Mapping):
        for name, each in value.items():
            check_values(each, f"{prefix}{name}")
    elif is_dataclass(value):
        hints = get_type_hints(type(value), include_extras=True)
        for field in fields(value):
            each = getattr(value, field.name)
            for condition in getattr(hints[field.name], "__metadata__", ()):
                condition.check(f"{prefix}{field.name}", each)
            check_values(each, f"{prefix}{field.name}")
        if isinstance(value, Consistent):
            value.check_together()


def check_apart(group: str, tuning: Sequence[int], test: Sequence[int]) -> None:
    """Refuse seeds to tune with that are also used to report."""
    if shared := sorted(set(tuning) & set(test)):
        raise ValueError(
            f"{group}.tuning_seeds={list(tuning)}: {shared} are in {group}.test_seeds too, and "
            "what is tuned on them cannot be reported on them"
        )
