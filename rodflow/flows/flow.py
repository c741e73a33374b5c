"""The protocol of a flow: a continuous-time model of an optimizer's iterates.

A flow is a model and owns no optimizer: every method that needs one takes an iteration. The flow
turns a point of phase space into a state of its own, moves that state by an autonomous vector field
whose unit of time is one optimizer step (the clocks of a schedule are part of the state), and gives
its centre and the loss that it predicts the iterates to average. It never asks which optimizer it
has. Hyperparameters of a flow are leaves of it, so that they may be traced and swept.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow._checks import shown
from rodflow.linalg.trees import norm
from rodflow.maps.iteration import AbstractIteration, PhaseState
from rodflow.solvers import Integrator
from rodflow.term import FlowField, FlowTerm, Work


class AbstractFlow(eqx.Module):
    """A model of the iterates of any optimizer in continuous time.

    One unit of time is one step of the map, and y stands for the state of the flow.

    Attributes:
        holds: True if a solver may hold a costly part of the field for a step (`rodflow.Held`).

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> iteration = rodflow.Iteration(lambda w: w**2 / 2, optax.sgd(0.5))
        >>> flow = rodflow.StableFlow()
        >>> y = flow.init(iteration, iteration.init(jnp.array(1.0)))
        >>> float(flow.increment(iteration, y).params), float(flow.predicted_loss(iteration, y))
        (-0.5, 0.5)
    """

    holds: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def corrected(self) -> bool:
        """True if plain Diffrax solvers get the field with the look-back (BEA) term.

        They then follow the iterates to second order; see `rodflow.FlowTerm`.
        """

    @property
    def looks_back(self) -> PyTree[bool]:
        """A prefix of the state, True where the field is the increment of a map."""
        return True

    @abc.abstractmethod
    def init(self, iteration: AbstractIteration, state: PhaseState) -> PyTree[Array]:
        """Return the state of the flow at a point of phase space: a NamedTuple of pytrees.

        Raises:
            ValueError: The state is of another map.
        """

    @abc.abstractmethod
    def increment(self, iteration: AbstractIteration, y: PyTree[Array]) -> PyTree[Array]:
        """Return the field V whose unit Euler step is the map, per optimizer step."""

    @abc.abstractmethod
    def phase(self, y: PyTree[Array]) -> PhaseState:
        """Return the centre as a point of phase space, with momenta, second moments and clocks."""

    def center(self, y: PyTree[Array]) -> PyTree[Array]:
        """Return the parameters at the centre, of the structure of `params`."""
        return self.phase(y).params

    @abc.abstractmethod
    def predicted_loss(self, iteration: AbstractIteration, y: PyTree[Array]) -> Float[Array, ""]:
        """Return the loss that the iterates are predicted to average."""

    @abc.abstractmethod
    def extent(self, y: PyTree[Array]) -> Float[Array, ""]:
        """Return half the length of the rod, in units of the parameters; 0.0 without a rod.

        It is the distance of the iterates from their midpoint that the flow predicts.
        """

    def reach(self, y: PyTree[Array]) -> Float[Array, ""]:
        """Return a bound on the norm of the parameters; a flow diverges where it grows too far."""
        return norm(self.center(y))

    @property
    @abc.abstractmethod
    def gradients(self) -> int:
        """Gradient evaluations in one call of `increment`, besides those of `holding`."""

    def hold(
        self, iteration: AbstractIteration, y: PyTree[Array]
    ) -> Callable[[PyTree[Array]], PyTree[Array]]:
        """Return the field with its costly part as it is at `y`; the whole field if none is."""
        del y
        return lambda at: self.increment(iteration, at)

    def holding(self, y: PyTree[Array]) -> Work:
        """Return the work of the part of `increment` that a solver may hold."""
        del y
        return Work(*jnp.zeros(3))

    @property
    @abc.abstractmethod
    def integrator(self) -> Integrator:
        """The way this flow is solved unless told otherwise."""

    def term(self, iteration: AbstractIteration) -> FlowTerm:
        """Return the flow of `iteration` as a Diffrax ODE term, for any solver and controller.

        Raises:
            ValueError: `iteration` is not a map.
        """
        if not isinstance(iteration, AbstractIteration):
            raise ValueError(
                f"`iteration` is {shown(iteration)}; it must be a map, such as "
                "rodflow.Iteration(loss, tx)."
            )
        return FlowTerm(FlowField(self, iteration))
