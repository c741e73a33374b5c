"""Conditions on the values of a configuration, written in annotations.

`width: Annotated[int, at_least(1)]` says what a number may be. For a list or a mapping the same
condition holds for each of its values, unless it is one on the whole, such as `SOME`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, get_type_hints


@dataclass(frozen=True)
class Condition:
    """A condition on a value that is not null.

    Attributes:
        holds: returns True for the values that meet it.
        message: the error, with places for `key` and `value`.
        whole: True if a list is meant as a whole rather than each of its values.
    """

    holds: Callable[[Any], bool]
    message: str
    whole: bool = False

    def check(self, key: str, value: Any) -> None:
        """Refuse a value that does not meet the condition.

        Raises:
            ValueError: naming the key, the value and what is allowed.
        """
        if isinstance(value, Mapping):
            for name, each in value.items():
                self.check(f"{key}.{name}", each)
        elif isinstance(value, Sequence) and not isinstance(value, str) and not self.whole:
            for each in value:
                self.check(key, each)
        elif value is not None and not self.holds(value):
            raise ValueError(self.message.format(key=key, value=value))


def within(contains: Callable[[Any], bool], allowed: str) -> Condition:
    """Return the condition that a number is finite and in a range, which `allowed` describes."""
    message = f"{{key}}={{value}} is out of range: it must be {allowed}"

    def holds(value: Any) -> bool:
        # OmegaConf leaves values in mappings of mappings as they are, and integers have no end.
        number = isinstance(value, int | float) and -math.inf < value < math.inf
        return number and contains(value)

    return Condition(holds, message)


def at_least(least: int | float) -> Condition:
    """Return the condition that a number is not below `least`."""
    return within(lambda value: value >= least, f"at least {least}")


def above(bound: int | float) -> Condition:
    """Return the condition that a number is greater than `bound`."""
    return within(lambda value: value > bound, f"above {bound}")


def between(least: int | float, most: int | float) -> Condition:
    """Return the condition that a number is from `least` to `most`, both included."""
    return within(lambda value: least <= value <= most, f"from {least} to {most}")


def inside(low: int | float, high: int | float) -> Condition:
    """Return the condition that a number is between `low` and `high`, both excluded."""
    return within(lambda value: low < value < high, f"above {low} and below {high}")


SEED = within(lambda value: 0 <= value < 2**32, "from 0 to 2^32 - 1")
FITTING = within(lambda value: value < 2**31, "below 2^31")  # programs count in 32 bits
Positive = Annotated[int, at_least(1), FITTING]
Natural = Annotated[int, at_least(0), FITTING]
Seed = Annotated[int, SEED]
SOME = Condition(bool, "{key} is empty: it must name at least one", whole=True)
DISTINCT = Condition(
    lambda values: len(set(values)) == len(values), "{key}={value} names one of them twice", True
)
BOUNDS = Condition(
    lambda pair: len(pair) == 2 and 0 < pair[0] < pair[1],
    "{key}={value}: it must be [LEAST, MOST], above 0",
    whole=True,
)


def check_values(value: Any, key: str = "") -> None:
    """Validate all values of a dataclass, however deep.

    First come the conditions in its annotations, then its method `check_together` if it has one,
    for conditions on several of its values.

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
        for name, each in ((field.name, getattr(value, field.name)) for field in fields(value)):
            for condition in getattr(hints[name], "__metadata__", ()):
                condition.check(f"{prefix}{name}", each)
            check_values(each, f"{prefix}{name}")
        if hasattr(value, "check_together"):
            value.check_together()  # pyright: ignore[reportAttributeAccessIssue]


def check_apart(group: str, tuning: Sequence[int], test: Sequence[int]) -> None:
    """Refuse seeds to tune with that are also used to report."""
    if shared := sorted(set(tuning) & set(test)):
        raise ValueError(
            f"{group}.tuning_seeds={list(tuning)}: {shared} are in {group}.test_seeds too, and "
            "what is tuned on them cannot be reported on them"
        )
