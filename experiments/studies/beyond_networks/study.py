"""Is Adam the best method off deep networks? Final losses within one budget for all methods.

Learning rates are tuned on some seeds and reported on others: of the initial weights and of the
order of the minibatches. Adam runs tuned and at its default learning rate.

Orabona ("Neural networks (maybe) evolved to make Adam the best optimizer", 2020) makes the claim;
the problems and the line search are those of Vaswani et al. 2019 (arXiv 1905.09997).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

import numpy as np
import xarray as xr

from experiments.configuration.ranges import (
    SEED,
    SOME,
    Positive,
    Seed,
    above,
    at_least,
    between,
    check_apart,
    within,
)
from experiments.studies.beyond_networks import figures, tables
from experiments.studies.beyond_networks.measures import measured
from experiments.studies.beyond_networks.methods import METHODS
from experiments.studies.beyond_networks.problems import (
    Problem,
    factorization,
    kernel_regression,
    separable,
)
from experiments.studies.beyond_networks.running import Tuned, runner, tune
from experiments.studies.study import AbstractStudy, Shown, along

REGIMES = ("minibatch", "full batch")
AROUND = {"adam": 0.01}  # first guesses of learning rates, if not 1


def part_name(problem: str, regime: str) -> str:
    """Name the part of a problem in a regime."""
    return f"{problem}-{regime}".replace(" ", "_")


@dataclass(frozen=True)
class BeyondNetworks(AbstractStudy):
    """All methods on all problems, on minibatches and on all samples at once.

    Attributes:
        kernel_samples: of the 1797 digits; the others are held out.
        digit: the class that is told from all others.
        bandwidth: of the RBF, in units in which pixels are between 0 and 1.
        samples: of the other problems.
        features: of the separable data.
        margins: of the separable data, in units of the norm of the points.
        ranks: of the factorization of a 10 x 6 matrix.
        data_seed: of the data of the other problems.
        batch_size: of the minibatches.
        minibatch_passes: budget of gradients and losses together, in passes over the samples.
        full_batch_passes: the same on all samples at once.
        records: of the loss along a run.
        tuning_seeds: to tune learning rates with.
        test_seeds: for all numbers that are reported.
    """

    title: ClassVar[str] = "Is Adam the best method off deep networks?"
    kernel_samples: Annotated[int, between(1, 1796)] = 800
    digit: Annotated[int, between(0, 9)] = 8
    bandwidth: Annotated[float, above(0)] = 1.0
    samples: Annotated[int, at_least(2)] = 1000
    features: Annotated[int, at_least(2)] = 20
    margins: Annotated[Sequence[float], above(0)] = (0.01, 0.1)
    ranks: Annotated[Sequence[int], between(1, 10)] = (1, 4, 10)
    data_seed: Seed = 0
    batch_size: Positive = 100
    minibatch_passes: Positive = 50
    full_batch_passes: Annotated[int, at_least(2)] = 500
    records: Positive = 50
    tuning_seeds: Annotated[Sequence[int], SOME, SEED] = (1000, 1001)
    test_seeds: Annotated[Sequence[int], SOME, SEED] = (0, 1, 2, 3, 4, 5, 6, 7)

    def __post_init__(self):
        fewest = min(self.samples, self.kernel_samples)
        below = within(lambda size: size < fewest, f"below the {fewest} samples")
        below.check("study.batch_size", self.batch_size)
        check_apart("study", self.tuning_seeds, self.test_seeds)

    def parts(self) -> Mapping[str, Callable[[], xr.Dataset]]:
        return {
            part_name(name, regime): partial(self._part, name, regime)
            for name in self._problems()
            for regime in REGIMES
        }

    def joined(self, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        return along(
            "problem",
            {
                name: along("regime", {r: parts[part_name(name, r)] for r in REGIMES})
                for name in self._problems()
            },
        )

    @staticmethod
    def show(results: xr.Dataset) -> Shown:
        found = measured(results)
        return Shown(results, tables.tables(found), tables.findings(found), figures.draws(found))

    def _problems(self) -> dict[str, Callable[[], Problem]]:
        kernel = partial(kernel_regression, self.kernel_samples, self.digit)
        seed = self.data_seed
        problems = {"RBF kernel": partial(kernel, self.bandwidth)}
        for margin in self.margins:
            data = (self.samples, self.features, margin, seed)
            problems[f"margin {margin:g}"] = partial(separable, *data)
        problems["linear"] = partial(factorization, self.samples, None, seed)
        for rank in self.ranks:
            name = f"rank {rank}"
            problems[name] = partial(factorization, self.samples, rank, seed)
        return problems

    def _part(self, name: str, regime: str) -> xr.Dataset:
        problem = self._problems()[name]()
        minibatch = regime == "minibatch"
        batch_size = self.batch_size if minibatch else len(problem.samples.inputs)
        passes = self.minibatch_passes if minibatch else self.full_batch_passes
        found: list[xr.Dataset] = []
        for key, method in METHODS.items():
            if minibatch and method.needs_all_samples:
                found.append(xr.Dataset(coords={"method": [key]}))
                continue
            run = runner(problem, method, batch_size, passes, self.records)
            tuned = Tuned(method.learning_rate or np.nan, True, np.array([]), np.array([]))
            if method.learning_rate is None:
                tuned = tune(run, self.tuning_seeds, AROUND.get(key, 1.0))
            runs = run([tuned.learning_rate] * len(self.test_seeds), self.test_seeds)
            values = runs._asdict() | {
                "learning_rate": tuned.learning_rate,
                "interior": float(tuned.interior),
                "searched": len(tuned.rates),
            }
            dims = ("method", "seed", "record")
            arrays = {name: np.asarray(value)[None] for name, value in values.items()}
            found.append(
                xr.Dataset(
                    {name: (dims[: array.ndim], array) for name, array in arrays.items()},
                    {"method": [key], "seed": list(self.test_seeds)},
                )
            )
        part = xr.concat(found, "method", join="outer", coords="minimal")
        return part.assign(infimum=problem.infimum)
