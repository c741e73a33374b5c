"""Flows averaged over an oscillation of covariance X in the leading modes (`critical`).

They differ in how X is found: the central flow solves for what holds the edge, the free-energy flow
lets it grow and decay. The centre moves by G(z) + 1/2 sum_ij X_ij D^2 G(z)[xi_i, xi_j], and the
loss is predicted to second order.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow.flows import _critical as critical
from rodflow.flows.flow import AbstractFlow
from rodflow.maps.iteration import PhaseState


class AbstractAveragedFlow(AbstractFlow):
    """A flow whose state has a centre `z`, a `basis` of modes, and a `covariance` in it."""

    @abc.abstractmethod
    def hold(self, y: Any) -> Callable[[Any], Any]:
        """The field with the oscillation as it is at `y`, and one gradient left to evaluate."""

    def increment(self, y: Any) -> Any:
        return self.hold(y)(y)

    def moving(self, drive: PhaseState, rates: Any) -> Callable[[Any], Any]:
        """The field that moves z by the optimizer's increment and `drive`, the rest by `rates`."""

        def field(y: Any) -> Any:
            return rates._replace(z=jax.tree.map(jnp.add, self.iteration.increment(y.z), drive))

        return field

    def phase(self, y: Any) -> PhaseState:
        return y.z

    def predicted_loss(self, y: Any) -> Float[Array, ""]:
        """L + <H, Sigma> / 2."""
        return critical.mean_loss(self.iteration, y.z, self._amplitudes(y))

    def extent(self, y: Any) -> Float[Array, ""]:
        """The root of the trace of Sigma, in parameter space."""
        return critical.length(self._amplitudes(y))

    def _amplitudes(self, y: Any) -> PyTree:
        return critical.amplitudes(self.iteration, y.z, y.basis, y.covariance)

    @property
    def gradients(self) -> int:
        return 1
