"""A multistep solver that keeps the spectrum of a random map.

Let y -> y + V(y) + n be a map with independent noise n, and h = 1/K the step. The solver is

    y[m+1] = y[m] + sum_j beta_j W[m-j] + gamma_j n[m-j],        W = V(y), at every step

On a mode, V(y) = (mu - 1) y, the response to the noise at the angle theta per step, r =
exp(i theta), is

    gamma(1/r) / (r - 1 - (mu - 1) beta(1/r))

The map has 1 / (r^K - mu), sampled at every K-th step. The two agree where beta(1/r) =
(r - 1) / (r^K - 1): K interleaved copies of the map, of which a finite memory can be near on the
angles |theta| < pi / K that a step of the map distinguishes. With

    beta(1/r) / (r - 1) = -1/2 + B(theta) + imaginary part

the boundary of stability in the plane of 1 / (mu - 1) is at the real part -1/2 + B, that of the map
at -1/2. So **no mode is amplified that the map does not amplify if and only if B >= 0**; the mean
of B is (1 - h)/2 whatever the coefficients are, and a mode is damped by 2 B |mu - 1|^2 in a step. B
is the power response of a high-pass filter, to be small on |theta| < pi / K.

The coefficients are those of a linear program for beta, and of another for gamma.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from diffrax import RESULTS
from jaxtyping import Array, Bool, PyTree

from rodflow.solvers._map_solver import AbstractLookback, Step, Time, increment_of, looks_back
from rodflow.solvers._noise import plus
from rodflow.solvers._weights import WEIGHTS
from rodflow.solvers.noisy_term import NoisyTerm


class Memory(NamedTuple):
    """The memory of a multistep solver.

    Attributes:
        ahead: The parts of the coming steps that are known already, (k, ...) on each leaf.
        started: True after the first step.

    Examples:
        >>> import diffrax, jax.numpy as jnp, rodflow
        >>> term = diffrax.ODETerm(lambda t, y, args: -0.5 * y)
        >>> memory = rodflow.MultistepLookback().init(term, 0.0, 0.5, jnp.ones(3), None)
        >>> bool(memory.started)
        False
    """

    ahead: PyTree
    started: Bool[Array, ""]


class MultistepLookback(AbstractLookback):
    """A multistep method that keeps the variance of modes, and averages noise.

    It takes the term of `rodflow.StochasticRod`, whose noise it averages so that centre and rod add
    up to the spectrum of the iterates: to 1 % of the variance and .006 of the lag-one
    autocorrelation for all modes of length at most .99 in two steps for each of the optimizer, to
    half of that in four, exactly in one. Terms without noise are solved by the same steps. One
    evaluation in a step of 1/K, and memory of 5 (K = 2), 10 (K = 4) or 1 states.

    The first step is taken as if the state had moved with its present slope before. Second moments
    whose decay is at least 1/2 never become negative. Theory: docs/theory/stochastic.md.

    Args:
        substeps: K, the number of steps for each of the optimizer: 1, 2 or 4. `dt0` is 1/K.

    Raises:
        ValueError: There are no coefficients for this number, or parts of the flow's state obey an
            ordinary differential equation.

    Examples:
        A mode that turns by a quarter in each step of the map keeps .98 of its length, by the map
        and by two steps of the solver:

        >>> import diffrax, jax.numpy as jnp, rodflow
        >>> turn = jnp.array([[-1.0, -0.98], [0.98, -1.0]])
        >>> term = diffrax.ODETerm(lambda t, y, args: turn @ y)
        >>> solver, ts = rodflow.MultistepLookback(), diffrax.SaveAt(ts=jnp.array([40.0, 60.0]))
        >>> y = diffrax.diffeqsolve(term, solver, 0, 60, 0.5, jnp.ones(2), saveat=ts).ys
        >>> ratio = jnp.linalg.norm(y[1]) / jnp.linalg.norm(y[0])
        >>> print(f"{ratio ** (1 / 20):.2f}")
        0.98
    """

    substeps: int = eqx.field(static=True, default=2)
    evaluations: ClassVar[int] = 1
    term_structure: ClassVar = diffrax.AbstractTerm

    def __check_init__(self) -> None:
        if self.substeps not in WEIGHTS:
            raise ValueError(f"`substeps` is {self.substeps}; it must be 1, 2 or 4.")

    def init(
        self, terms: diffrax.AbstractTerm, t0: Time, t1: Time, y0: PyTree, args: PyTree
    ) -> Memory:
        noisy = _noisy_term(terms)
        if noisy is None and not all(jax.tree.leaves(looks_back(terms))):
            raise ValueError(
                "MultistepLookback looks back at the whole of a state, but parts of this flow's "
                "obey an ordinary differential equation; use LookbackEuler or a Diffrax solver."
            )
        if noisy is not None and noisy.field.drift_noise and not WEIGHTS[self.substeps].held:
            raise ValueError(
                f"`substeps` is {self.substeps}; it must be 1 or 2 where the drift is that of "
                "batches, which are held for a step of the optimizer."
            )
        count = len(WEIGHTS[self.substeps].slopes) - 1
        ahead = jax.tree.map(lambda y: jnp.zeros((count, *jnp.shape(y)), y.dtype), y0)
        return Memory(ahead, jnp.array(False))

    def func(self, terms: diffrax.AbstractTerm, t0: Time, y0: PyTree, args: PyTree) -> PyTree:
        return terms.vf(t0, y0, args)

    def step(
        self,
        terms: diffrax.AbstractTerm,
        t0: Time,
        t1: Time,
        y0: PyTree,
        args: PyTree,
        solver_state: Memory,
        made_jump: bool | Bool[Array, ""],
    ) -> Step:
        weights = WEIGHTS[self.substeps]
        slopes = np.array(weights.slopes)
        taps, drift, noise = self._samples(terms, t0, y0, args)
        rest = np.cumsum(slopes[::-1])[::-1][1:]  # of a slope that was there before
        resting = ~solver_state.started | made_jump

        def known(ahead: Array, v: Array) -> Array:
            return jnp.where(resting, _outer(rest, v), ahead)

        ahead = jax.tree.map(known, solver_state.ahead, drift)
        y1 = jax.tree.map(
            lambda y, a, v: y + a[0] + slopes[0].astype(v.dtype) * v, y0, ahead, drift
        )
        y1 = plus(y1, taps[0], noise)
        moved = jax.tree.map(
            lambda a, v: jnp.concatenate([a[1:], jnp.zeros_like(a[:1])]) + _outer(slopes[1:], v),
            ahead,
            drift,
        )
        moved = plus(moved, 1.0, jax.tree.map(lambda n: _outer(taps[1:], n), noise))
        h = t1 - t0
        y1 = eqx.error_if(
            y1,
            jnp.abs(h * self.substeps - 1) > 0.02,
            f"MultistepLookback({self.substeps}) takes steps of 1/{self.substeps}, `dt0`, over a "
            "time that is a multiple of it.",
        )
        memory = Memory(moved, jnp.array(True))
        return y1, None, dict(y0=y0, y1=y1), memory, RESULTS.successful

    def _samples(
        self, terms: diffrax.AbstractTerm, t0: Time, y0: PyTree, args: PyTree
    ) -> tuple[np.ndarray, PyTree, PyTree]:
        """Return the coefficients of the noise, the drift and a sample of the noise."""
        noisy, weights = _noisy_term(terms), WEIGHTS[self.substeps]
        if noisy is None:
            still = jax.tree.map(lambda _: None, y0)
            return np.array(weights.noise), increment_of(terms, t0, y0, args), still
        if not noisy.field.drift_noise:
            return np.array(weights.noise), *noisy.sample(y0, t0)
        # Noise that is white from step to step would add what no step of the map can tell apart.
        scale = (1 - weights.white * noisy.field.drift_noise) ** 0.5
        return scale * np.array(weights.held), *noisy.sample(y0, jnp.floor(t0))


def _noisy_term(terms: diffrax.AbstractTerm) -> NoisyTerm | None:
    """Return the `NoisyTerm` inside the wrapper that Diffrax puts around a term, or None."""
    inner: Any = getattr(terms, "term", terms)
    return inner if isinstance(inner, NoisyTerm) else None


def _outer(weights: np.ndarray, leaf: Array) -> Array:
    return jnp.asarray(weights, leaf.dtype).reshape(-1, *[1] * leaf.ndim) * leaf
