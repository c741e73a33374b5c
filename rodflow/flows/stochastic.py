"""The stochastic rod: the rod of minibatch training, and the usual equation without a rod.

Minibatch training is a random map, z[t+1] = z[t] + Gbar(z[t]) + n(z[t], b[t]) with independent
batches. Write z[t] = c[t] + (-1)^t x[t] as for the signed rod, and give c and x *independent copies
of the noise, each averaged over two consecutive steps*,

    c[t+1] = c[t] + A(c, x) + (xi[t] + xi[t-1]) / 2
    x[t+1] = -x[t] - B(c, x) + (eta[t] + eta[t-1]) / 2

with A and B the even and the odd part of Gbar. An average of two passes cos(w/2)^2 of the power at
the angle w per step; in the frame of z that is cos(w/2)^2 for c and sin(w/2)^2 for x, which add up
to one. So for every linear map, momentum included, z has exactly the spectrum of the iterates,
C / |exp(iw) - mu|^2 on each mode, and so their stationary covariance and autocorrelation. The usual
stochastic differential equation of gradient descent has C / (2a) on a mode of a = lr h, where the
iterates have C / (a (2 - a)): wrong by the factor 2 / (2 - a), without bound at the edge.

Samples of the noise come from batches. With M batches at each of the two ends c + x and c - x, and
s_i = +-1 in turn,

    d+- = sum_i s_i G(c +- x, b+-_i) / sqrt M
    xi = (d+ + d-) / sqrt 2,      eta = (d- - d+) / sqrt 2

are uncorrelated to the means over the batches, and have the mean covariance of both ends; their own
covariance, half the difference of the ends', gives the noise of its own place to each end, at which
the iterates are in turn. So the same gradients give a drift, the means, whose own noise has the
variance C / (2 M) in both A and B.

The oscillation restarts from the noise: no seed is needed. Auxiliary leaves such as second moments
take the mean of G over batches, in which the squared gradient has the noise, E g_b^2 = g^2 + C.
"""

from __future__ import annotations

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rodflow._checks import check_count, shown
from rodflow.flows._points import even_and_odd, like, sample_points
from rodflow.flows.rod import RodFlow, SignedRod, SignedRodState
from rodflow.maps.iteration import PhaseState
from rodflow.maps.minibatch_iteration import MinibatchIteration
from rodflow.maps.parity import Parity
from rodflow.solvers import (
    AbstractNoisyField,
    Integrator,
    MultistepLookback,
    NoisyTerm,
)


