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

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
from diffrax import RESULTS
from equinox.internal import ω
from jaxtyping import Array, Bool, PyTree

from rodflow.solvers._map_solver import AbstractLookback, Step, Time, increment_of, looks_back
from rodflow.term import choose


class LookbackEuler(AbstractLookback):
    """Euler's method on the field looked at (1 - h)/2 steps earlier.

    Two evaluations of the field per step; fixed step sizes only. As an ODE solver of the
    BEA-corrected field it has order 1 in h with an error constant of third order in V. The parts of
    a state that do not look back take a step of the midpoint rule. Theory:
    docs/theory/look_back.md.

    Examples:
        The map y -> 0.8 y in ten steps, by steps of a half; Euler's method alone ends at 0.1216.

        >>> import diffrax, jax.numpy as jnp, rodflow
        >>> term = diffrax.ODETerm(lambda t, y, args: -0.2 * y)  # the increment of the map
        >>> solution = diffrax.diffeqsolve(term, rodflow.LookbackEuler(), 0, 10, 0.5, jnp.ones(()))
        >>> print(f"{solution.ys[0]:.4f} {0.8**10:.4f}")
        0.1088 0.1074
    """

    evaluations: ClassVar[int] = 2

    def init(
        self, terms: diffrax.AbstractTerm, t0: Time, t1: Time, y0: PyTree, args: PyTree
    ) -> None:
        return None

    def step(
        self,
        terms: diffrax.AbstractTerm,
        t0: Time,
        t1: Time,
        y0: PyTree,
        args: PyTree,
        solver_state: None,
        made_jump: bool | Bool[Array, ""],
    ) -> Step:
        del solver_state, made_jump
        h = terms.contr(t0, t1)
        a = (1 - h) / 2
        prefix = looks_back(terms)

        def stage(y: PyTree, at: tuple[Array, Array, Array]) -> tuple[PyTree, None]:
            t, *moves = at
            field = increment_of(terms, t, y, args)
            back, ahead = ((y0**ω + x * field**ω).ω for x in moves)
            return choose(prefix, back, ahead), None

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
    a state that moves from one place of a loop to the next is copied by XLA. Theory:
    docs/theory/look_back.md.

    Raises:
        ValueError: Parts of the flow's state obey an ordinary differential equation, which has no
            slopes of a map to look back along.

    Examples:
        The map y -> 0.8 y in ten steps, by steps of a half:

        >>> import diffrax, jax.numpy as jnp, rodflow
        >>> term = diffrax.ODETerm(lambda t, y, args: -0.2 * y)  # the increment of the map
        >>> solution = diffrax.diffeqsolve(term, rodflow.OneLegLookback(), 0, 10, 0.5, jnp.ones(()))
        >>> print(f"{solution.ys[0]:.4f} {0.8**10:.4f}")
        0.1076 0.1074
    """

    evaluations: ClassVar[int] = 1

    def init(
        self, terms: diffrax.AbstractTerm, t0: Time, t1: Time, y0: PyTree, args: PyTree
    ) -> tuple[PyTree, PyTree]:
        if not all(jax.tree.leaves(looks_back(terms))):
            raise ValueError(
                "OneLegLookback looks back at the whole of a state, but parts of this flow's obey "
                "an ordinary differential equation; use LookbackEuler or a Diffrax solver."
            )
        rest = jax.tree.map(jnp.zeros_like, y0)
        return rest, rest

    def step(
        self,
        terms: diffrax.AbstractTerm,
        t0: Time,
        t1: Time,
        y0: PyTree,
        args: PyTree,
        solver_state: tuple[PyTree, PyTree],
        made_jump: bool | Bool[Array, ""],
    ) -> Step:
        h = terms.contr(t0, t1)
        last, earlier = (
            jax.tree.map(lambda v: jnp.where(made_jump, 0, v), field) for field in solver_state
        )
        first, second = last**ω, last**ω - earlier**ω
        y = (y0**ω - (1 - h) * (first / 2 + second / 6)).ω
        field = increment_of(terms, t0 - (1 - h) / 2, y, args)
        y1 = (y0**ω + h * field**ω).ω
        return y1, None, dict(y0=y0, y1=y1), (field, last), RESULTS.successful
