"""The keys of `grid`: a study of many cells, each an optimizer on a problem."""

from dataclasses import dataclass

from omegaconf import MISSING

from experiments.configuration.functions import FlowName
from experiments.configuration.ranges import check, check_at_least


@dataclass
class GridConfig:
    """Optimizers x problems, each a cell; the seeds of a cell are lanes of one program.

    A problem is defined by what the command line would take after `python -m experiments run`, such
    as `[model=mlp, data=digits]`; `learning_rates` has a number for each problem and optimizer.
    `without` has the flows that an optimizer does not have.
    With `compared`, the sharpness along each flow and the time that it takes are measured too.
    """

    optimizers: list[str] = MISSING
    problems: list[str] = MISSING
    definitions: dict[str, list[str]] = MISSING
    seeds: list[int] = MISSING
    flows: list[FlowName] = MISSING
    without: dict[str, list[str]] = MISSING
    learning_rates: dict[str, dict[str, float]] = MISSING
    compared: bool = MISSING
    segment: int = MISSING
    workers: int = MISSING

    def __post_init__(self):
        for key in ("optimizers", "problems", "seeds", "flows"):
            if not getattr(self, key):
                raise ValueError(f"grid.{key} is empty: it must name at least one")
        for key in ("optimizers", "problems", "seeds", "flows"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"grid.{key}={values} names one of them twice")
        for problem in self.problems:
            if problem not in self.definitions:
                raise ValueError(
                    f"grid.problems={problem}: no such problem; grid.definitions has "
                    + ", ".join(self.definitions)
                )
        for seed in self.seeds:
            check("grid.seeds", seed, 0 <= seed < 2**32, "from 0 to 2^32 - 1")
        if FlowName.stable not in self.flows:
            raise ValueError("grid.flows lacks stable, which the others are compared with")
        for optimizer, flows in self.without.items():
            allowed = [flow.name for flow in FlowName if flow is not FlowName.stable]
            for flow in flows:
                if flow not in allowed:
                    raise ValueError(
                        f"grid.without.{optimizer}={flow}: what an optimizer can be without is "
                        + ", ".join(allowed)
                    )
        check_at_least("grid.segment", self.segment, 1)
        check_at_least("grid.workers", self.workers, 1)
