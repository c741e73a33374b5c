"""LookbackEuler: from the increments of a map to the flow through its iterates.

Let V be a field whose unit Euler step is the exact map. The flow that passes through the iterates
is dy/dt = log of the map = V - V'V/2 + ..., and backward error analysis (BEA) gets its second term
without a derivative, by looking back half a step:

    V(y - V(y)/2) = V - V'V/2 + O(V^3)

A solver that takes Euler steps of size h already supplies part of that term. LookbackEuler supplies
the rest,

    y[n+1] = y[n] + h V(y[n] - a V(y[n])),        a = (1 - h)/2

and so matches the map to second order in V for every h: h -> 0 is the BEA-corrected flow and h = 1
the map itself (MATH.md section 5). OneLegLookback reads the earlier point off the steps before, at
half the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from diffrax import RESULTS
from equinox.internal import ω
from jaxtyping import Array, PyTree


def choose(where: PyTree[bool], chosen: PyTree, other: PyTree) -> PyTree:
    """The parts of `chosen` where `where`, a prefix of both, is True, and of `other` elsewhere."""
    return jax.tree.map(lambda here, a, b: a if here else b, where, chosen, other)


class AbstractLookback(diffrax.AbstractSolver):
    """What solvers that take Euler steps and look back have in common."""

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar[Callable[..., diffrax.LocalLinearInterpolation]] = (
        diffrax.LocalLinearInterpolation
    )

    def order(self, terms):
        return 1

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


class LookbackEuler(AbstractLookback):
    """Euler's method on the field looked at (1 - h)/2 steps earlier.

    Two evaluations of the field per step; fixed step sizes only. As an ODE solver of the
    BEA-corrected field it has order 1 in h with an error constant of third order in V.

    **Arguments:**

    - `looks_back`: a prefix of the state, True where the field is the increment of a map. Where it
        is False the field is that of an ordinary equation, and the step that of the midpoint rule.

    Source: MATH.md section 5.
    """

    looks_back: PyTree[bool] = eqx.field(static=True, default=True)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        del solver_state, made_jump
        h = terms.contr(t0, t1)
        a = (1 - h) / 2

        def stage(y: PyTree, at: tuple[Array, Array, Array]) -> tuple[PyTree, None]:
            t, *moves = at
            field = terms.vf(t, y, args)
            back, ahead = ((y0**ω + x * field**ω).ω for x in moves)
            return choose(self.looks_back, back, ahead), None

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

    **Arguments:** None. Source: ours, on MATH.md section 5.
    """

    def init(self, terms, t0, t1, y0, args):
        rest = jax.tree.map(jnp.zeros_like, y0)
        return rest, rest

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        h = terms.contr(t0, t1)
        last, earlier = (
            jax.tree.map(lambda v: jnp.where(made_jump, 0, v), field) for field in solver_state
        )
        first, second = last**ω, last**ω - earlier**ω
        y = (y0**ω - (1 - h) * (first / 2 + second / 6)).ω
        field = terms.vf(t0 - (1 - h) / 2, y, args)
        y1 = (y0**ω + h * field**ω).ω
        return y1, None, dict(y0=y0, y1=y1), (field, last), RESULTS.successful


class Held(diffrax.AbstractSolver):
    """Another solver's steps, with the costly part of the field held at the start of each.

    `hold(y)` computes what is costly at y and returns the field that remains, a function of the
    state; it must be the one of the flow whose term is solved. Each step of the solver calls `hold`
    once and takes `substeps` steps of `solver` with what it returned.
    """

    hold: Callable[[PyTree], Callable[[PyTree], PyTree]]
    solver: diffrax.AbstractSolver = LookbackEuler()
    substeps: int = 2

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar[Callable[..., diffrax.LocalLinearInterpolation]] = (
        diffrax.LocalLinearInterpolation
    )

    def order(self, terms):
        return 1

    def init(self, terms, t0, t1, y0, args):
        return self.solver.init(terms, t0, t0 + (t1 - t0) / self.substeps, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        field = self.hold(y0)
        held = diffrax.ODETerm(lambda t, y, args: field(y))
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

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


class Integrator(NamedTuple):
    """How a flow is solved: what `diffrax.diffeqsolve` takes besides the term.

    - `dt0`: the step size in optimizer steps, or None where the controller chooses the first.
    - `adjoint`: `diffrax.ForwardMode()` compiles in half the time, but then a run cannot be
        differentiated in reverse mode.
    - `max_steps`: solver steps per optimizer step beyond which a solve counts as diverged.
    """

    solver: diffrax.AbstractSolver
    dt0: float | Array | None
    stepsize_controller: diffrax.AbstractStepSizeController = diffrax.ConstantStepSize()
    adjoint: diffrax.AbstractAdjoint = diffrax.RecursiveCheckpointAdjoint()
    max_steps: int = 1000


def evaluations_per_step(solver: diffrax.AbstractSolver, y: PyTree = 0.0) -> int:
    """Evaluations of the field in one step of `solver`, the first step not counted.

    `y` is a state of the structure that the solver asks for.
    """
    tableau = getattr(solver, "tableau", None)
    if tableau is not None:
        # Diffrax loops over the stages, so that they cannot be counted in a trace.
        return tableau.num_stages - int(tableau.fsal)
    calls = 0

    def field(t: Any, y: PyTree, args: PyTree) -> PyTree:
        nonlocal calls
        calls += 1
        return y

    term = diffrax.ODETerm(field)
    y = jax.tree.map(lambda _: 0.0, y)
    state = solver.init(term, 0.0, 1.0, y, None)
    calls = 0
    with jax.disable_jit():  # runs loops over stages, instead of tracing them once
        solver.step(term, 0.0, 1.0, y, None, state, False)
    return calls
