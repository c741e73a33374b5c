from dataclasses import dataclass, field
from typing import Annotated

import pytest

from experiments.configuration.ranges import (
    BOUNDS,
    DISTINCT,
    SEED,
    SOME,
    above,
    at_least,
    between,
    check_apart,
    check_values,
    inside,
)


@dataclass
class Inner:
    few: Annotated[int | None, between(1, 3)] = 2
    many: Annotated[int, at_least(0)] = 5

    def check_together(self):
        if self.few is not None and self.few > self.many:
            raise ValueError(f"few={self.few} is more than many={self.many}")


@dataclass
class Outer:
    rate: Annotated[float, above(0)] = 1.0
    decay: Annotated[float, inside(0, 1)] = 0.5
    seeds: Annotated[list[int], SOME, DISTINCT, SEED] = field(default_factory=lambda: [0])
    names: Annotated[list[str], SOME] = field(default_factory=lambda: ["a", "a"])
    rates: Annotated[dict[str, float], above(0)] = field(default_factory=dict)
    bounds: Annotated[dict[str, list[float]], BOUNDS] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    others: dict[str, Inner] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 0.0}, r"rate=0\.0 is out of range: it must be above 0"),
        ({"rate": float("inf")}, "rate=inf is out of range"),
        ({"decay": 1.0}, r"decay=1\.0 is out of range: it must be above 0 and below 1"),
        ({"seeds": [1, -1]}, r"seeds=-1 is out of range: it must be from 0 to 2\^32 - 1"),
        ({"seeds": []}, "seeds is empty: it must name at least one"),
        ({"seeds": [1, 1]}, r"seeds=\[1, 1\] names one of them twice"),
        ({"names": []}, "names is empty"),
        ({"rates": {"sgd": -1.0}}, r"rates\.sgd=-1\.0 is out of range"),
        (
            {"bounds": {"sgd": [1.0, 0.5]}},
            r"bounds\.sgd=\[1\.0, 0\.5\]: it must be \[LEAST",
        ),
        ({"inner": Inner(few=4)}, "inner.few=4 is out of range: it must be from 1 to 3"),
        ({"inner": Inner(many=1)}, "few=2 is more than many=1"),
        ({"others": {"x": Inner(many=-1)}}, "others.x.many=-1 is out of range"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_place(changes, message):
    check_values(Outer())
    check_values(Outer(inner=Inner(few=None)))
    with pytest.raises(ValueError, match=f"^{message}"):
        check_values(Outer(**changes))


def test_what_is_tuned_on_some_seeds_is_not_reported_on_them():
    check_apart("study", [1000], [0, 1])
    with pytest.raises(ValueError, match=r"\[1\] are in study.test_seeds too"):
        check_apart("study", [1, 2], [0, 1])


@pytest.mark.parametrize("value", ["many", float("nan"), float("inf"), -(10**400)])
def test_what_is_no_number_in_the_range_is_told_wherever_it_is(value):
    """OmegaConf does not convert the values of a mapping in a mapping."""
    message = rf"^rates\.a\.b={value} is out of range: it must be above 0$"
    with pytest.raises(ValueError, match=message):
        above(0).check("rates", {"a": {"b": value}})


def test_an_integer_has_no_end():
    above(0).check("size", 10**400)
    with pytest.raises(ValueError, match=r"size=10{400} is out of range: it must be from 1 to 3"):
        between(1, 3).check("size", 10**400)
