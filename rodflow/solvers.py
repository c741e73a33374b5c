"""Diffrax solvers that step from the increments of a map to the flow through its iterates.

Let V be a field whose unit Euler step is the exact map. The flow that passes through the iterates
is dy/dt = log of the map = V - V'V/2 + ..., and backward error analysis (BEA) gets its second term
without a derivative, by looking back half a step:

    V(y - V(y)/2) = V - V'V/2 + O(V^3)

A solver that takes Euler steps of size h already supplies part of that term. LookbackEuler supplies
the rest,

    y[n+1] = y[n] + h V(y[n] - a V(y[n])),        a = (1 - h)/2

and so matches the map to second order in V for every h: h -> 0 is the BEA-corrected flow and h = 1
the map itself. OneLegLookback reads the earlier point off the steps before, at half the cost.

They take the term of a flow (`rodflow.FlowTerm`), which tells them which parts of the state look
back, and a plain `diffrax.ODETerm`, whose field then is the increment of a map as a whole.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from diffrax import RESULTS
from equinox.internal import ω
from jaxtyping import Array, Bool, PyTree

from rodflow.term import FlowTerm, Work, choose

_Step = tuple[PyTree, PyTree | None, dict[str, PyTree], PyTree, diffrax.RESULTS]
_Time = Any  # a number or a scalar array


class AbstractMapSolver(diffrax.AbstractSolver):
    """A solver that reads from a term how its field relates to a map."""

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar[Callable[..., diffrax.LocalLinearInterpolation]] = (
        diffrax.LocalLinearInterpolation
    )

    @abc.abstractmethod
    def work(self, term: FlowTerm, y: PyTree) -> Work:
        """Return the work of one step at `y`, the first step not counted."""

    def order(self, terms: diffrax.AbstractTerm) -> int:
        return 1

    def func(self, terms: diffrax.AbstractTerm, t0: _Time, y0: PyTree, args: PyTree) -> PyTree:
        return terms.vf(t0, y0, args)


class AbstractLookback(AbstractMapSolver):
    """A solver that takes Euler steps of the increment of a map and looks back.

    Attributes:
        evaluations: Evaluations of the increment in one step.
    """

    evaluations: ClassVar[int]

    def work(self, term: FlowTerm, y: PyTree) -> Work:
        held, rest = term.work(y)
        return held.plus(rest).times(self.evaluations)


class LookbackEuler(AbstractLookback):
    """Euler's method on the field looked at (1 - h)/2 steps earlier.

    Two evaluations of the field per step; fixed step sizes only. As an ODE solver of the
    BEA-corrected field it has order 1 in h with an error constant of third order in V. The parts of
    a state that do not look back take a step of the midpoint rule.
    """

    evaluations: ClassVar[int] = 2

    def init(
        self, terms: diffrax.AbstractTerm, t0: _Time, t1: _Time, y0: PyTree, args: PyTree
    ) -> None:
        return None

    def step(
        self,
        terms: diffrax.AbstractTerm,
        t0: _Time,
        t1: _Time,
        y0: PyTree,
        args: PyTree,
        solver_state: None,
        made_jump: bool | Bool[Array, ""],
    ) -> _Step:
        del solver_state, made_jump
        h = terms.contr(t0, t1)
        a = (1 - h) / 2
        looks_back = _looks_back(terms)

        def stage(y: PyTree, at: tuple[Array, Array, Array]) -> tuple[PyTree, None]:
            t, *moves = at
            field = _increment(terms, t, y, args)
            back, ahead = ((y0**ω + x * field**ω).ω for x in moves)
            return choose(looks_back, back, ahead), None

        # A loop, so that the field is compiled once and the stages share its memory.
        stages = (jnp.stack([t0, t0 - a]), jnp.stack([-a, h]), jnp.stack([h / 2, h]))
        y1, _ = jax.lax.scan(stage, y0, stages)
        return y1, None, dict(y0=y0, y1=y1), None, RESULTS.successful


class OneLegLookback(AbstractLookback):
    """LookbackEuler that looks back along its own path, and so evaluates the field once per step.

    Along the flow through the iterates V(y(t)) = y(t+1) - y(t), so that dy/dt = D/(exp(D) - 1) V
    with D = d/dt. With V[n-1] and V[n-2] the fields of the two steps before, one of size h is

        y[n+1] = y[n] + h V[n],     V[n] = V(y[n] - (1 - h) (V[n-1] / 2 + (V[n-1] - V[n-2]) / 6))

    The half looks back (1 - h)/2 steps, as LookbackEuler does, and matches the map to second order
    in V. The sixth is what makes the length of modes that turn right to fourth order, which matters
    under momentum: for heavy ball with b1 = .9 a mode that turns by a quarter keeps .95 of its
    length in a step of the map, .74 in two of LookbackEuler and .94 in two of these. More of it
    would amplify modes that the map does not; as it is none is amplified. h = 1 is the map, and
    h = 1/3 of fourth order in linear fields.

    It starts as if y had been at rest before, and so with a step of Euler: second moments that have
    only begun to grow are not looked back at below zero. In the terms of Dahlquist 1975 it is a
    one-leg method: V[n-1] is the slope of the last step. It keeps slopes rather than earlier y, as
    a state that moves from one place of a loop to the next is copied by XLA.

    Raises:
        ValueError: Parts of the flow's state obey an ordinary differential equation, which has no
            slopes of a map to look back along.
    """

    evaluations: ClassVar[int] = 1

    def init(
        self, terms: diffrax.AbstractTerm, t0: _Time, t1: _Time, y0: PyTree, args: PyTree
    ) -> tuple[PyTree, PyTree]:
        if not all(jax.tree.leaves(_looks_back(terms))):
            raise ValueError(
                "OneLegLookback looks back at the whole of a state, but parts of this flow's obey "
                "an ordinary differential equation; use LookbackEuler or a Diffrax solver."
            )
        rest = jax.tree.map(jnp.zeros_like, y0)
        return rest, rest

    def step(
        self,
        terms: diffrax.AbstractTerm,
        t0: _Time,
        t1: _Time,
        y0: PyTree,
        args: PyTree,
        solver_state: tuple[PyTree, PyTree],
        made_jump: bool | Bool[Array, ""],
    ) -> _Step:
        h = terms.contr(t0, t1)
        last, earlier = (
            jax.tree.map(lambda v: jnp.where(made_jump, 0, v), field) for field in solver_state
        )
        first, second = last**ω, last**ω - earlier**ω
        y = (y0**ω - (1 - h) * (first / 2 + second / 6)).ω
        field = _increment(terms, t0 - (1 - h) / 2, y, args)
        y1 = (y0**ω + h * field**ω).ω
        return y1, None, dict(y0=y0, y1=y1), (field, last), RESULTS.successful


class Held(AbstractMapSolver):
    """Another solver's steps, with the costly part of the field held at the start of each.

    Args:
        solver: The solver of the substeps.
        substeps: Its steps in one of these.

    Raises:
        ValueError: There is no solver or substep, or the term is not that of a flow with a costly
            part, such as `CentralFlow`.
    """

    solver: diffrax.AbstractSolver = LookbackEuler()
    substeps: int = eqx.field(static=True, default=2)

    def __check_init__(self) -> None:
        if not isinstance(self.solver, diffrax.AbstractSolver):
            raise ValueError(f"`solver` is {self.solver!r}; it must be a Diffrax solver.")
        if self.substeps < 1:
            raise ValueError(f"`substeps` is {self.substeps}; it must be at least 1.")

    def work(self, term: FlowTerm, y: PyTree) -> Work:
        held, rest = term.work(y)
        evaluations = self.substeps * _evaluations(self.solver, term)
        return held.plus(rest.times(evaluations))

    def init(
        self, terms: diffrax.AbstractTerm, t0: _Time, t1: _Time, y0: PyTree, args: PyTree
    ) -> Any:
        if (flow := _flow_term(terms)) is None or not flow.holds:
            raise ValueError(
                "Held holds the costly part of a flow's field, and this term has none; flows that "
                "have one are CentralFlow and FreeEnergyFlow."
            )
        return self.solver.init(terms, t0, t0 + (t1 - t0) / self.substeps, y0, args)

    def step(
        self,
        terms: diffrax.AbstractTerm,
        t0: _Time,
        t1: _Time,
        y0: PyTree,
        args: PyTree,
        solver_state: Any,
        made_jump: bool | Bool[Array, ""],
    ) -> _Step:
        flow = _flow_term(terms)
        assert flow is not None  # asked in `init`
        held = flow.held_at(y0)
        h = (t1 - t0) / self.substeps

        def substep(carry: tuple[PyTree, PyTree], n: Array) -> tuple[tuple[PyTree, PyTree], None]:
            y, state = carry
            start = t0 + n * h
            jumped = made_jump & (n == 0)
            y, _, _, state, _ = self.solver.step(held, start, start + h, y, args, state, jumped)
            return (y, state), None

        numbers = jnp.arange(self.substeps)
        (y1, solver_state), _ = jax.lax.scan(substep, (y0, solver_state), numbers)
        return y1, None, dict(y0=y0, y1=y1), solver_state, RESULTS.successful


class Integrator(NamedTuple):
    """The way a flow is solved: the arguments of `diffrax.diffeqsolve` besides the term.

    Attributes:
        solver: Any Diffrax solver.
        dt0: The step size in optimizer steps, or None where the controller chooses the first.
        stepsize_controller: Any Diffrax step size controller.
        adjoint: `diffrax.ForwardMode()` compiles in half the time, but then a run cannot be
            differentiated in reverse mode.
        max_steps: Solver steps per optimizer step beyond which a solve counts as diverged.
    """

    solver: diffrax.AbstractSolver
    dt0: float | Array | None
    stepsize_controller: diffrax.AbstractStepSizeController = diffrax.ConstantStepSize()
    adjoint: diffrax.AbstractAdjoint = diffrax.RecursiveCheckpointAdjoint()
    max_steps: int = 1000


def work_per_step(solver: diffrax.AbstractSolver, term: FlowTerm, y: PyTree) -> Work:
    """Return the work of one step of `solver` on `term` at `y`, the first step not counted.

    NaN for implicit solvers, whose root finders take as many evaluations as they need.
    """
    if isinstance(solver, AbstractMapSolver):
        return solver.work(term, y)
    held, rest = term.work(y)
    return held.plus(rest).times(_evaluations(solver, term))


def _flow_term(terms: diffrax.AbstractTerm) -> FlowTerm | None:
    """Return the term of a flow, out of the wrapper in which Diffrax keeps the sign of time."""
    inner = getattr(terms, "term", terms)
    return inner if isinstance(inner, FlowTerm) else None


def _looks_back(terms: diffrax.AbstractTerm) -> PyTree[bool]:
    flow = _flow_term(terms)
    return True if flow is None else flow.looks_back


def _increment(terms: diffrax.AbstractTerm, t: _Time, y: PyTree, args: PyTree) -> PyTree:
    """Return the increment of the map: the whole field of a term that is not of a flow."""
    flow = _flow_term(terms)
    return terms.vf(t, y, args) if flow is None else flow.increment(t, y, args)


def _evaluations(solver: diffrax.AbstractSolver, term: FlowTerm) -> int | float:
    """Count the evaluations of a flow's increment in one step of a solver."""
    if isinstance(solver, AbstractLookback):
        return solver.evaluations
    if isinstance(solver, diffrax.AbstractImplicitSolver):
        return float("nan")
    tableau = getattr(solver, "tableau", None)
    if tableau is not None:
        # Diffrax loops over the stages, so that they cannot be counted in a trace.
        return term.evaluations * (tableau.num_stages - int(tableau.fsal))
    return term.evaluations * _calls(solver)


def _calls(solver: diffrax.AbstractSolver) -> int:
    """Count the evaluations of the field in a traced step of an explicit solver."""
    calls: list[None] = []

    def field(t: Any, y: PyTree, args: PyTree) -> PyTree:
        calls.append(None)
        return y

    def step(y: Array) -> PyTree:
        state = solver.init(term, 0.0, 1.0, y, None)
        calls.clear()
        return solver.step(term, 0.0, 1.0, y, None, state, False)[0]

    term = diffrax.ODETerm(field)
    jax.eval_shape(step, jnp.zeros(()))
    return len(calls)
