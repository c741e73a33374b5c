"""The protocol of a flow: a continuous-time model of an optimizer's iterates.

A flow is a program transformation of an `Iteration`. It turns a point of phase space into a state
of its own, moves that state by an autonomous vector field whose unit of time is one optimizer step
(the clocks of a schedule are part of the state), and says where its centre is and which loss it
predicts the iterates to average. It never asks which optimizer it has.
"""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow.linalg.trees import norm
from rodflow.maps.iteration import Iteration, PhaseState
from rodflow.solvers import Held, Integrator, choose, evaluations_per_step

# How a flow with the look-back term is solved: by a solver that does not look back as well.
CORRECTED = Integrator(diffrax.Heun(), 0.5)


class Work(NamedTuple):
    """Evaluations of gradients, Hessian-vector products and third derivatives in two directions."""

    gradients: Array
    hessians: Array
    thirds: Array


class AbstractFlow(eqx.Module):
    """What every flow can do; `corrected` adds the look-back (BEA) term to its field.

    `LookbackEuler(flow.looks_back)` and, for flows that look back as a whole, `OneLegLookback`
    supply that term themselves and want `corrected=False`; any other Diffrax solver follows the
    iterates to second order with `corrected=True` (MATH.md section 5).
    """

    iteration: eqx.AbstractVar[Iteration]
    corrected: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def init(self, state: PhaseState) -> PyTree[Array]:
        """The flow's state at a point of phase space: a NamedTuple of pytrees."""

    @abc.abstractmethod
    def increment(self, y: PyTree[Array]) -> PyTree[Array]:
        """The field V whose unit Euler step is the map, per optimizer step."""

    @abc.abstractmethod
    def phase(self, y: PyTree[Array]) -> PhaseState:
        """The centre as a point of phase space, with its momenta, second moments and clocks."""

    def center(self, y: PyTree[Array]) -> PyTree[Array]:
        """The parameters at the centre, of the structure of `params`."""
        return self.phase(y).params

    @abc.abstractmethod
    def predicted_loss(self, y: PyTree[Array]) -> Float[Array, ""]:
        """The loss that the iterates are predicted to average."""

    @abc.abstractmethod
    def extent(self, y: PyTree[Array]) -> Float[Array, ""]:
        """Half the length of the rod in parameter space; 0.0 for a flow without one."""

    def reach(self, y: PyTree[Array]) -> Float[Array, ""]:
        """How far from zero the parameters are at most: what a flow that diverges lets grow."""
        return norm(self.center(y))

    @property
    @abc.abstractmethod
    def gradients(self) -> int:
        """Gradient evaluations in one evaluation of `increment`, besides those of `holding`."""

    def holding(self, y: PyTree[Array]) -> Work:
        """The part of the work of `increment` that an integrator may hold (`rodflow.Held`)."""
        del y
        return Work(*jnp.zeros(3))

    @property
    @abc.abstractmethod
    def integrator(self) -> Integrator:
        """How this flow is solved unless told otherwise."""

    @property
    def looks_back(self) -> PyTree[bool]:
        """A prefix of the state: True where `increment` is that of a map, to be corrected."""
        return True

    def vector_field(self, t: Any, y: PyTree[Array], args: PyTree) -> PyTree[Array]:
        """The right-hand side for Diffrax, autonomous."""
        del t, args
        field = self.increment(y)
        if not self.corrected:
            return field
        earlier = jax.tree.map(lambda a, v: a - v / 2, y, field)
        return choose(self.looks_back, self.increment(choose(self.looks_back, earlier, y)), field)

    def term(self) -> diffrax.ODETerm:
        """The flow as a Diffrax ODE term, for any solver and controller."""
        return diffrax.ODETerm(self.vector_field)


def work_per_step(flow: AbstractFlow, solver: diffrax.AbstractSolver, y: PyTree[Array]) -> Work:
    """What one step of `solver` costs at `y`, the first step not counted."""
    if isinstance(solver, Held):
        holds, fields = 1, solver.substeps * evaluations_per_step(solver.solver, y)
    else:
        holds = fields = evaluations_per_step(solver, y) * (2 if flow.corrected else 1)
    held = jax.tree.map(lambda x: holds * x, flow.holding(y))
    return held._replace(gradients=held.gradients + fields * flow.gradients)
