"""The stable flow, dz/dt = G(z): the usual small-step model, gradient flow for gradient descent.

It cannot oscillate, so it is wrong as soon as training reaches the edge of stability; it is the
baseline every other flow is measured against. Corrected by backward error analysis, dz/dt =
G(z - G(z)/2), it follows the iterates to second order in the step as long as they do not oscillate.
"""

from __future__ import annotations

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow.flows.flow import AbstractFlow
from rodflow.maps.iteration import AbstractIteration, PhaseState
from rodflow.solvers import Integrator


class StableFlow(AbstractFlow):
    """The flow dz/dt = G(z), whose state is a point of phase space. Theory: docs/theory/map.md.

    Solved to its true solution by default (an adaptive method): it becomes stiff once the sharpness
    has left the edge far behind, and a coarse solver would flatter or break the baseline.

    Args:
        corrected: Add the look-back (BEA) term, dz/dt = G(z - G(z)/2). Without it the flow is the
            usual model, and a plain Diffrax solver finds the solution of that one.

    Examples:
        On a parabola a step of gradient descent halves the parameter. The usual flow takes it to
        exp(-1/2) of it in the same time; with the look-back term it is closer to a half.

        >>> import diffrax, jax.numpy as jnp, optax, rodflow
        >>> iteration = rodflow.Iteration(lambda w: w**2 / 2, optax.sgd(0.5))
        >>> for flow in rodflow.StableFlow(), rodflow.StableFlow(corrected=True):
        ...     y0 = flow.init(iteration, iteration.init(jnp.array(1.0)))
        ...     solution = diffrax.diffeqsolve(flow.term(iteration), diffrax.Tsit5(), 0, 1, 0.1, y0)
        ...     print(f"{solution.ys.params[-1]:.4f}")
        0.6065
        0.5353
    """

    corrected: bool = eqx.field(static=True, default=False, kw_only=True)

    def init(self, iteration: AbstractIteration, state: PhaseState) -> PhaseState:
        state = iteration.check(state)
        return state

    def increment(self, iteration: AbstractIteration, y: PhaseState) -> PhaseState:
        return iteration.increment(y)

    def phase(self, y: PhaseState) -> PhaseState:
        return y

    def predicted_loss(self, iteration: AbstractIteration, y: PhaseState) -> Float[Array, ""]:
        """Return the loss at the centre."""
        return iteration.loss(y.params)

    def extent(self, y: PhaseState) -> Float[Array, ""]:
        """Return 0.0: the flow has no rod."""
        return jnp.zeros(())

    @property
    def gradients(self) -> int:
        return 1

    @property
    def integrator(self) -> Integrator:
        # Nearly relative: second moments are squares of small numbers, and must stay positive.
        # No step is shorter than dtmin: where a gate opens, momentum starts from exactly zero.
        controller = diffrax.PIDController(rtol=1e-3, atol=1e-12, norm=_worst_leaf, dtmin=1e-3)
        return Integrator(diffrax.Tsit5(), None, controller)


def _worst_leaf(error: PyTree[Array]) -> Float[Array, ""]:
    """Return the largest root mean square over the leaves.

    Over all numbers at once, the error of a scalar second moment would drown in the weights'.
    """
    squares = [jnp.mean(jnp.square(leaf)) for leaf in jax.tree.leaves(error) if leaf.size]
    return jnp.sqrt(jnp.max(jnp.stack([s.astype(float) for s in squares])))
