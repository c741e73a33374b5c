"""The variance that rectified Adam corrects: in theory, and simulated.

Adam's early steps have an adaptive ratio psi_t = sqrt(1 / nu_hat_t) whose variance, with gradients
from N(mu, sigma^2), is taken to be infinite up to rho_t = 4. Beyond that it is about

    Var[psi_t] = rho_t / (2 (rho_t - 2) (rho_t - 4) sigma^2)

for mu = 0, and r_t^2 Var[psi_t] is constant: the rectification r_t is chosen for that.

Liu et al. 2020 (arXiv 1908.03265), sections 3 and 5.3.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

import rodflow
from experiments.configuration.ranges import SOME, Positive, Seed, at_least, inside
from experiments.studies.rectification import figures, tables
from experiments.studies.study import AbstractStudy, Shown


@dataclass(frozen=True)
class Rectification(AbstractStudy):
    """Curves of rho_t and r_t for some `b2s`; the variance of psi_t in simulations with `b2`.

    Attributes:
        b2s: decays of the second moment, one curve for each.
        steps: length of the curves.
        b2: decay of the simulated second moment.
        means: of gradients with variance 1.
        trajectories: simulated for each mean.
        simulated_steps: of each trajectory.
        seed: of the gradients.
    """

    title: ClassVar[str] = "How large is the variance that rectified Adam corrects?"
    b2s: Annotated[Sequence[float], SOME, inside(0.6, 1)] = (0.9, 0.99, 0.999)
    steps: Positive = 10000
    b2: Annotated[float, inside(0.6, 1)] = 0.999
    means: Annotated[Sequence[float], SOME] = (0.0, 0.001, 0.01, 0.1, 1.0, 10.0)
    trajectories: Annotated[int, at_least(2)] = 5000
    simulated_steps: Positive = 200
    seed: Seed = 0

    def parts(self) -> Mapping[str, Callable[[], xr.Dataset]]:
        return {"curves": self._curves, "simulation": self._simulation}

    def joined(self, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        return xr.merge(parts.values(), combine_attrs="drop")

    @staticmethod
    def show(results: xr.Dataset) -> Shown:
        found = results.assign(
            rectified=results.variance * results.factor**2,
            rectified_theory=results.theory * results.factor**2,
        )
        draws = {"rectification": partial(figures.rectification, found)}
        return Shown(results, tables.tables(found), tables.findings(found), draws)

    def _curves(self) -> xr.Dataset:
        steps = np.unique(np.geomspace(1, self.steps, 400).round().astype(int))
        rho, r = rodflow.rectification(steps, np.asarray(self.b2s)[:, None])
        return xr.Dataset(
            {"rho": (("b2", "step"), rho), "r": (("b2", "step"), r)},
            {"b2": list(self.b2s), "step": steps},
        )

    def _simulation(self) -> xr.Dataset:
        t = np.arange(1, self.simulated_steps + 1)
        variance = rodflow.sweep(self._variance, {"mean": self.means})
        rho, r = rodflow.rectification(t, self.b2)
        with np.errstate(divide="ignore"):
            theory = np.where(rho > 4, rho / (2 * (rho - 2) * (rho - 4)), np.nan)
        return xr.Dataset(
            {
                "variance": (("mean", "time"), variance),
                "theory": ("time", theory),
                "factor": ("time", r),
            },
            {"mean": list(self.means), "time": t},
            {"b2": self.b2, "trajectories": self.trajectories},
        )

    def _variance(self, values: dict[str, Array]) -> Float[Array, " steps"]:
        # The same noise for every mean, so that the curves differ by the mean alone.
        key = jax.random.key(self.seed)

        def step(nu, t):
            g = values["mean"] + jax.random.normal(jax.random.fold_in(key, t), (self.trajectories,))
            nu = self.b2 * nu + (1 - self.b2) * g**2
            return nu, jnp.var(jnp.sqrt((1 - self.b2 ** (t + 1.0)) / nu))

        return jax.lax.scan(step, jnp.zeros(self.trajectories), jnp.arange(self.simulated_steps))[1]
