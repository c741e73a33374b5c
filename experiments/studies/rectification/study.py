"""The variance that rectified Adam corrects: in theory, and simulated.

Adam's early steps have an adaptive ratio psi_t = sqrt(1 / nu_hat_t) whose variance, with gradients
from N(mu, sigma^2), is taken to be infinite up to rho_t = 4. Beyond that it is about

    Var[psi_t] = rho_t / (2 (rho_t - 2) (rho_t - 4) sigma^2)

for mu = 0, and r_t^2 Var[psi_t] is constant: that is what the rectification r_t is made for.

Liu et al. 2020 (arXiv 1908.03265), sections 3 and 5.3.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Key
from matplotlib.figure import Figure

from experiments.analysis.verdicts import number
from experiments.configuration.ranges import SOME, Positive, Seed, at_least, inside
from experiments.report.figures import EDGE, ITERATES, STYLE
from experiments.studies.study import AbstractStudy, Table
from rodflow.transforms import rectification

COLORS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7")


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

    def _curves(self) -> xr.Dataset:
        steps = np.unique(np.geomspace(1, self.steps, 400).round().astype(int))
        rho, r = rectification(steps, np.asarray(self.b2s)[:, None])
        return xr.Dataset(
            {"rho": (("b2", "step"), rho), "r": (("b2", "step"), r)},
            {"b2": self.b2s, "step": steps},
        )

    def _simulation(self) -> xr.Dataset:
        t = np.arange(1, self.simulated_steps + 1)
        variance = jax.jit(jax.vmap(self._variance, in_axes=(0, None)))(
            jnp.asarray(self.means), jax.random.key(self.seed)
        )
        rho, r = rectification(t, self.b2)
        with np.errstate(divide="ignore"):
            theory = np.where(rho > 4, rho / (2 * (rho - 2) * (rho - 4)), np.nan)
        return xr.Dataset(
            {
                "variance": (("mean", "time"), variance),
                "theory": ("time", theory),
                "factor": ("time", r),
            },
            {"mean": self.means, "time": t},
            {"b2": self.b2, "trajectories": self.trajectories},
        )

    def _variance(self, mean: Float[Array, ""], key: Key[Array, ""]) -> Float[Array, " steps"]:
        # The same noise for every mean, so that the curves differ by the mean alone.
        def step(nu, t):
            g = mean + jax.random.normal(jax.random.fold_in(key, t), (self.trajectories,))
            nu = self.b2 * nu + (1 - self.b2) * g**2
            return nu, jnp.var(jnp.sqrt((1 - self.b2 ** (t + 1.0)) / nu))

        return jax.lax.scan(step, jnp.zeros(self.trajectories), jnp.arange(self.simulated_steps))[1]

    @staticmethod
    def tables(results: xr.Dataset) -> list[Table]:
        shown = [t for t in (5, 10, 20, 50, 100, 200) if t in results.time.values]
        rows = [["theory", *(number(results.theory.sel(time=t).item()) for t in shown)]]
        for mean in results["mean"].values:
            values = results.variance.sel(mean=mean, time=shown).values
            rows.append([f"N({mean:g}, 1)", *(number(value) for value in values)])
        columns = ["gradients", *(f"t = {t}" for t in shown)]
        return [Table("Variance of the adaptive ratio, not rectified", columns, rows)]

    @staticmethod
    def figures(results: xr.Dataset) -> dict[str, Figure]:
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(7.2, 4.6), layout="constrained")
            (lengths, factors), (plain, rectified) = figure.subplots(2, 2)
            for color, b2 in zip(COLORS, results.b2.values, strict=False):
                one = results.sel(b2=b2)
                lengths.plot(one.step, one.rho, color=color, label=f"$\\beta_2$ = {b2:g}")
                factors.plot(one.step, one.r, color=color)
            lengths.axhline(4, **EDGE)
            for color, mean in zip(COLORS, results["mean"].values, strict=False):
                one = results.sel(mean=mean).variance
                line = {"color": color, "linewidth": 1.2, "label": f"$\\mu$ = {mean:g}"}
                plain.plot(one.time, one, **line)
                rectified.plot(one.time, one * results.factor**2, **line)
            plain.plot(results.time, results.theory, label="theory", **ITERATES)
            rectified.plot(results.time, results.theory * results.factor**2, **ITERATES)
            titles = (
                "Length of the average, $\\rho_t$ (dashed: 4)",
                "Rectification $r_t$",
                "Variance of the adaptive ratio",
                "The same, rectified",
            )
            for letter, axes, title in zip("abcd", figure.axes, titles, strict=True):
                axes.set_title(f"$\\bf{{{letter}}}$  {title}")
                axes.set_xscale("log")
                axes.set_yscale("log")
                axes.margins(x=0)
            factors.set_yscale("linear")
            for axes in (lengths, plain):
                axes.legend(loc="best", fontsize=6.5)
            figure.supxlabel("optimizer steps", fontsize=STYLE["font.size"])
        return {"rectification": figure}

    @staticmethod
    def findings(results: xr.Dataset) -> list[str]:
        centred = results.variance.isel(mean=0)
        # Where the variance has become small enough for the theory's expansion to hold.
        settled = results.time >= 20
        ratio = (centred / results.theory).where(settled)
        fixed = (centred * results.factor**2).where(settled)
        least, most = float(ratio.min()), float(ratio.max())
        mean = float(results["mean"][0])
        return [
            f"Gradients from N({mean:g}, 1): the simulated variance is {number(least)} to "
            f"{number(most)} times that of the theory from step 20 on.",
            "Rectified it stays between "
            f"{number(float(fixed.min()))} and {number(float(fixed.max()))} there.",
        ]
