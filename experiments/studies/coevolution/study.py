"""Did networks evolve to make Adam the best optimizer? A joint search over both.

Orabona's blog post "Neural networks (maybe) evolved to make Adam the best optimizer" (2020) says
that architectures were kept only if they trained with the default optimizer. If so, architectures
that are selected under an optimizer should suit it better than they suit the others, and for Adam
that should hold more than for others. Here every architecture of a random sample is trained with
every optimizer at every learning rate of a grid, from several seeds; everything else is computed
from that one table (interaction.py). The nearest observation is Li et al. (arXiv 2410.06373).

The score of a run is -log10 of its final training loss; a run that diverged, or ended above where
it began, has the loss at initialization. Grids have the same number of points for each optimizer;
where the best of an architecture is at an end of its grid, that grid is continued beyond it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, ClassVar

import numpy as np
import xarray as xr

from experiments.configuration.functions import Loss
from experiments.configuration.ranges import SEED, SOME, Positive, Seed, above, at_least, within
from experiments.problems.data.dataset import Dataset
from experiments.problems.data.digits import digits
from experiments.studies import lanes
from experiments.studies.coevolution import figures, tables
from experiments.studies.coevolution.contenders import CONTENDERS, CONTROLS, EDGE
from experiments.studies.coevolution.genome import drawn, encoded
from experiments.studies.coevolution.interaction import tuned
from experiments.studies.coevolution.loop import ways
from experiments.studies.coevolution.scores import score
from experiments.studies.coevolution.search import Ladder, searched
from experiments.studies.coevolution.statistics import analysed
from experiments.studies.coevolution.training import (
    Outcome,
    Task,
    axes,
    effective_sharpness,
    member,
    trained,
)
from experiments.studies.study import AbstractStudy, Shown

SETTINGS = ("selected", "tolerance", "spacing", "points", "steps", "training", "held_out", "draws")
"""Keys that the results remember, beside seeds and loss."""


@dataclass(frozen=True)
class Coevolution(AbstractStudy):
    """Train `architectures` random networks with each of the `optimizers`.

    Attributes:
        architectures: how many; every allele of a gene comes equally often.
        architecture_seed: of the drawing.
        optimizers: name of a contender -> middle of its grid of learning rates.
        points: of each grid, an odd number.
        spacing: of the points, in decades.
        widening: points that a grid is continued by.
        widenings: how often at most.
        search_seeds: of the initial weights, to tune learning rates and select architectures.
        test_seeds: of the initial weights, for all numbers that are reported.
        steps: of the optimizer.
        training: images to train on.
        held_out: other images, for the accuracy.
        loss: of training.
        lanes: trainings at a time; 8 fit the caches of two cores.
        selected: architectures that are selected under each optimizer.
        tolerance: a learning rate is good if its loss is at most so many times that of the best.
        draws: of the bootstrap and of the permutations.
        loop_runs: architectures on which a loop over compiled runs is timed.
    """

    title: ClassVar[str] = "Do architectures and optimizers choose each other?"
    architectures: Annotated[int, at_least(2)] = 32
    architecture_seed: Seed = 0
    optimizers: Annotated[Mapping[str, float], above(0)] = field(
        default_factory=lambda: {
            "sgd": 0.1,
            "heavy_ball": 0.1,
            "adam": 0.01,
            "rmsprop": 0.01,
            "lion": 0.001,
            "muon": 0.01,
            "adam_rotated": 0.01,  # the control: Adam in a random basis
        }
    )
    points: Annotated[int, within(lambda n: n >= 3 and n % 2 == 1, "odd and at least 3")] = 9
    spacing: Annotated[float, above(0)] = 0.5
    widening: Positive = 2
    widenings: Annotated[int, at_least(0)] = 3
    search_seeds: Annotated[Sequence[int], SOME, SEED] = (0, 1)
    test_seeds: Annotated[Sequence[int], SOME, SEED] = (2, 3)
    steps: Positive = 150
    training: Positive = 128
    held_out: Positive = 500
    loss: Loss = Loss.squared_error
    lanes: Positive = 8
    selected: Positive = 8
    tolerance: Annotated[float, at_least(1)] = 2.0
    draws: Positive = 1000
    loop_runs: Positive = 8

    def __post_init__(self):
        for name in self.optimizers:
            if name not in CONTENDERS:
                raise ValueError(
                    f"study.optimizers.{name}: no such optimizer; "
                    f"choose from {', '.join(CONTENDERS)}"
                )
        if len([name for name in self.optimizers if name not in CONTROLS]) < 2:
            raise ValueError("study.optimizers must name at least two that are no controls")
        seeds = [*self.search_seeds, *self.test_seeds]
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"study.test_seeds={list(self.test_seeds)}: seeds must differ")
        fewer = within(lambda n: n < self.architectures, "fewer than the architectures")
        fewer.check("study.selected", self.selected)

    def parts(self) -> Mapping[str, Callable[[], xr.Dataset]]:
        trainings = {name: partial(self._optimizer, name) for name in self.optimizers}
        return {**trainings, "loop": self._loop}

    def joined(self, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        tables = [parts[name].drop_attrs() for name in self.optimizers]
        results = xr.concat(tables, "optimizer").merge(parts["loop"].drop_attrs())
        genes = drawn(self.architectures, self.architecture_seed)
        # Names anew, because joined names are as wide as that of the first part.
        results = results.assign_coords(
            {gene: ("architecture", values) for gene, values in genes.items()}
        ).assign_coords(optimizer=list(self.optimizers))
        seeds = {name: list(getattr(self, name)) for name in ("search_seeds", "test_seeds")}
        settings = {name: getattr(self, name) for name in SETTINGS}
        results.attrs = seeds | settings | {"loss_function": self.loss.name}
        return analysed(results)

    @staticmethod
    def show(results: xr.Dataset) -> Shown:
        return Shown(
            results, tables.tables(results), tables.findings(results), figures.draws(results)
        )

    def _task(self, name: str) -> Task:
        data = digits(size=self.training + self.held_out)
        inputs = data.inputs.reshape(len(data.inputs), -1)
        cut = self.training
        training = Dataset(inputs[:cut], data.targets[:cut])
        held_out = Dataset(inputs[cut:], data.targets[cut:])
        return Task(name, training, held_out, self.loss, self.steps)

    def _optimizer(self, name: str) -> xr.Dataset:
        task = self._task(name)
        ladder = Ladder(self.points, self.widening, self.widenings)
        seeds = np.array([*self.search_seeds, *self.test_seeds])
        rates = self.optimizers[name] * 10.0 ** (self.spacing * ladder.places)
        genomes = encoded(drawn(self.architectures, self.architecture_seed))
        training, mesh, seconds = member(trained, task, genomes), lanes.all_devices(), []

        def train(rows: np.ndarray, columns: np.ndarray, chosen: np.ndarray) -> Outcome:
            ran = lanes.run(training, axes(rows, rates[columns], seeds[chosen]), self.lanes, mesh)
            seconds.extend(ran.seconds)
            return ran.results

        search = len(self.search_seeds)
        found = searched(train, ladder, self.architectures, len(seeds), search)
        sharp = np.full((self.architectures, len(self.test_seeds)), np.nan)
        if name in EDGE:
            # Train again at the chosen learning rates, to measure the sharpness at the end.
            scores = score(found.final, found.initial)[:, None]
            best = tuned(scores[..., :search], scores[..., search:]).rate[:, 0]
            rows, chosen = (x.ravel() for x in np.indices(sharp.shape))
            again = axes(rows, rates[best[rows]], seeds[search + chosen])
            sharpness = member(effective_sharpness, task, genomes)
            sharp = lanes.run(sharpness, again, self.lanes, mesh).results.reshape(sharp.shape)
        tried = ~np.isnan(found.initial)
        dims = ("architecture", "point", "seed")
        cost = lanes.cost(seconds)
        results = xr.Dataset(
            {
                "loss": (dims, np.where(np.isfinite(found.final) | ~tried, found.final, np.inf)),
                "initial": (dims, found.initial),
                "accuracy": (dims, found.accuracy),
                "learning_rate": ("point", rates),
                "sharpness": (("architecture", "test_seed"), sharp),
                "compile_seconds": cost.compiling,
                "run_seconds": cost.running,
                "runs": int(tried.sum()),
            },
            {"architecture": np.arange(self.architectures), "point": ladder.places, "seed": seeds},
        )
        return results.expand_dims(optimizer=[name])

    def _loop(self) -> xr.Dataset:
        name, middle = next(iter(self.optimizers.items()))
        genes = drawn(self.architectures, self.architecture_seed)
        some = {gene: values[: self.loop_runs] for gene, values in genes.items()}
        return ways(self._task(name), some, middle, self.search_seeds[0])
