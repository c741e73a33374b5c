"""The effect of warmup: on the variance of the adaptive ratio, or on the effective sharpness.

Liu et al. 2020 (arXiv 1908.03265) hold that Adam needs warmup because its step size
1 / sqrt(nu_hat), an average of few gradients, has a large variance early on. Kalra & Barkeshli 2024
(arXiv 2406.09405) hold that warmup keeps the effective sharpness from exceeding 1, the edge of
stability. Warmup and rectification lower both, so they cannot decide. These can:

- the full batch: gradients have no sampling variance, nor has the ratio, but the edge is there;
- second moments first (Adam-2k): a ratio of little variance, steps of full size;
- second moments first, then warmup: neither;
- the learning rate: it moves the edge, and leaves the relative variance of the ratio alone.

Both are measured along the same runs (runs.py). The *spread*, which Liu et al. keep constant, is
the relative variance of the ratio times f^2, with f the share that a step has of its full size, r_t
or min(t, T) / T. For gradients from N(0, sigma^2) that of Adam is 1 / (2 (rho_t - 4)).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from hydra.utils import instantiate
from jaxtyping import Array

import rodflow
from experiments.configuration import config
from experiments.configuration.ranges import DISTINCT, SOME, Positive, Seed, above, at_least, inside
from experiments.setup import optimizers
from experiments.studies.study import AbstractStudy, Shown
from experiments.studies.warmup import figures, runs, tables
from experiments.studies.warmup.measures import RUNS, measured

B1 = 0.9
GRADIENTS = ("minibatch", "full batch")


class Arm(NamedTuple):
    """An intervention: steps of warmup (1 is none), of second moments alone, and eps."""

    label: str
    chain: str
    warmup: float = 1.0
    wait: float = 0.0
    eps: float = 1e-8


@dataclass(frozen=True)
class Warmup(AbstractStudy):
    """Runs of all arms at all learning rates, with minibatches and with the full batch.

    Attributes:
        problem: model and data, as for `python -m experiments run`.
        train: samples.
        test: further samples; those that are trained on are left out.
        batch: samples of a minibatch.
        steps: of each run.
        measurements: of variance and sharpness, evenly on a logarithmic axis.
        b2: decay of the second moment.
        eps: of Adam-eps.
        warmups: lengths of warmup.
        wait: steps that Adam-2k's second moments see first.
        learning_rates: of every arm.
        shown: the learning rate whose curves are drawn.
        inits: initial weights.
        members: runs from each, which draw other batches.
        seed: of the initial weights and the batches.
    """

    title: ClassVar[str] = "What does warmup prevent: variance, or sharpness?"
    problem: Sequence[str] = (
        "model=transformer",
        "model.width=16",
        "model.depth=1",
        "data=sorting",
        "data.length=4",
    )
    train: Positive = 128
    test: Positive = 256
    batch: Positive = 16
    steps: Positive = 120
    measurements: Positive = 9
    b2: Annotated[float, inside(0.6, 1)] = 0.999
    eps: Annotated[float, above(0)] = 1e-4
    warmups: Annotated[Sequence[int], SOME, DISTINCT, at_least(2)] = (5, 20, 60)
    wait: Positive = 100
    learning_rates: Annotated[Sequence[float], SOME, DISTINCT, above(0)] = (
        0.1,
        0.03,
        0.01,
        0.003,
        0.001,
    )
    shown: float = 0.03
    inits: Positive = 2
    members: Annotated[int, at_least(2)] = 4
    seed: Seed = 0

    def __post_init__(self):
        if self.shown not in self.learning_rates:
            raise ValueError(
                f"study.shown={self.shown} is none of study.learning_rates="
                f"{list(self.learning_rates)}"
            )

    def arms(self) -> list[Arm]:
        """List every intervention, and gradient descent."""
        return [
            Arm("Adam", "adam"),
            *(Arm(f"Adam, warmup {length}", "adam", warmup=length) for length in self.warmups),
            Arm("Adam-2k", "adam", wait=self.wait),
            Arm("Adam-2k, warmup", "adam", warmup=self.warmups[-1], wait=self.wait),
            Arm("Adam-eps", "adam", eps=self.eps),
            Arm("RAdam", "radam"),
            Arm("SGD", "sgd"),
        ]

    def parts(self) -> Mapping[str, Callable[[], xr.Dataset]]:
        chains = dict.fromkeys(arm.chain for arm in self.arms())
        return {
            f"{chain}-{gradients.replace(' ', '-')}": partial(self._part, chain, gradients)
            for gradients in GRADIENTS
            for chain in chains
        }

    def joined(self, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        each = [
            xr.concat(
                [part for part in parts.values() if gradients in part.gradients], "arm", "all"
            )
            for gradients in GRADIENTS
        ]
        # The full batch has one member. Labels anew: joined, they are as wide as the first part's.
        return (
            xr.concat(each, "gradients", "all", join="outer")
            .assign_coords(gradients=list(GRADIENTS), arm=[arm.label for arm in self.arms()])
            .assign_attrs(b2=self.b2, shown=self.shown, wait=self.wait)
        )

    @staticmethod
    def shown_part(results: xr.Dataset) -> xr.Dataset:
        # Histograms are drawn of minibatches at one learning rate.
        rate = results.learning_rate == float(results.attrs["shown"])
        drawn = rate & (results.gradients == "minibatch")
        return results.assign(histogram=results.histogram.where(drawn))

    @staticmethod
    def show(results: xr.Dataset) -> Shown:
        found = measured(results)
        return Shown(results, tables.tables(found), tables.findings(found), figures.draws(found))

    def _task(self) -> runs.Task:
        chosen = config.load([*self.problem, f"data.size={self.train + self.test}"])
        dataset = instantiate(chosen.data)
        shapes = (dataset.inputs.shape[1:], dataset.targets.shape[1:])
        model = instantiate(chosen.model, input_shape=shapes[0], output_shape=shapes[1])
        return runs.task(model, dataset, self.train)

    def _part(self, chain: str, gradients: str) -> xr.Dataset:
        arms = [arm for arm in self.arms() if arm.chain == chain]
        task, whole = self._task(), gradients == "full batch"
        # With the full batch all members would be the same run.
        members = 1 if whole else self.members
        times = np.unique(np.geomspace(1, self.steps, self.measurements).round().astype(int))
        # Gradient descent has no ratio to measure; it is shown among the accuracies only.
        measured = np.isin(np.arange(1, self.steps + 1), times) & (chain != "sgd")

        def member(values: dict[str, Array]) -> runs.Lane:
            warmup, wait, eps = settings[values["arm"]]
            return runs.run(
                task,
                self._optimizer(chain, values["learning_rate"], warmup, wait, eps),
                jax.random.fold_in(jax.random.key(self.seed), values["init"]),
                wait > 0,
                measured,
                members,
                None if whole else self.batch,
                int(max(arm.wait for arm in arms)),
            )

        settings = jnp.array([[arm.warmup, arm.wait, arm.eps] for arm in arms])
        axes = {"arm": range(len(arms)), "learning_rate": self.learning_rates}
        lanes = rodflow.sweep(member, axes | {"init": range(self.inits)})
        last = {"histogram": ("step", "bin")}
        last |= dict.fromkeys(("loss", "sharpness", "variance"), ("step",))
        results = xr.Dataset(
            {
                name: ((*RUNS, *last.get(name, ("member",))), np.asarray(x)[:, None])
                for name, x in lanes._asdict().items()
            },
            {
                "arm": [arm.label for arm in arms],
                "gradients": [gradients],
                "learning_rate": list(self.learning_rates),
                "init": np.arange(self.inits),
                "member": np.arange(members),
                "step": np.arange(1, self.steps + 1),
                "bin": (runs.EDGES[1:] + runs.EDGES[:-1]) / 2,
            },
        )
        read = results[["sharpness", "variance"]].sel(step=times).rename(step="time")
        read["share"] = (("arm", "time"), np.stack([share(arm, times, self.b2) for arm in arms]))
        read["spread"] = read.variance * read.share**2
        return results.drop_vars(["sharpness", "variance"]).merge(read)

    def _optimizer(
        self, chain: str, learning_rate: Array, warmup: Array, wait: Array, eps: Array
    ) -> optax.GradientTransformation:
        """Build an arm; all arms of a chain are one program, their differences are traced."""
        if chain == "sgd":
            return optax.sgd(learning_rate)
        if chain == "radam":
            return optax.radam(learning_rate, B1, self.b2, threshold=4)
        # The ramp begins when the parameters begin to move.
        ramp = optimizers.warmed_up(learning_rate, warmup)
        adam = optax.adam(lambda count: ramp(count - wait), B1, self.b2, eps)
        return rodflow.second_moments_first(adam, wait)


def share(arm: Arm, times: np.ndarray, b2: float) -> np.ndarray:
    """Return the share that the steps of an arm have of their full size.

    Where RAdam does not adapt, there is no ratio to share.
    """
    if arm.chain == "radam":
        return np.nan_to_num(np.asarray(rodflow.rectification(times, b2).r), nan=1.0)
    return np.minimum(times / arm.warmup, 1.0)
