"""What warmup prevents: the variance of the adaptive ratio, or an effective sharpness above 1.

Liu et al. 2020 (arXiv 1908.03265) hold that Adam needs warmup because its step size
1 / sqrt(nu_hat), an average of few gradients, has a large variance early on. Kalra & Barkeshli 2024
(arXiv 2406.09405) hold that warmup keeps the effective sharpness from exceeding 1, the edge of
stability. Warmup and rectification lower both, so they cannot tell. These can:

- the full batch: gradients have no sampling variance, nor has the ratio, but the edge is there;
- second moments first (Adam-2k): a ratio of little variance, steps of full size;
- second moments first, then warmup: neither;
- the learning rate: it moves the edge, and leaves the relative variance of the ratio alone.

Both are measured along the same runs, as warmup_runs.py says. The *spread* is the relative variance
of the ratio times f^2, with f the share that a step has of its full size, r_t or min(t, T) / T:
what Liu et al. keep constant. For gradients from N(0, sigma^2) that of Adam is 1 / (2 (rho_t - 4)).
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
from jaxtyping import Array, Float

import rodflow
from experiments.configuration import config
from experiments.configuration.ranges import DISTINCT, SOME, Positive, Seed, above, at_least, inside
from experiments.setup import optimizers
from experiments.studies.study import AbstractStudy
from experiments.studies.warmup import figures as warmup_figures
from experiments.studies.warmup import readings as warmup_readings
from experiments.studies.warmup import runs as warmup_runs
from rodflow.transforms import rectification

B1 = 0.9
GRADIENTS = ("minibatch", "full batch")


class Arm(NamedTuple):
    """An intervention: steps of warmup (1 is none), steps that only second moments see, and eps."""

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
        """Every intervention, and gradient descent."""
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
        # With the full batch there is one member. Labels anew: joined, they keep the first's width.
        return (
            xr.concat(each, "gradients", "all", join="outer")
            .assign_coords(gradients=list(GRADIENTS), arm=[arm.label for arm in self.arms()])
            .assign_attrs(b2=self.b2, shown=self.shown, wait=self.wait)
        )

    def _part(self, chain: str, gradients: str) -> xr.Dataset:
        arms = [arm for arm in self.arms() if arm.chain == chain]
        chosen = config.load([*self.problem, f"data.size={self.train + self.test}"])
        dataset = instantiate(chosen.data)
        shapes = {
            "input_shape": dataset.inputs.shape[1:],
            "output_shape": dataset.targets.shape[1:],
        }
        task = warmup_runs.task(instantiate(chosen.model, **shapes), dataset, self.train)
        whole = gradients == "full batch"
        # All members would be the same run.
        members = 1 if whole else self.members
        times = np.unique(np.geomspace(1, self.steps, self.measurements).round().astype(int))
        # Gradient descent has no ratio to measure: it stands among the accuracies alone.
        measured = np.isin(np.arange(1, self.steps + 1), times) & (chain != "sgd")

        def lane(arm: Float[Array, " 3"], learning_rate: Float[Array, ""], init: Array):
            _, wait, _ = arm
            return warmup_runs.run(
                task,
                self._optimizer(chain, learning_rate, *arm),
                jax.random.fold_in(jax.random.key(self.seed), init),
                wait > 0,
                measured,
                members,
                None if whole else self.batch,
                int(max(arm.wait for arm in arms)),
            )

        # Lanes in one axis: the compiler for CPUs fails on arrays of eight axes.
        settings = jnp.array([[arm.warmup, arm.wait, arm.eps] for arm in arms])
        axes = (np.arange(len(arms)), np.array(self.learning_rates), np.arange(self.inits))
        chosen_arm, rates, inits = (x.ravel() for x in np.meshgrid(*axes, indexing="ij"))
        lanes = jax.jit(jax.vmap(lane))(settings[chosen_arm], jnp.asarray(rates), inits)
        shape = (len(arms), 1, len(self.learning_rates), self.inits)
        values = {
            name: np.asarray(x).reshape(*shape, *x.shape[1:]) for name, x in lanes._asdict().items()
        }
        share = np.stack([self._share(arm, times) for arm in arms])
        runs = ("arm", "gradients", "learning_rate", "init")
        curves = dict.fromkeys(("loss", "sharpness", "variance"), ("step",))
        last = {"histogram": ("step", "bin")} | curves
        results = xr.Dataset(
            {name: ((*runs, *last.get(name, ("member",))), x) for name, x in values.items()},
            {
                "arm": [arm.label for arm in arms],
                "gradients": [gradients],
                "learning_rate": self.learning_rates,
                "init": np.arange(self.inits),
                "member": np.arange(members),
                "step": np.arange(1, self.steps + 1),
                "bin": (warmup_runs.EDGES[1:] + warmup_runs.EDGES[:-1]) / 2,
            },
        )
        read = results[["sharpness", "variance"]].sel(step=times).rename(step="time")
        read["share"] = (("arm", "time"), share)
        read["spread"] = read.variance * read.share**2
        return results.drop_vars(["sharpness", "variance"]).merge(read)

    def _optimizer(
        self,
        chain: str,
        learning_rate: Float[Array, ""],
        warmup: Float[Array, ""],
        wait: Float[Array, ""],
        eps: Float[Array, ""],
    ) -> optax.GradientTransformation:
        """All arms of a chain are of one program: what differs is traced."""
        ramp = optimizers.warmed_up(learning_rate, warmup)

        def adam() -> optax.GradientTransformation:
            # The ramp begins when the parameters begin to move.
            adam = optax.adam(lambda count: ramp(count - wait), B1, self.b2, eps)
            return rodflow.second_moments_first(adam, wait)

        return {
            "adam": adam,
            "radam": lambda: optax.radam(learning_rate, B1, self.b2, threshold=4),
            "sgd": lambda: optax.sgd(learning_rate),
        }[chain]()

    def _share(self, arm: Arm, times: np.ndarray) -> np.ndarray:
        """Of the full size of a step; where RAdam does not adapt, there is no ratio to share."""
        if arm.chain == "radam":
            return np.nan_to_num(np.asarray(rectification(times, self.b2).r), nan=1.0)
        return np.minimum(times / arm.warmup, 1.0)

    tables = staticmethod(warmup_readings.tables)
    figures = staticmethod(warmup_figures.figures)
    findings = staticmethod(warmup_readings.findings)
