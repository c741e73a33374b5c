"""The keys of `sweep`: lanes of a run that differ in numbers only."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from omegaconf import MISSING

from experiments.configuration.functions import FlowName
from experiments.configuration.ranges import check_at_least

SPACINGS = {"linear": np.linspace, "geometric": np.geomspace}


@dataclass
class SweepConfig:
    """Axes of a sweep, each a numeric key of a run such as `optimizer.learning_rate`, and its cut.

    An axis is written `KEY=NUMBER,NUMBER,...`, `KEY=linear(FIRST,LAST,COUNT)` or with `geometric`.
    Lanes are all combinations; if `zipped`, the first values of all axes, the second ones, ...
    """

    axes: list[str] = MISSING
    zipped: bool = MISSING
    flows: list[FlowName] = MISSING
    segment: int = MISSING
    chunk: int = MISSING

    def __post_init__(self):
        if not self.axes:
            raise ValueError("sweep.axes is empty: write sweep.axes=['KEY=NUMBER,NUMBER',...]")
        keys = [axis_of(axis)[0] for axis in self.axes]
        if len(set(keys)) < len(keys):
            raise ValueError(f"sweep.axes={self.axes} names one of them twice")
        lengths = {key: len(numbers) for key, numbers in map(axis_of, self.axes)}
        if self.zipped and len(set(lengths.values())) > 1:
            raise ValueError(f"sweep.axes have lengths {lengths}: zipped ones must be equally long")
        if FlowName.stable not in self.flows:
            raise ValueError("sweep.flows lacks stable, which the others are compared with")
        if len(set(self.flows)) < len(self.flows):
            raise ValueError(f"sweep.flows={self.flows} names one of them twice")
        check_at_least("sweep.segment", self.segment, 1)
        check_at_least("sweep.chunk", self.chunk, 1)


@dataclass
class DistributedConfig:
    """Where `jax.distributed` finds the other processes; `coordinator=auto` where it knows itself.

    Hosts with GPUs or CPUs need none of it: they share the work by the folder alone.
    """

    coordinator: str | None = MISSING
    num_processes: int | None = MISSING
    process_id: int | None = MISSING

    def __post_init__(self):
        told = (self.num_processes, self.process_id)
        if self.coordinator in (None, "auto"):
            if told != (None, None):
                raise ValueError(
                    "distributed.num_processes and distributed.process_id need "
                    "distributed.coordinator=HOST:PORT"
                )
        elif self.num_processes is None or self.process_id is None:
            raise ValueError(
                f"distributed.coordinator={self.coordinator} needs distributed.num_processes and "
                "distributed.process_id"
            )
        elif not 0 <= self.process_id < self.num_processes:
            raise ValueError(
                f"distributed.process_id={self.process_id} is out of range: it must be from 0 to "
                f"{self.num_processes - 1}, one less than distributed.num_processes"
            )


def axis_of(text: str) -> tuple[str, Sequence[int | float]]:
    """Read an axis: its key and its values.

    Raises:
        ValueError: it has none, or is not written as an axis.
    """
    key, _, values = (part.strip() for part in text.partition("="))
    spaced = re.fullmatch(r"(\w+)\((.*)\)", values)
    try:
        numbers = [_number(number) for number in (spaced[2] if spaced else values).split(",")]
        if spaced:
            first, last, count = numbers
            numbers = SPACINGS[spaced[1]](first, last, count).tolist()
            if isinstance(first, int) and all(number.is_integer() for number in numbers):
                numbers = [int(number) for number in numbers]
        if not numbers or not all(math.isfinite(number) for number in numbers):
            raise ValueError
    except (ValueError, TypeError, KeyError):
        raise ValueError(
            f"sweep.axes has '{text}': an axis is KEY=NUMBER,NUMBER,... or "
            "KEY=linear(FIRST,LAST,COUNT) or KEY=geometric(FIRST,LAST,COUNT), of finite numbers, "
            "geometric from and to other than 0"
        ) from None
    return key, numbers


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"\s*-?\d+\s*", text) else float(text)