class StochasticRod(eqx.Module):
    """The rod of minibatch training, as a Diffrax term that draws batches from a key.

    Its methods are those of a flow, but for the key that `term` takes: the same key gives the same
    path, and an ensemble is a `vmap` over keys. With batches as large as the data and
    `closure=rodflow.SignedRod()` it is `RodFlow`.

    *Two costs.* With `full_drift` an evaluation takes the gradient of all data at both ends, beside
    2 M batches for the noise: the drift is exact. Use it for analysis, and where the data are
    small. Without, it takes the 2 M batches alone: 8 gradients of a batch for each step of the
    optimizer by default, whatever the size of the data. The noise of the drift is counted in, so
    that the variance is right, to 4 % for K = 2 steps of the solver and exactly for K = 1; but it
    is white, and leaves less to be divided into drift and alternation: instead of s, x carries
    about 1/(2MK) + (1 - 1/(MK)) s of the variance of a mode. Use it where a gradient of all data
    costs too much.

    *Baselines.* `rod=False` is the usual stochastic differential equation, whose state has no x:
    dz = Gbar(z) dt and white noise, or Gbar(z - Gbar(z)/2) dt with `look_back`, on the leaves that
    oscillate. Theory: docs/theory/stochastic.md.

    Args:
        full_drift: True for the drift of all data, False for that of the drawn batches.
        batches: M, the number of batches at each end, even.
        rod: False for the usual stochastic differential equation.
        look_back: The look-back term of the equation without rod.
        closure: The start and the seed of the rod; by default neither, x = 0.

    Raises:
        ValueError: The number of batches is odd or below 2, or the closure is no signed rod.

    Examples:
        Gradient descent on w^2/2 at a learning rate of 1.5, and noise of variance 1 in the
        gradient. The iterates have the variance 1.5^2 / (1.5 (2 - 1.5)) = 3, of which x has 3/4.

        >>> import diffrax, jax, jax.numpy as jnp, optax, rodflow
        >>> loss = lambda w, batch: (w - jnp.mean(batch)) ** 2 / 2
        >>> data = lambda key: jax.random.normal(key, (1,))
        >>> iteration = rodflow.MinibatchIteration(loss, data, None, optax.sgd(1.5))
        >>> flow = rodflow.StochasticRod(full_drift=False)
        >>> y0 = flow.init(iteration, iteration.init(jnp.array(0.0)))
        >>> def variance(key):
        ...     term = flow.term(iteration, key)
        ...     ts = diffrax.SaveAt(ts=jnp.arange(10.0, 500.0))
        ...     solver = rodflow.MultistepLookback()
        ...     y = diffrax.diffeqsolve(term, solver, 0, 500, 0.5, y0, saveat=ts).ys
        ...     return jnp.mean(y.c.params**2) + jnp.mean(y.x.params**2)
        >>> keys = jax.random.split(jax.random.key(0), 64)
        >>> bool(abs(jnp.mean(jax.jit(jax.vmap(variance))(keys)) - 3.0) < 0.1)
        True
    """

    # Made with the flow: arrays at import would start JAX before a cluster could be joined.
    closure: SignedRod = eqx.field(default_factory=lambda: SignedRod(seed=0.0, lookahead=0))
    full_drift: bool = eqx.field(static=True, default=True, kw_only=True)
    batches: int = eqx.field(static=True, default=2, kw_only=True)
    rod: bool = eqx.field(static=True, default=True, kw_only=True)
    look_back: bool = eqx.field(static=True, default=False, kw_only=True)

    def __check_init__(self) -> None:
        if not isinstance(self.closure, SignedRod):
            raise ValueError(
                f"`closure` is {shown(self.closure)}; it must be a rodflow.SignedRod, whose "
                "alternation is a vector."
            )
        check_count("batches", self.batches, 2)
        if self.batches % 2:
            raise ValueError(f"`batches` is {self.batches}; it must be even.")
        if self.rod and self.look_back:
            raise ValueError(
                "`look_back` is True with a rod; it is an option of the equation without one, as "
                "the solver of a rod looks back by itself."
            )

    def init(self, iteration: MinibatchIteration, state: PhaseState) -> SignedRodState:
        """Return the state at a point of phase space."""
        if self.rod:
            return RodFlow(self.closure).init(_checked(iteration), state)
        state = _checked(iteration).check(state)
        return SignedRodState(state, eqx.filter(state, False))

    def term(self, iteration: MinibatchIteration, key: PRNGKeyArray) -> NoisyTerm:
        """Return the model of `iteration` as a Diffrax term whose batches are drawn from `key`."""
        return NoisyTerm(MinibatchField(self, _checked(iteration)), key)

    def phase(self, y: SignedRodState) -> PhaseState:
        """Return the centre as a point of phase space."""
        return y.c

    def center(self, y: SignedRodState) -> PyTree[Array]:
        """Return the parameters at the centre."""
        return y.c.params

    def extent(self, y: SignedRodState) -> Float[Array, ""]:
        """Return the norm of x over the parameters."""
        return RodFlow(self.closure).extent(y) if self.rod else jnp.zeros(())

    def predicted_loss(self, iteration: MinibatchIteration, y: SignedRodState) -> Array:
        """Return the loss over all data, the mean of both ends of the rod."""
        if not self.rod:
            return iteration.loss(y.c.params)
        return RodFlow(self.closure).predicted_loss(iteration, y)

    @property
    def gradients(self) -> tuple[int, int]:
        """Gradients of all data and of single batches in one evaluation of the term."""
        ends = 2 if self.rod else 1
        drifts = 2 if self.look_back else 1
        if self.full_drift:
            return ends * drifts, ends * self.batches
        return 0, ends * drifts * self.batches

    @property
    def integrator(self) -> Integrator:
        """The way it is solved unless told otherwise."""
        if self.rod:
            return Integrator(MultistepLookback(), 0.5)
        # Small enough for the solution of the equation: Euler's own error would flatter it.
        return Integrator(diffrax.Euler(), 0.125)


