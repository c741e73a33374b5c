"""The keys of `sweep`: lanes of a run that differ in numbers only."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from experiments.configuration.ranges import DISTINCT, SOME, Positive

MOST = 10**6  # numbers of an axis
SPACINGS = {"linear": np.linspace, "geometric": np.geomspace}


@dataclass
class SweepConfig:
    """Axes of a sweep, and how its lanes are cut.

    Attributes:
        axes: numeric keys of a run with their values, each written `KEY=NUMBER,NUMBER,...` or
            `KEY=linear(FIRST,LAST,COUNT)` or `KEY=geometric(FIRST,LAST,COUNT)`.
        zipped: true takes the first values of all axes together, then the second ones, and so on;
            false takes all combinations.
        flows: the flows that each lane follows.
        segment: lanes that a host computes before it writes them: what a kill loses at most.
        chunk: lanes at a time on each device; one is fastest on a CPU, accelerators want many.
    """

    axes: list[str] = field(default_factory=list)
    zipped: bool = False
    flows: Annotated[list[str], SOME, DISTINCT] = field(default_factory=lambda: ["stable", "rod"])
    segment: Positive = 16
    chunk: Positive = 1

    def check_together(self) -> None:
        if not self.axes:
            raise ValueError("sweep.axes is empty: write sweep.axes=['KEY=NUMBER,NUMBER',...]")
        lengths = {key: len(numbers) for key, numbers in map(axis_of, self.axes)}
        if len(lengths) < len(self.axes):
            raise ValueError(f"sweep.axes={self.axes} names one of them twice")
        if self.chunk > self.segment:
            raise ValueError(
                f"sweep.chunk={self.chunk} is out of range: it must be at most "
                f"sweep.segment={self.segment}, the lanes that a host computes before it writes"
            )
        if self.zipped and len(set(lengths.values())) > 1:
            raise ValueError(f"sweep.axes have lengths {lengths}: zipped ones must be equally long")
        if "stable" not in self.flows:
            raise ValueError("sweep.flows lacks stable, which the others are compared with")


@dataclass
class DistributedConfig:
    """The place of a process of a sweep on several hosts, for `jax.distributed`.

    Hosts with GPUs or CPUs need none of it: they share the work by the folder alone.

    Attributes:
        coordinator: HOST:PORT of process 0, with the other two keys; or `auto` on TPU pods and
            Slurm, where JAX finds out.
        num_processes: number of all processes.
        process_id: number of this one, from 0.
    """

    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None

    def check_together(self) -> None:
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
        elif not re.fullmatch(r".+:\d+", self.coordinator):
            raise ValueError(
                f"distributed.coordinator={self.coordinator}: it must be HOST:PORT, or auto"
            )
        elif not 0 <= self.process_id < self.num_processes:
            raise ValueError(
                f"distributed.process_id={self.process_id} is out of range: it must be from 0 to "
                f"{self.num_processes - 1}, one less than distributed.num_processes"
            )


def axis_of(text: str) -> tuple[str, Sequence[int | float]]:
    """Return the key and the values of an axis.

    Raises:
        ValueError: it has no values, or is not written as an axis.
    """
    key, _, values = (part.strip() for part in text.partition("="))
    spaced = re.fullmatch(r"(\w+)\((.*)\)", values)
    try:
        numbers = [_number(number) for number in (spaced[2] if spaced else values).split(",")]
        if spaced:
            first, last, count = numbers
            if not 0 < count <= MOST:
                raise ValueError
            numbers = SPACINGS[spaced[1]](first, last, count).tolist()
            if isinstance(first, int) and all(number.is_integer() for number in numbers):
                numbers = [int(number) for number in numbers]
        if not numbers or not all(math.isfinite(number) for number in numbers):
            raise ValueError
    except (ValueError, TypeError, KeyError):
        raise ValueError(
            f"sweep.axes has '{text}': an axis is KEY=NUMBER,NUMBER,... or "
            "KEY=linear(FIRST,LAST,COUNT) or KEY=geometric(FIRST,LAST,COUNT), of finite numbers, "
            f"geometric from and to other than 0, and at most {MOST} of them"
        ) from None
    return key, numbers


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"\s*-?\d+\s*", text) else float(text)
