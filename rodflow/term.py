"""The term of a flow: a Diffrax ODE term that also says how its field relates to a map.

Let V be the increment of a map: a field whose unit Euler step is the map itself. The flow that
passes through the iterates of the map is dy/dt = log of the map = V - V'V/2 + ..., whose second
term (backward error analysis, BEA) needs no derivative: looking back half a step,

    V(y - V(y)/2) = V - V'V/2 + O(V^3)

A plain Diffrax solver knows nothing of maps, so `FlowTerm.vf` gives it this corrected field, which
costs two evaluations of V; for a flow that is by definition the uncorrected one, it gives V. The
solvers of `rodflow.solvers` supply the correction by their own steps, and read V itself from
`FlowTerm.increment`. Parts of a state may obey an ordinary differential equation instead of a map:
they do not look back (`FlowTerm.looks_back`).
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
from jaxtyping import Array, PyTree


class Work(NamedTuple):
    """Evaluations of the loss's derivatives, as scalar arrays.

    Attributes:
        gradients: Gradients.
        hessians: Hessian-vector products.
        thirds: Third derivatives along two vectors.
    """

    gradients: Array
    hessians: Array
    thirds: Array

    def plus(self, other: Work) -> Work:
        """Add two works."""
        return jax.tree.map(lambda a, b: a + b, self, other)

    def times(self, count: int | float | Array) -> Work:
        """Multiply by `count`."""
        return jax.tree.map(lambda x: count * x, self)


class AbstractField(eqx.Module):
    """A field V(y) in units of one optimizer step, and its relation to a map."""

    @property
    @abc.abstractmethod
    def looks_back(self) -> PyTree[bool]:
        """A prefix of the state, True where V is the increment of a map."""

    @property
    @abc.abstractmethod
    def corrected(self) -> bool:
        """True if plain Diffrax solvers shall get the field with the look-back term."""

    @abc.abstractmethod
    def increment(self, y: PyTree) -> PyTree:
        """Return V(y), of the structure of `y`."""

    def __call__(self, t: Any, y: PyTree, args: PyTree) -> PyTree:
        """Return the right-hand side for a plain Diffrax solver; it is autonomous."""
        del t, args
        field = self.increment(y)
        if not self.corrected:
            return field
        earlier = jax.tree.map(lambda a, v: a - v / 2, y, field)
        return choose(self.looks_back, self.increment(choose(self.looks_back, earlier, y)), field)


class FlowField(AbstractField):
    """The field of a flow of an iteration.

    Args:
        flow: A `rodflow.AbstractFlow`.
        iteration: The map that it is a flow of.
    """

    flow: Any
    iteration: Any

    @property
    def looks_back(self) -> PyTree[bool]:
        return self.flow.looks_back

    @property
    def corrected(self) -> bool:
        return self.flow.corrected

    def increment(self, y: PyTree) -> PyTree:
        return self.flow.increment(self.iteration, y)


class HeldField(AbstractField):
    """A field whose costly part is held.

    Args:
        function: The part that remains, state -> V.
        whole: The field that it is a part of.
    """

    function: Callable[[PyTree], PyTree]
    whole: AbstractField

    @property
    def looks_back(self) -> PyTree[bool]:
        return self.whole.looks_back

    @property
    def corrected(self) -> bool:
        return self.whole.corrected

    def increment(self, y: PyTree) -> PyTree:
        return self.function(y)


class FlowTerm(diffrax.ODETerm):
    """The ODE term of a flow, for every Diffrax solver and step size controller.

    A plain Diffrax solver gets from `vf` the field of the ordinary differential equation that the
    flow is. `rodflow.LookbackEuler`, `OneLegLookback` and `Held` read what else they need here.
    Theory: docs/theory/look_back.md.

    Args:
        vector_field: The field of the flow, or one with a part that is held.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> iteration = rodflow.Iteration(lambda w: w**2 / 2, optax.sgd(0.5))
        >>> flow = rodflow.StableFlow(corrected=True)
        >>> term = flow.term(iteration)
        >>> y = flow.init(iteration, iteration.init(jnp.array(1.0)))
        >>> float(term.increment(0.0, y, None).params)  # V(y), of the map
        -0.5
        >>> float(term.vf(0.0, y, None).params)  # V(y - V(y) / 2), of the flow
        -0.625
    """

    vector_field: AbstractField

    @property
    def looks_back(self) -> PyTree[bool]:
        """A prefix of the state, True where the field is the increment of a map."""
        return self.vector_field.looks_back

    def increment(self, t: Any, y: PyTree, args: PyTree) -> PyTree:
        """Return V(y), the field whose unit Euler step is the map, without the look-back term."""
        return diffrax.ODETerm(lambda t, y, args: self.vector_field.increment(y)).vf(t, y, args)

    @property
    def holds(self) -> bool:
        """True if the field has a costly part that a solver may hold for a step."""
        field = self.vector_field
        return isinstance(field, FlowField) and field.flow.holds

    def held_at(self, y: PyTree) -> FlowTerm:
        """Return the term whose costly part stays as it is at `y`. Requires `holds`."""
        field = self.vector_field
        assert isinstance(field, FlowField)
        function = field.flow.hold(field.iteration, y)
        return FlowTerm(HeldField(function, field))

    @property
    def evaluations(self) -> int:
        """Evaluations of V in one call of `vf`."""
        return 2 if self.vector_field.corrected else 1

    def work(self, y: PyTree) -> tuple[Work, Work]:
        """Return the work of V at `y`: of the part that may be held, and of the rest."""
        field = self.vector_field
        assert isinstance(field, FlowField)
        held = field.flow.holding(y)
        zero = jax.tree.map(lambda x: 0 * x, held)
        return held, zero._replace(gradients=zero.gradients + field.flow.gradients)


def choose(where: PyTree[bool], chosen: PyTree, other: PyTree) -> PyTree:
    """Return the parts of `chosen` where `where`, a prefix of both, is True, else of `other`."""
    return jax.tree.map(lambda here, a, b: a if here else b, where, chosen, other)