class MinibatchField(AbstractNoisyField):
    """The drift and the noise of a stochastic rod.

    Args:
        flow: The model.
        iteration: The random map.

    Examples:
        >>> import jax, jax.numpy as jnp, optax, rodflow
        >>> from rodflow.flows import MinibatchField
        >>> loss = lambda w, batch: jnp.mean((w - batch) ** 2) / 2
        >>> iteration = rodflow.MinibatchIteration(loss, jnp.arange(4.0), 2, optax.sgd(0.5))
        >>> flow = rodflow.StochasticRod()
        >>> y = flow.init(iteration, iteration.init(jnp.array(5.5)))
        >>> drift, _ = MinibatchField(flow, iteration).sample(y, jax.random.key(0))
        >>> float(drift.c.params)  # the step of the full batch, whose mean is 1.5
        -2.0
    """

    flow: StochasticRod
    iteration: MinibatchIteration

    @property
    def drift_noise(self) -> float:
        if self.flow.full_drift:
            return 0.0
        return 1 / (self.flow.batches * (2 if self.flow.rod else 1))

    def sample(self, y: SignedRodState, key: PRNGKeyArray) -> tuple[SignedRodState, SignedRodState]:
        drift_key, key = jax.random.split(key)
        if self.flow.rod:
            return self._rod(y, key, drift_key)
        drift, noise = self._sde(y.c, key, drift_key)
        return y._replace(c=drift), y._replace(c=noise)

    def _rod(
        self, y: SignedRodState, key: PRNGKeyArray, drift_key: PRNGKeyArray
    ) -> tuple[SignedRodState, SignedRodState]:
        offsets = jax.tree.map(lambda x: x[None], y.x)
        points, still = sample_points(y.c, offsets)
        drawn = jax.vmap(lambda point, key: self._increments(eqx.combine(point, still), key))(
            points, jax.random.split(key)
        )
        if self.flow.full_drift:
            even, odd = even_and_odd(
                lambda z: self.iteration.mean_increment(z, drift_key), y.c, offsets
            )
            odd = jax.tree.map(lambda b: b[0], odd)
        else:
            even = jax.tree.map(lambda g: jnp.mean(g, axis=(0, 1)), drawn)
            ends = jax.tree.map(lambda g: jnp.mean(g, axis=1), like(drawn, y.x))
            odd = jax.tree.map(lambda g: (g[0] - g[1]) / 2, ends)
        contrasts = jax.tree.map(lambda g: jax.vmap(_contrast)(g), like(drawn, y.x))
        xi = jax.tree.map(lambda d: (d[0] + d[1]) / 2**0.5, contrasts)
        eta = jax.tree.map(lambda d: (d[1] - d[0]) / 2**0.5, contrasts)
        return self.flow.closure.turned(y, even, odd), SignedRodState(xi, eta)

    def _sde(
        self, z: PhaseState, key: PRNGKeyArray, drift_key: PRNGKeyArray
    ) -> tuple[PhaseState, PhaseState]:
        oscillates = jax.tree.map(
            lambda p: p is Parity.OSCILLATING, self.iteration.parity(z.params)
        )
        drawn = self._increments(z, key)

        def drift(z: PhaseState, key: PRNGKeyArray) -> PhaseState:
            if self.flow.full_drift:
                return self.iteration.mean_increment(z, key)
            return _mean(self._increments(z, key))

        first = drift(z, drift_key) if self.flow.full_drift else _mean(drawn)
        if self.flow.look_back:
            # Second moments that have only begun to grow are not looked back at below zero.
            earlier = jax.tree.map(lambda o, z, v: z - v / 2 if o else z, oscillates, z, first)
            first = drift(earlier, jax.random.fold_in(drift_key, 1))
        return first, jax.tree.map(_contrast, eqx.filter(drawn, oscillates))

    def _increments(self, z: PhaseState, key: PRNGKeyArray) -> Any:
        """Return G(z, b) of the batches of one end, stacked."""
        keys = jax.random.split(key, self.flow.batches)
        return jax.vmap(lambda k: self.iteration.increment_on(z, self.iteration.draw(k)))(keys)


def _mean(values: PyTree[Array]) -> PyTree[Array]:
    return jax.tree.map(lambda g: jnp.mean(g, axis=0), values)


def _contrast(values: Array) -> Array:
    """Return the sum of values with alternating signs over the root of their number."""
    pairs = values[0::2] - values[1::2]
    return jnp.sum(pairs, axis=0) / len(values) ** 0.5


def _checked(iteration: object) -> MinibatchIteration:
    if not isinstance(iteration, MinibatchIteration):
        raise ValueError(
            f"`iteration` is {shown(iteration)}; it must be a rodflow.MinibatchIteration."
        )
    return iteration
