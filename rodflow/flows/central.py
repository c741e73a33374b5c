"""The central flow: the optimizer averaged over its oscillation, which just holds the edge.

Cohen et al. 2025 (arXiv 2410.24206) average an optimizer over an oscillation of covariance Sigma in
the modes that stand at the edge of stability. Gradient descent becomes

    dw/dt = -lr [grad L + 1/2 grad <Sigma, H>]

and RMSProp the same with lr / (nu^1/2 + eps) for lr and d nu/dt proportional to grad L^2 + diag(H
Sigma H) - nu. Sigma = U X U' is not modelled but found: of all X >= 0 the one that keeps every
eigenvalue at or below the edge, and vanishes where it is below,

    X >= 0,        Y = 2 - M(next step) >= 0,        <X, Y> = 0,       M = r^1/2 H r^1/2

a semidefinite complementarity problem: to first order M(next step) = M + D M [G + 1/2 sum_ij X_ij
D^2 G[xi_i, xi_j]] is linear in X. The loss is predicted as L + <H, Sigma> / 2.

*Published* are gradient descent, scalar RMSProp and RMSProp. Here the flow of any chain follows by
program transformation, and for those three it is the published one, except that a second moment
feels the oscillation within the step as well (a relative difference of 1 - b2), and that the
default integrator adds the look-back term (`rodflow.solvers`). *Ours* is the extension to momentum
and to any other chain that acts on each element by itself, through the response r and the
oscillation of the momenta (`rodflow.flows._critical`); with momentum M(next step) is controlled
through the one step in which the oscillation enters the momentum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow._checks import check_count, check_number
from rodflow.curvature.response import linear_response
from rodflow.flows import _critical as critical
from rodflow.flows._averaged import AbstractAveragedFlow, moving
from rodflow.flows._critical import Modes
from rodflow.linalg import rows
from rodflow.linalg.complementarity import complementary
from rodflow.maps.iteration import AbstractIteration, PhaseState
from rodflow.solvers import Held, Integrator
from rodflow.term import Work


class CentralState(NamedTuple):
    """The state of a central flow.

    Attributes:
        z: The centre, a point of phase space.
        basis: The basis v of the leading modes, (k, ...) leaves.
        covariance: The covariance X in that basis.
        sharpness: The eigenvalues over 2, effective sharpnesses: 1 is the edge.
        scale: The root of the response at the start of the last step, like the parameters.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> loss = lambda w: 1.05 * w[0] ** 2 + 0.25 * w[1] ** 2  # curvatures 2.1 and 0.5
        >>> iteration = rodflow.Iteration(loss, optax.sgd(1.0))
        >>> y = rodflow.CentralFlow(modes=1).init(iteration, iteration.init(jnp.array([0.1, 0.1])))
        >>> y.z.params.shape, y.basis.shape, y.covariance.shape
        ((2,), (1, 2), (1, 1))
    """

    z: PhaseState
    basis: PyTree
    covariance: Float[Array, "k k"]
    sharpness: Float[Array, " k"]
    scale: PyTree


class _Averages(NamedTuple):
    """Averages for each pair (i, j) of modes, i <= j: D^3 L[u_i, u_j], D^2 G[xi_i, xi_j] / 2."""

    thirds: PyTree
    drives: PhaseState


class CentralFlow(AbstractAveragedFlow):
    """The central flow of an optimizer.

    Each evaluation of the field takes one gradient, k Hessian-vector products, and a (a + 1) / 2
    third derivatives for a modes near the edge; and, to find responses, many updates of the
    optimizer without a gradient. Source: Cohen et al. 2025, arXiv 2410.24206; beyond gradient
    descent and RMSProp, ours. Theory: docs/theory/published.md.

    Args:
        modes: The number of leading modes that are followed, k; fewer where there are fewer
            parameters.
        near: The effective sharpness above which a mode takes part in the complementarity problem.
        period: The optimizer steps within which a mode beyond the edge is brought back to it; the
            default integrator holds the oscillation for as long. 2 halves the cost of a chain
            without momentum; with momentum the oscillation would go on and off.

    Raises:
        ValueError: A number is out of range.

    Examples:
        Two modes, of which the first is beyond the edge:

        >>> import jax.numpy as jnp, optax, rodflow
        >>> loss = lambda w: 1.05 * w[0] ** 2 + 0.25 * w[1] ** 2  # curvatures 2.1 and 0.5
        >>> iteration = rodflow.Iteration(loss, optax.sgd(1.0))
        >>> flow = rodflow.CentralFlow(modes=2)
        >>> y = flow.init(iteration, iteration.init(jnp.array([0.1, 0.1])))
        >>> print(*(f"{value:.3f}" for value in y.sharpness))  # effective: 1 is the edge
        1.050 0.250
    """

    modes: int = eqx.field(static=True, default=5)
    near: float | Float[Array, ""] = 0.99
    period: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        check_count("modes", self.modes, 1)
        check_count("period", self.period, 1)
        check_number("near", self.near)
        if not isinstance(self.near, jax.Array) and not 0 < self.near < 1:
            raise ValueError(f"`near` is {self.near}; it must be between 0 and 1.")

    def init(self, iteration: AbstractIteration, state: PhaseState) -> CentralState:
        state = iteration.check(state)
        found = critical.first_modes(iteration, state, self.modes)
        nothing = jnp.zeros_like(found.rotation)
        return CentralState(state, found.vectors, nothing, found.values / 2, found.scale)

    def hold(
        self, iteration: AbstractIteration, y: CentralState
    ) -> Callable[[CentralState], CentralState]:
        modes = critical.leading(iteration, y.z, y.basis)
        count = jnp.sum(modes.values > 2 * self.near)
        averages = _averages(iteration, y.z, modes, count)
        covariance = self._covariance(iteration, modes, averages, count)
        first, second = critical.pairs(len(covariance)).T
        weights = jnp.where(first == second, 1, 2) * covariance[first, second]
        drive = jax.tree.map(
            lambda d: jnp.tensordot(weights, d, 1).astype(d.dtype), averages.drives
        )
        turn = modes.rotation
        basis = critical.next_basis(modes)
        found = basis, turn.T @ covariance @ turn, modes.values / 2, modes.scale
        present = y.basis, y.covariance, y.sharpness, y.scale
        # Reached when the period is over.
        rates = jax.tree.map(lambda new, old: (new - old) / self.period, found, present)
        return moving(iteration, drive, CentralState(drive, *rates))

    def _covariance(
        self, iteration: AbstractIteration, modes: Modes, averages: _Averages, count: Array
    ) -> Array:
        """Return X in the basis of the modes."""
        k = len(modes.values)
        everything = jax.tree.map(
            lambda g, d: jnp.concatenate([g[None], d]), modes.increment, averages.drives
        )
        drifts = jax.vmap(lambda dz: _drift(iteration, modes, averages.thirds, dz))(everything)
        near = jnp.arange(k) < count
        drifts = jnp.where(near[:, None] & near, drifts, 0)
        slack = jnp.diag(2 - modes.values) / self.period - drifts[0]
        operator = -jnp.moveaxis(drifts[1:][critical.pair_of(k)], (0, 1), (2, 3))
        return complementary(slack, operator)

    def holding(self, y: CentralState) -> Work:
        count = jnp.sum(y.sharpness > self.near)
        return Work(jnp.ones(()), jnp.asarray(float(len(y.sharpness))), count * (count + 1) / 2)

    @property
    def integrator(self) -> Integrator:
        return Integrator(Held(substeps=2 * self.period), float(self.period))


def _averages(iteration: AbstractIteration, z: PhaseState, modes: Modes, count: Array) -> _Averages:
    """Return what each pair of modes adds to the increment, per unit of X, and T of each."""
    k = len(modes.values)
    first, second = critical.pairs(k).T
    wanted = (jnp.asarray(first) < count) & (jnp.asarray(second) < count)

    def fill(p: Array, thirds: PyTree) -> PyTree:
        i, j = jnp.asarray(first)[p], jnp.asarray(second)[p]
        a, b = rows.pick(modes.displacements, i), rows.pick(modes.displacements, j)
        third = critical.third_derivative(iteration, z, a, b)
        return jax.tree.map(lambda t, new: t.at[p].set(new), thirds, third)

    empty = jax.tree.map(lambda w: jnp.zeros((len(first), *w.shape), w.dtype), z.params)
    thirds = jax.lax.fori_loop(0, count * (count + 1) // 2, fill, empty)
    moves = critical.phase_displacements(iteration, modes, modes.displacements)

    def average(i: Array, j: Array, third: PyTree, wanted: Array) -> PhaseState:
        a = rows.pick(moves, i), rows.pick(modes.products, i)
        b = rows.pick(moves, j), rows.pick(modes.products, j)
        change = critical.second_derivative(iteration, z, modes.grads, a, b, third)
        return jax.tree.map(lambda c: jnp.where(wanted, c / 2, 0), change)

    drives = jax.vmap(average)(jnp.asarray(first), jnp.asarray(second), thirds, wanted)
    return _Averages(thirds, drives)


def _drift(
    iteration: AbstractIteration, modes: Modes, thirds: PyTree, dz: PhaseState
) -> Float[Array, "k k"]:
    """Return the change of M in the basis of its modes, along `dz`."""
    _, change = jax.jvp(lambda after: linear_response(iteration, after), (modes.after,), (dz,))
    relative = jax.tree.map(critical.ratio, change, modes.response)
    bent = rows.along(thirds, dz.params)[critical.pair_of(len(modes.values))]
    scaled = rows.gram(modes.displacements, modes.products, relative)
    return bent + (scaled + scaled.T) / 2
