"""The term of a random map in continuous time: a drift, and noise that is drawn from a key.

A random map y -> y + V(y) + n(y, b) with independent draws b has as its usual model the stochastic
differential equation

    dy = V(y) dt + sum_b n(y, b) dW_b

with one Brownian motion for each of all draws b. Their increments over a step are not kept; a
sample of them is a few draws from a key that follows from where the step starts. So the control of
`NoisyTerm` over a step is its length and its start, and `NoisyTerm.prod` draws. A term gives the
same noise whenever it is solved, and an ensemble is a `vmap` over keys.
"""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rodflow.solvers._map_solver import Time
from rodflow.solvers._noise import plus


class Interval(NamedTuple):
    """The control of a noisy term: a step, for which the draws in it stand.

    Attributes:
        length: The length of the step.
        start: The time at which it starts.

    Examples:
        >>> from rodflow.solvers import Interval
        >>> Interval(length=0.5, start=3.0)
        Interval(length=0.5, start=3.0)
    """

    length: Time
    start: Time


class AbstractNoisyField(eqx.Module):
    """The drift V of a random map, and samples of its noise, in units of one step of the map.

    Examples:
        >>> import diffrax, jax, jax.numpy as jnp
        >>> from rodflow.solvers import AbstractNoisyField
        >>> class Decay(AbstractNoisyField):
        ...     drift_noise = 0.0
        ...     def sample(self, y, key):
        ...         return -0.5 * y, 0.1 * jax.random.normal(key, y.shape)
        >>> drift, noise = Decay().sample(jnp.ones(3), jax.random.key(0))
        >>> drift.shape, noise.shape
        ((3,), (3,))
    """

    @property
    @abc.abstractmethod
    def drift_noise(self) -> float:
        """The variance of the noise in a sample of the drift, in units of that of the map."""

    @abc.abstractmethod
    def sample(self, y: PyTree, key: PRNGKeyArray) -> tuple[PyTree, PyTree]:
        """Draw the drift V(y), and noise that is independent of it, of the covariance of a step.

        The noise has None on leaves that get none.
        """


class NoisyTerm(diffrax.AbstractTerm):
    """The term of a random map, for Diffrax's solvers and `rodflow.MultistepLookback`.

    A solver of Diffrax gets white noise: Euler's method is that of Euler and Maruyama. Methods with
    several stages evaluate the noise of one draw at several points, and so solve the equation in
    the sense of Stratonovich, which it is not meant in. Theory: docs/theory/stochastic.md.

    Args:
        field: The drift and the noise.
        key: The key of all draws.

    Examples:
        A path is the same whenever it is solved:

        >>> import diffrax, jax, jax.numpy as jnp
        >>> from rodflow.solvers import AbstractNoisyField, NoisyTerm
        >>> class Decay(AbstractNoisyField):
        ...     drift_noise = 0.0
        ...     def sample(self, y, key):
        ...         return -0.5 * y, 0.1 * jax.random.normal(key, y.shape)
        >>> term = NoisyTerm(Decay(), jax.random.key(1))
        >>> def path():
        ...     return diffrax.diffeqsolve(term, diffrax.Euler(), 0, 9, 0.5, jnp.ones(3)).ys
        >>> bool(jnp.all(path() == path()))
        True
    """

    field: AbstractNoisyField
    key: PRNGKeyArray

    def contr(self, t0: Time, t1: Time, **kwargs: Any) -> Interval:
        del kwargs
        return Interval(t1 - t0, t0)

    def vf(self, t: Time, y: PyTree, args: PyTree) -> PyTree:
        """Return the point: it stands for the vectors n(y, b) of all draws b."""
        del t, args
        return y

    def prod(self, vf: PyTree, control: Interval) -> PyTree:
        drift, noise = self.sample(vf, control.start)
        h = control.length
        # The drift has a part of the noise already.
        size: Float[Array, ""] = jnp.sqrt(h * (1 - h * self.field.drift_noise))
        return plus(jax.tree.map(lambda v: h * v, drift), size, noise)

    def sample(self, y: PyTree, start: Time) -> tuple[PyTree, PyTree]:
        """Return the drift and the noise at `y` that belong to a step from `start`."""
        # The bits of a time tell the starts of all steps apart, whatever their length is.
        bits = jax.lax.bitcast_convert_type(jnp.asarray(start, jnp.float32), jnp.uint32)
        return self.field.sample(y, jax.random.fold_in(self.key, bits))
