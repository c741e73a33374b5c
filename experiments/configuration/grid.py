"""The keys of `grid`: optimizers x problems, each pair a cell."""

from dataclasses import dataclass, field
from typing import Annotated

from omegaconf import MISSING

from experiments.configuration.ranges import DISTINCT, SEED, SOME, Positive, above


@dataclass
class GridConfig:
    """Optimizers x problems, each a cell; the seeds of a cell are lanes of one program.

    Attributes:
        optimizers: names of files of `configs/optimizer/`.
        problems: names in `definitions`.
        definitions: of each problem, what `python -m experiments run` would be given, such as
            `[model=mlp, data=digits]`.
        seeds: of the initial weights and the twins.
        flows: the flows that are followed.
        without: of an optimizer, the flows that it does not have.
        learning_rates: of each problem and optimizer.
        compared: measure the sharpness along each flow and the time that it takes, too.
        segment: records between checkpoints, at most: what a kill loses.
        workers: cells in work at a time.
    """

    optimizers: Annotated[list[str], SOME, DISTINCT] = MISSING
    problems: Annotated[list[str], SOME, DISTINCT] = MISSING
    definitions: dict[str, list[str]] = MISSING
    seeds: Annotated[list[int], SOME, DISTINCT, SEED] = MISSING
    flows: Annotated[list[str], SOME, DISTINCT] = MISSING
    without: dict[str, list[str]] = field(default_factory=dict)
    learning_rates: Annotated[dict[str, dict[str, float]], above(0)] = field(default_factory=dict)
    compared: bool = False
    segment: Positive = 10
    workers: Positive = 2

    def check_together(self) -> None:
        for problem in self.problems:
            if problem not in self.definitions:
                raise ValueError(
                    f"grid.problems={problem}: no such problem; grid.definitions has "
                    + ", ".join(self.definitions)
                )
        if "stable" not in self.flows:
            raise ValueError("grid.flows lacks stable, which the others are compared with")
        allowed = [flow for flow in self.flows if flow != "stable"]
        for optimizer, flows in self.without.items():
            for flow in flows:
                if flow not in allowed:
                    raise ValueError(
                        f"grid.without.{optimizer}={flow}: what an optimizer can be without is "
                        + ", ".join(allowed)
                    )
