"""Edge Flow: gradient flow between two points that straddle the valley, in its sharpest direction.

Marion 2026 (arXiv 2606.18080) keeps the leading eigenvector u of the Hessian and the amplitude x of
the oscillation along it. In units of optimizer steps, gradient descent becomes

    dw/dt = -lr/2 [grad L(w + x u) + grad L(w - x u)]
    du/dt = 2 lr [H - (u'Hu)] u
    dx/dt = (lr u'Hu - 2) x,         x >= 1e-5

The amplitude grows where the sharpness is above 2/lr and decays below; the floor under x stands for
what starts the oscillation anew. The loss is predicted as the mean over the two points.

*Published* is the flow of gradient descent. *Ours* is that of any chain that acts on each element
by itself. With r the response of the update to an alternating gradient (`rodflow.curvature`) and
S = u'Hu / (u'r^-1 u), 2 at the edge,

    dz/dt = (G(z + xi) + G(z - xi)) / 2,     du/dt = 2 [r H - S] u,     dx/dt = gamma (S - 2) x

where xi displaces the parameters by x u and the momenta by their response to that, and gamma tells
how fast a mode grows beyond the edge: with momentum b1 = .9, 19 times as fast as for gradient
descent. If a(rho) is the oscillation of the parameters under an alternating gradient that grows as
exp(rho t), a mode of S = 2 a(0) / a(rho) grows at the rate rho, so that 1/gamma = -2 a'(0) / a(0).
"""

from __future__ import annotations

from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from rodflow.curvature.response import oscillation
from rodflow.flows import _critical as critical
from rodflow.flows._points import even_and_odd
from rodflow.flows._seed import number
from rodflow.flows.flow import AbstractFlow
from rodflow.linalg import rows
from rodflow.maps.iteration import AbstractIteration, PhaseState
from rodflow.solvers import Integrator
from rodflow.term import Work


class EdgeState(NamedTuple):
    """The state of an Edge Flow.

    Attributes:
        z: The centre, a point of phase space.
        u: The direction, of the structure of the parameters.
        x: The amplitude along it, in parameter space.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> loss = lambda w: 1.05 * w[0] ** 2 + 0.25 * w[1] ** 2
        >>> iteration = rodflow.Iteration(loss, optax.sgd(1.0))
        >>> y = rodflow.EdgeFlow().init(iteration, iteration.init(jnp.array([0.1, 0.1])))
        >>> print(abs(y.u).round(2))  # the direction of the largest curvature
        [1. 0.]
    """

    z: PhaseState
    u: PyTree
    x: Float[Array, ""]


class EdgeFlow(AbstractFlow):
    """Edge Flow of an optimizer.

    Source: Marion 2026, arXiv 2606.18080; beyond gradient descent, ours. Theory:
    docs/theory/published.md.

    Args:
        floor: The least amplitude, in parameter space.
        corrected: Add the look-back (BEA) term to the field; the published flow has none.

    Examples:
        In the valley of `rodflow.track`, where the iterates come to alternate between +- 0.158:

        >>> import diffrax, jax.numpy as jnp, optax, rodflow
        >>> def valley(w):
        ...     walls = (2.05 + w[1]) * w[0] ** 2 / 2 - w[0] ** 4 / 4
        ...     return walls + (w[1] - 0.1) ** 2 / 20
        >>> iteration = rodflow.Iteration(valley, optax.sgd(1.0))
        >>> flow = rodflow.EdgeFlow()
        >>> y0 = flow.init(iteration, iteration.init(jnp.array([0.1, 0.0])))
        >>> end = diffrax.SaveAt(t1=True, fn=lambda t, y, args: flow.extent(y))
        >>> term = flow.term(iteration)
        >>> solution = diffrax.diffeqsolve(term, diffrax.Heun(), 0, 100, 0.25, y0, saveat=end)
        >>> print(f"{solution.ys[0]:.3f}")
        0.146
    """

    floor: Float[Array, ""] = eqx.field(
        converter=lambda floor: number("floor", floor), default=1e-5
    )
    corrected: bool = eqx.field(static=True, default=False, kw_only=True)

    def init(self, iteration: AbstractIteration, state: PhaseState) -> EdgeState:
        state = iteration.check(state)
        modes = critical.first_modes(iteration, state, 1)
        u = rows.pick(modes.displacements, 0)
        u = jax.tree.map(lambda leaf: leaf / optax.tree.norm(u), u)
        return EdgeState(state, u, self.floor.astype(modes.values.dtype))

    def increment(self, iteration: AbstractIteration, y: EdgeState) -> EdgeState:
        u = jax.tree.map(lambda leaf: leaf / optax.tree.norm(y.u), y.u)
        gradient, product = jax.jvp(jax.grad(iteration.loss), (y.z.params,), (u,))
        # The coming step uses the second moments that it leaves behind.
        after = jax.tree.map(jnp.add, y.z, iteration.respond(y.z, gradient))
        ones = jax.tree.map(jnp.ones_like, u)
        response, slope = jax.jvp(
            lambda growth: oscillation(iteration, after, ones, growth).params,
            (jnp.zeros_like(y.x),),
            (jnp.ones_like(y.x),),
        )
        # The alternating gradient under which the parameters oscillate by u.
        grads = jax.tree.map(lambda u, a: critical.ratio(u, a), u, response)
        weight = jax.tree.map(jnp.multiply, u, grads)
        sharpness = 2 * optax.tree.vdot(u, product) / optax.tree.vdot(u, grads)
        slowness = (
            -2
            * optax.tree.vdot(weight, jax.tree.map(critical.ratio, slope, response))
            / optax.tree.vdot(u, grads)
        )
        xi = oscillation(iteration, after, grads)._replace(params=u)
        floor = self.floor.astype(y.x.dtype)
        x = jnp.maximum(y.x, floor)
        even, _ = even_and_odd(
            iteration.increment, y.z, jax.tree.map(lambda leaf: x * leaf[None], xi)
        )
        turn = jax.tree.map(lambda u, a, p: 2 * (2 * a * p - sharpness * u), u, response, product)
        growth = (sharpness - 2) * x / slowness
        return EdgeState(even, turn, jnp.maximum(growth, floor - y.x))

    def phase(self, y: EdgeState) -> PhaseState:
        return y.z

    def predicted_loss(self, iteration: AbstractIteration, y: EdgeState) -> Float[Array, ""]:
        """Return the mean of the loss over the two points."""
        scale = y.x / optax.tree.norm(y.u)
        plus = jax.tree.map(lambda w, u: w + scale * u, y.z.params, y.u)
        minus = jax.tree.map(lambda w, u: w - scale * u, y.z.params, y.u)
        return (iteration.loss(plus) + iteration.loss(minus)) / 2

    def extent(self, y: EdgeState) -> Float[Array, ""]:
        """Return the amplitude."""
        return y.x

    def reach(self, y: EdgeState) -> Float[Array, ""]:
        return super().reach(y) + y.x

    def holding(self, y: EdgeState) -> Work:
        return Work(*jnp.array([0.0, 1.0, 0.0]))

    @property
    def gradients(self) -> int:
        return 2

    @property
    def integrator(self) -> Integrator:
        # The direction turns at rates up to 2 S, 4 at the edge.
        return Integrator(diffrax.Heun(), 0.25)
