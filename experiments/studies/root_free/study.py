"""The effect of the root in adaptive methods: with and without it, under equal budgets.

- Each model is trained by each method at as many random configurations; the one with the best
  validation accuracy is trained again from other seeds, in float32 and bfloat16 (with and without
  compensation for rounding), and tested.
- The best learning rate against the batch size B, at a fixed number of samples seen. Where the
  gradient is mostly noise of variance sigma^2 / B, the root-free B s is about sigma^2 whatever B
  is, and the update g / sigma^2 is that of SGD: drift and diffusion after a number of samples
  depend on lr / B. With the root the update is g sqrt(B) / sigma, and they depend on lr / sqrt(B).
  So lr should grow like B and like sqrt(B), as long as no curvature limits it.
- The first step; the edge of stability, per coordinate; how well the rod flow follows; step times.
Lin et al. 2024 (arXiv 2402.03496); Malladi et al. 2022 (arXiv 2205.10287) for the square root.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, ClassVar

import jax.numpy as jnp
import numpy as np
import xarray as xr
from hydra.utils import instantiate

from experiments.configuration.ranges import (
    BOUNDS,
    SEED,
    SOME,
    Positive,
    Seed,
    above,
    at_least,
    check_apart,
    within,
)
from experiments.problems import Problem, compact, problem
from experiments.problems.data.dataset import Dataset
from experiments.problems.losses import squared_error
from experiments.problems.models.model import Model
from experiments.studies.root_free import edge, figures, steps, tables, training, tuning
from experiments.studies.root_free.measures import HALVES, measured
from experiments.studies.root_free.methods import METHODS, Hyperparameters
from experiments.studies.study import AbstractStudy, Shown, along

SCALED = ("rmsprop", "rf_rmsprop")


@dataclass(frozen=True)
class RootFree(AbstractStudy):
    """All methods on all models; see the module.

    Attributes:
        data: the data; samples for neither training nor validation are the test set.
        models: the models that are trained on minibatches, by name; scaling is of the first.
        mlp: the model of what is done on the full batch.
        train_samples: to train on.
        validation_samples: to choose configurations by.
        batch_size: of the training.
        steps: of the training.
        learning_rates: range of each method, of three decades; all are searched log-uniformly.
        weight_decay: range.
        forgetting: range of one minus the momentum.
        renewal: range of one minus the memory of the preconditioner.
        configurations: drawn for each method.
        search_seed: of the configurations.
        tuning_seeds: of the runs of the search.
        test_seeds: of the runs that are reported.
        half_precision: models that are trained in bfloat16 too.
        scaling_batch_sizes: at which the best learning rate is found.
        scaling_epochs: of each run of the scaling.
        scaling_memory: samples that the preconditioner remembers.
        scaling_rates: range of each method, without momentum.
        scaling_rungs: learning rates within that range, log-uniform.
        scaling_seeds: of the runs of the scaling.
        curvatures: coordinates of the quadratic.
        quadratic_rate: learning rate on the quadratic.
        quadratic_steps: steps on the quadratic.
        edge_samples: on which the edge of stability is reached.
        edge_rates: the first of `edge_rungs` learning rates, a factor of 4 apart.
        edge_rungs: number of these learning rates.
        edge_steps: of each run at the edge.
        timed_steps: steps whose time is taken.
    """

    title: ClassVar[str] = "Can the square root in adaptive methods be removed?"
    data: Any
    models: Mapping[str, Any]
    mlp: Any
    train_samples: Positive = 500
    validation_samples: Positive = 400
    batch_size: Positive = 50
    steps: Positive = 300
    learning_rates: Annotated[Mapping[str, Sequence[float]], BOUNDS] = field(
        default_factory=lambda: {
            "sgd": [0.01, 10.0],
            "adamw": [3e-4, 0.3],
            "rf_adamw": [0.01, 10.0],
            "rmsprop": [1e-4, 0.1],
            "rf_rmsprop": [3e-4, 0.3],
            "if_shampoo": [3e-4, 0.3],
        }
    )
    weight_decay: Annotated[Sequence[float], BOUNDS] = (1e-6, 0.01)
    forgetting: Annotated[Sequence[float], BOUNDS] = (0.03, 0.5)
    renewal: Annotated[Sequence[float], BOUNDS] = (1e-3, 0.1)
    configurations: Positive = 24
    search_seed: Seed = 0
    tuning_seeds: Annotated[Sequence[int], SOME, SEED] = (1000,)
    test_seeds: Annotated[Sequence[int], SOME, SEED] = (0, 1, 2, 3, 4, 5, 6, 7)
    half_precision: Sequence[str] = ("cnn",)
    scaling_batch_sizes: Annotated[Sequence[int], at_least(1)] = (5, 20, 80)
    scaling_epochs: Positive = 8
    scaling_memory: Positive = 500
    scaling_rates: Annotated[Mapping[str, Sequence[float]], BOUNDS] = field(
        default_factory=lambda: {"rmsprop": [3e-4, 0.3], "rf_rmsprop": [3e-3, 3.0]}
    )
    scaling_rungs: Annotated[int, at_least(3)] = 16
    scaling_seeds: Annotated[Sequence[int], SOME, SEED] = (0, 1)
    curvatures: Annotated[int, at_least(2)] = 9
    quadratic_rate: Annotated[float, above(0)] = 0.05
    quadratic_steps: Positive = 4000
    edge_samples: Positive = 300
    edge_rates: Annotated[Mapping[str, float], above(0)] = field(
        default_factory=lambda: {
            "sgd": 0.05,
            "adamw": 1e-4,
            "rf_adamw": 1e-3,
            "rmsprop": 5e-5,
            "rf_rmsprop": 1e-3,
            "if_shampoo": 1e-3,
        }
    )
    edge_rungs: Positive = 5
    edge_steps: Annotated[int, at_least(20)] = 300
    timed_steps: Positive = 50

    def __post_init__(self):
        most = within(lambda size: size <= self.train_samples, f"from 1 to {self.train_samples}")
        most.check("study.batch_size", self.batch_size)
        most.check("study.scaling_batch_sizes", list(self.scaling_batch_sizes))
        for name in self.half_precision:
            if name not in self.models:
                raise ValueError(f"study.half_precision: {name} is not in study.models")
        check_apart("study", self.tuning_seeds, self.test_seeds)

    def parts(self) -> Mapping[str, Callable[[], xr.Dataset]]:
        return {
            **{f"{x}-{m}": partial(self._tuned, x, m) for x in self.models for m in METHODS},
            **{f"scaling-{method}": partial(self._scaling, method) for method in SCALED},
            **{f"edge-{method}": partial(self._edge, method) for method in METHODS},
            "quadratic": self._quadratic,
            "steps": self._steps,
        }

    def joined(self, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        tuned = {
            model: along("method", {key: parts[f"{model}-{key}"] for key in METHODS})
            for model in self.models
        }
        scaling = along("scaled", {key: parts[f"scaling-{key}"] for key in SCALED})
        edges = along("method", {key: parts[f"edge-{key}"] for key in METHODS})
        rest = [parts["quadratic"], parts["steps"]]
        whole = [along("model", tuned), scaling, edges, *rest]
        return xr.merge(whole, join="exact", combine_attrs="drop")

    @staticmethod
    def show(results: xr.Dataset) -> Shown:
        found = measured(results)
        return Shown(results, tables.tables(found), tables.findings(found), figures.draws(found))

    def _data(self) -> Dataset:
        return instantiate(self.data)

    def _split(self) -> training.Split:
        return training.split(self._data(), self.train_samples, self.validation_samples)

    def _model(self, config: Any, dataset: Dataset) -> Model:
        shapes = (dataset.inputs.shape[1:], dataset.targets.shape[1:])
        return instantiate(config, input_shape=shapes[0], output_shape=shapes[1])

    def _ranges(self, method: str) -> dict[str, Sequence[float]]:
        shared = {key: getattr(self, key) for key in ("weight_decay", "forgetting", "renewal")}
        return {"learning_rate": self.learning_rates[method], **shared}

    def _tuned(self, model: str, method: str) -> xr.Dataset:
        data = self._split()
        network = self._model(self.models[model], data.train)
        compiled = partial(
            training.trainer, data, network, METHODS[method], self.batch_size, self.steps
        )
        train = compiled()
        random = tuning.drawn(self._ranges(method), self.configurations, self.search_seed)
        found = tuning.search(train, random, self.tuning_seeds)
        best = tuning.chosen(random, found.best, len(self.test_seeds))
        seeds = np.asarray(self.test_seeds)
        nothing = training.Outcome(*[np.full(len(seeds), np.nan)] * len(training.Outcome._fields))
        outcomes = {"": train(best, seeds)} | dict.fromkeys(HALVES, nothing)
        if model in self.half_precision:
            for prefix, compensated in HALVES.items():
                outcomes[prefix] = compiled(jnp.bfloat16, compensated)(best, seeds)
        result = xr.Dataset(coords={"seed": list(self.test_seeds)})
        for prefix, outcome in outcomes.items():
            for name, values in outcome._asdict().items():
                result[prefix + name] = ("seed", values)
        for name, values in random._asdict().items():
            result[f"drawn_{name}"] = ("configuration", values)
        accuracy = found.outcome.validation_accuracy.mean(axis=1)
        result["drawn_accuracy"] = ("configuration", accuracy)
        result["best"] = ((), found.best)
        return result

    def _scaling(self, method: str) -> xr.Dataset:
        data = self._split()
        model = self._model(next(iter(self.models.values())), data.train)
        least, most = self.scaling_rates[method]
        rates = np.geomspace(least, most, self.scaling_rungs)
        losses = []
        for size in self.scaling_batch_sizes:
            updates = self.scaling_epochs * (self.train_samples // size)
            train = training.trainer(data, model, METHODS[method], size, updates)
            runs = len(self.scaling_seeds)
            lanes = np.repeat(rates, runs)
            ones = np.ones_like(lanes)
            # The memory reaches over the same number of samples for all batch sizes.
            h = Hyperparameters(lanes, 0 * ones, ones, min(1, size / self.scaling_memory) * ones)
            outcome = train(h, np.tile(self.scaling_seeds, len(rates)))
            losses.append(outcome.train_loss.reshape(len(rates), runs))
        return xr.Dataset(
            {
                "scaling_loss": (("batch_size", "rung", "scaling_seed"), np.array(losses)),
                "scaling_rate": ("rung", rates),
            },
            {
                "batch_size": list(self.scaling_batch_sizes),
                "scaling_seed": list(self.scaling_seeds),
            },
        )

    def _full_batch(self) -> Problem:
        whole = self._data()
        first = Dataset(whole.inputs[: self.edge_samples], whole.targets[: self.edge_samples])
        return problem(first, self._model(self.mlp, first), squared_error)

    def _edge(self, method: str) -> xr.Dataset:
        full = self._full_batch()
        full = compact(full, edge.chain(method, jnp.float32(1e-3), self.edge_samples))
        rates = self.edge_rates[method] * 4.0 ** np.arange(self.edge_rungs)
        tracked = edge.on_network(full, method, rates, self.edge_samples, self.edge_steps)
        at = edge.first_at_edge(tracked)
        time = edge.EVERY * (1 + np.arange(tracked.sharpness.shape[1]))
        return xr.Dataset(
            {
                "sharpness": ("time", tracked.sharpness[at]),
                "stable_distance": ("time", tracked.stable[at]),
                "rod_distance": ("time", tracked.rod[at]),
                "single_sharpness": ("coordinate", tracked.per_coordinate[at]),
                "edge_rate": rates[at],
                "edge_diverged": float(tracked.diverged[at]),
            },
            {"time": time},
        )

    def _quadratic(self) -> xr.Dataset:
        curvatures = np.geomspace(1e-2, 1e2, self.curvatures)
        runs = [
            edge.on_quadratic(
                method,
                jnp.float32(self.quadratic_rate),
                jnp.asarray(curvatures, jnp.float32),
                self.quadratic_steps,
            )
            for method in SCALED
        ]
        shape = ("scaled", "curvature")
        return xr.Dataset(
            {
                "quadratic_sharpness": (shape, np.array([run.sharpness for run in runs])),
                "quadratic_loss": (shape, np.array([run.loss for run in runs])),
                "quadratic_rate": self.quadratic_rate,
            },
            {"scaled": list(SCALED), "curvature": curvatures},
        )

    def _steps(self) -> xr.Dataset:
        full = self._full_batch()
        sizes = [steps.first_update(full, method, self.edge_samples) for method in METHODS]
        with np.errstate(divide="ignore"):
            counts = [np.histogram(np.log10(x), steps.BINS)[0] for x in sizes]
        near = [np.mean(np.abs(x / np.median(x) - 1) < 0.01) for x in sizes]
        times = steps.seconds(full, self.edge_samples, self.timed_steps)
        return xr.Dataset(
            {
                "first_update": (("method", "bin"), counts),
                "alike": ("method", near),
                "step_seconds": ("method", times),
            },
            {"method": list(METHODS), "bin": (steps.BINS[1:] + steps.BINS[:-1]) / 2},
        )
