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
from jaxtyping import Float

from experiments.configuration.functions import Loss
from experiments.configuration.ranges import SEED, SOME, Positive, Seed, above, at_least, within
from experiments.problems.data.dataset import Dataset
from experiments.problems.data.digits import digits
from experiments.studies.coevolution import figures as coevolution_figures
from experiments.studies.coevolution import statistics as coevolution_statistics
from experiments.studies.coevolution import tables as coevolution_tables
from experiments.studies.coevolution.contenders import CONTENDERS, CONTROLS, EDGE
from experiments.studies.coevolution.genome import Genome, drawn, encoded
from experiments.studies.coevolution.interaction import tuned
from experiments.studies.coevolution.lanes import (
    Outcome,
    Program,
    Split,
    Task,
    effective_sharpness,
    trained,
)
from experiments.studies.coevolution.loop import ways
from experiments.studies.study import AbstractStudy


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
        # Anew, since a part that was stored remembers how long its own name is.
        results = results.assign_coords(
            {gene: ("architecture", values) for gene, values in genes.items()}
        ).assign_coords(optimizer=list(self.optimizers))
        results.attrs = {
            "search_seeds": list(self.search_seeds),
            "test_seeds": list(self.test_seeds),
            "selected": self.selected,
            "tolerance": self.tolerance,
            "spacing": self.spacing,
            "points": self.points,
            "steps": self.steps,
            "training": self.training,
            "held_out": self.held_out,
            "loss_function": self.loss.name,
            "draws": self.draws,
        }
        return coevolution_statistics.analysed(results)

    @property
    def _seeds(self) -> list[int]:
        return [*self.search_seeds, *self.test_seeds]

    @property
    def _grid(self) -> np.ndarray:
        """Every point that a grid can come to have, in units of the spacing."""
        reach = self.points // 2 + self.widening * self.widenings
        return np.arange(-reach, reach + 1)

    def _task(self, name: str) -> Task:
        data = digits(size=self.training + self.held_out)
        inputs = data.inputs.reshape(len(data.inputs), -1)
        cut = self.training
        split = Split(
            Dataset(inputs[:cut], data.targets[:cut]), Dataset(inputs[cut:], data.targets[cut:])
        )
        return Task(name, split, self.loss, self.steps)

    def _genomes(self) -> Genome:
        return encoded(drawn(self.architectures, self.architecture_seed))

    def _optimizer(self, name: str) -> xr.Dataset:
        task = self._task(name)
        program = Program(partial(trained, task), self.lanes)
        rates = self.optimizers[name] * 10.0 ** (self.spacing * self._grid)
        outcome = self._searched(program, rates)
        columns = {
            "loss": np.where(
                np.isnan(outcome.initial) | np.isfinite(outcome.final), outcome.final, np.inf
            ),
            "initial": outcome.initial,
            "accuracy": outcome.accuracy,
        }
        dims = ("architecture", "point", "seed")
        results = xr.Dataset(
            {label: (dims, values) for label, values in columns.items()},
            {
                "architecture": np.arange(self.architectures),
                "point": self._grid,
                "seed": self._seeds,
            },
        )
        results["learning_rate"] = ("point", rates)
        results["sharpness"] = (
            ("architecture", "test_seed"),
            self._sharpness(task, rates, coevolution_statistics.scores(results)),
        )
        results["compile_seconds"] = program.compile_seconds
        results["run_seconds"] = program.run_seconds
        results["runs"] = program.runs
        return results.expand_dims(optimizer=[name])

    def _searched(self, program: Callable[..., Outcome], rates: np.ndarray) -> Outcome:
        """Run the grid of every architecture, and continue it where its best is at an end."""
        genomes = self._genomes()
        shape = (self.architectures, len(rates), len(self._seeds))
        found = Outcome(*(np.full(shape, np.nan) for _ in Outcome._fields))
        wanted = np.tile(abs(self._grid) <= self.points // 2, (self.architectures, 1))
        for turn in range(self.widenings + 1):
            rows, columns = np.nonzero(wanted & np.isnan(found.initial[..., 0]))
            lanes = np.repeat(rows, shape[-1]), np.repeat(columns, shape[-1])
            chosen = Genome(*(np.asarray(gene)[lanes[0]] for gene in genomes))
            seeds = np.tile(self._seeds, len(rows))
            outcome = program(chosen, rates[lanes[1]], seeds)
            for whole, part in zip(found, outcome, strict=True):
                whole[rows, columns] = part.reshape(len(rows), -1)
            search = slice(len(self.search_seeds))
            score = coevolution_statistics.score(found.final, found.initial)[..., search]
            low, high = coevolution_statistics.at_ends(score, found.initial[..., search])
            if turn == self.widenings or not (low | high).any():
                break
            for row in np.flatnonzero(low | high):
                first, last = np.flatnonzero(wanted[row])[[0, -1]]
                wanted[
                    row, first - self.widening * low[row] : last + 1 + self.widening * high[row]
                ] = True
        return found

    def _sharpness(
        self, task: Task, rates: np.ndarray, scores: xr.DataArray
    ) -> Float[np.ndarray, "architectures seeds"]:
        """Train again at the learning rates that were chosen, to see how sharp the ends are."""
        shape = (self.architectures, len(self.test_seeds))
        if task.optimizer not in EDGE:
            return np.full(shape, np.nan)
        by_optimizer = scores.expand_dims("optimizer", axis=1)
        search, test = coevolution_statistics.sides(
            by_optimizer, list(self.search_seeds), list(self.test_seeds)
        )
        chosen = np.repeat(rates[tuned(search, test).rate[:, 0]], shape[1])
        genomes = Genome(
            *(np.repeat(np.asarray(gene), shape[1], axis=0) for gene in self._genomes())
        )
        program = Program(partial(effective_sharpness, task), self.lanes)
        return program(genomes, chosen, np.tile(self.test_seeds, shape[0])).reshape(shape)

    def _loop(self) -> xr.Dataset:
        name, middle = next(iter(self.optimizers.items()))
        genes = drawn(self.architectures, self.architecture_seed)
        some = {gene: values[: self.loop_runs] for gene, values in genes.items()}
        return ways(self._task(name), some, middle, self.search_seeds[0])

    tables = staticmethod(coevolution_tables.tables)
    figures = staticmethod(coevolution_figures.figures)
    findings = staticmethod(coevolution_tables.findings)
