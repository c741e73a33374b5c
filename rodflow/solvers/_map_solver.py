"""The base of solvers that read from a term how its field relates to a map."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
from jaxtyping import PyTree

from rodflow._checks import shown
from rodflow.term import FlowTerm, Work

Step = tuple[PyTree, PyTree | None, dict[str, PyTree], PyTree, diffrax.RESULTS]
Time = Any  # a number or a scalar array


class AbstractMapSolver(diffrax.AbstractSolver):
    """A solver that reads from a term how its field relates to a map.

    Examples:
        >>> import rodflow
        >>> from rodflow.solvers import AbstractMapSolver
        >>> isinstance(rodflow.LookbackEuler(), AbstractMapSolver)
        True
    """

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar[Callable[..., diffrax.LocalLinearInterpolation]] = (
        diffrax.LocalLinearInterpolation
    )

    @abc.abstractmethod
    def work(self, term: FlowTerm, y: PyTree) -> Work:
        """Return the work of one step at `y`, the first step not counted."""

    def order(self, terms: diffrax.AbstractTerm) -> int:
        return 1

    def func(self, terms: diffrax.AbstractTerm, t0: Time, y0: PyTree, args: PyTree) -> PyTree:
        return terms.vf(t0, y0, args)


class AbstractLookback(AbstractMapSolver):
    """A solver that takes Euler steps of the increment of a map and looks back.

    Attributes:
        evaluations: Evaluations of the increment in one step.

    Examples:
        >>> import rodflow
        >>> from rodflow.solvers import AbstractLookback
        >>> issubclass(rodflow.OneLegLookback, AbstractLookback)
        True
        >>> rodflow.LookbackEuler.evaluations, rodflow.OneLegLookback.evaluations
        (2, 1)
    """

    evaluations: ClassVar[int]

    def work(self, term: FlowTerm, y: PyTree) -> Work:
        held, rest = term.work(y)
        return held.plus(rest).times(self.evaluations)


def check_solver(name: str, solver: object) -> None:
    """Raise a `ValueError` unless a value is a Diffrax solver.

    Examples:
        >>> import diffrax
        >>> from rodflow.solvers import check_solver
        >>> check_solver("solver", diffrax.Heun())
    """
    if not isinstance(solver, diffrax.AbstractSolver):
        raise ValueError(
            f"`{name}` is {shown(solver)}; it must be an instance of a Diffrax solver, as "
            "diffrax.Heun() is."
        )


def flow_term(terms: diffrax.AbstractTerm) -> FlowTerm | None:
    """Return the `FlowTerm` inside the wrapper that Diffrax puts around a term, or None."""
    inner = getattr(terms, "term", terms)
    return inner if isinstance(inner, FlowTerm) else None


def looks_back(terms: diffrax.AbstractTerm) -> PyTree[bool]:
    """Return where a state looks back: all of it for a term that is not of a flow."""
    flow = flow_term(terms)
    return True if flow is None else flow.looks_back


def increment_of(terms: diffrax.AbstractTerm, t: Time, y: PyTree, args: PyTree) -> PyTree:
    """Return the increment of the map: the whole field of a term that is not of a flow."""
    flow = flow_term(terms)
    return terms.vf(t, y, args) if flow is None else flow.increment(t, y, args)
