"""Flows averaged over an oscillation of covariance X in the leading modes of the Hessian.

They differ in how X is found: the central flow solves for what holds the edge, the free-energy flow
lets it grow and decay. The centre moves by G(z) + 1/2 sum_ij X_ij D^2 G(z)[xi_i, xi_j], and the
loss is predicted to second order.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow.flows import _critical as critical
from rodflow.flows.flow import AbstractFlow
from rodflow.linalg import rows
from rodflow.maps.iteration import AbstractIteration, PhaseState


class AbstractAveragedFlow(AbstractFlow):
    """A flow whose state has a centre, a basis of modes, and a covariance in it.

    The state has the fields `z` (a point of phase space), `basis` ((k, ...) leaves), `covariance`
    (k, k), and `scale`: the root of the response of the parameters, of their structure, as it was
    at the start of the last step.
    """

    corrected: ClassVar[bool] = True
    holds: ClassVar[bool] = True

    @abc.abstractmethod
    def hold(self, iteration: AbstractIteration, y: Any) -> Callable[[Any], Any]:
        """Return the field with the oscillation as it is at `y`; it takes one gradient."""

    def increment(self, iteration: AbstractIteration, y: Any) -> Any:
        return self.hold(iteration, y)(y)

    def phase(self, y: Any) -> PhaseState:
        return y.z

    def predicted_loss(self, iteration: AbstractIteration, y: Any) -> Float[Array, ""]:
        """Return L + <H, Sigma> / 2."""
        scale = critical.scale(iteration, y.z)
        return critical.mean_loss(iteration, y.z, _amplitudes(scale, y))

    def extent(self, y: Any) -> Float[Array, ""]:
        """Return the root of the trace of Sigma, in parameter space."""
        return critical.length(_amplitudes(y.scale, y))

    @property
    def gradients(self) -> int:
        return 1


def moving(iteration: AbstractIteration, drive: PhaseState, rates: Any) -> Callable[[Any], Any]:
    """Return the field that moves z by the optimizer's increment and `drive`, else by `rates`."""

    def field(y: Any) -> Any:
        return rates._replace(z=jax.tree.map(jnp.add, iteration.increment(y.z), drive))

    return field


def _amplitudes(scale: PyTree, y: Any) -> PyTree:
    """Return rows of the parameters whose outer products sum to the oscillation's covariance."""
    vectors = rows.combine(rows.root(y.covariance), y.basis)
    return jax.tree.map(lambda s, v: s * v, scale, vectors)
