"""The free-energy flow: gradient descent averaged over the covariance of its own linear dynamics.

Chodron de Courcel 2026 (arXiv 2606.05326) closes the mean of gradient descent with the covariance
that its linearization gives the deviations from it. In units of optimizer steps, for deviations of
covariance S,

    d theta/dt = -lr grad E - lr/2 grad <H, S>
    dS/dt      = -lr (S H + H S) + lr^2 H S H

(an S in units of lr gives the second term of the centre a factor lr more). An eigenvector of H
with eigenvalue s changes its variance at the rate lr s (lr s - 2), which is positive beyond the
edge, 2/lr. With many parameters S is kept on the leading r modes, S = U X U', and in terms of the
response r of `rodflow.flows._critical`, where u = r^1/2 v and M v = lambda v,

    d z/dt = G(z) + 1/2 sum_ij X_ij D^2 G[xi_i, xi_j]
    dX/dt  = -(X M + M X) + M X M + 2 kappa^2 |A|^2

*Published* is the flow of gradient descent, for which M = lr H. The floor is ours, as for the
covariance rod (`rodflow.CovarianceRod`): kappa times the drift A = G of the parameters is what
an oscillation starts from. *Ours* is any other chain without momentum that acts on each
element by itself, such as RMSProp; the variance of a mode with momentum does not grow at this rate,
and a chain that has it is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow._checks import check_count
from rodflow.flows import _critical as critical
from rodflow.flows._averaged import AbstractAveragedFlow, moving
from rodflow.flows._seed import check_seed, optional_array, rounding_seed
from rodflow.linalg import rows
from rodflow.maps.iteration import AbstractIteration, PhaseState
from rodflow.maps.parity import Parity
from rodflow.solvers import Held, Integrator
from rodflow.term import Work


class FreeEnergyState(NamedTuple):
    """The state of a free-energy flow.

    Attributes:
        z: The centre, a point of phase space.
        basis: The basis v of the leading modes, (r, ...) leaves.
        covariance: The covariance X in that basis.
        scale: The root of the response at the start of the last step, like the parameters.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> loss = lambda w: 1.05 * w[0] ** 2 + 0.25 * w[1] ** 2
        >>> iteration = rodflow.Iteration(loss, optax.sgd(1.0))
        >>> flow = rodflow.FreeEnergyFlow(rank=1)
        >>> y = flow.init(iteration, iteration.init(jnp.array([0.1, 0.1])))
        >>> y.z.params.shape, y.basis.shape, y.covariance.shape
        ((2,), (1, 2), (1, 1))
    """

    z: PhaseState
    basis: PyTree
    covariance: Float[Array, "r r"]
    scale: PyTree


class FreeEnergyFlow(AbstractAveragedFlow):
    """The free-energy flow of an optimizer without momentum.

    Source: Chodron de Courcel 2026, arXiv 2606.05326; beyond gradient descent, ours. Theory:
    docs/theory/published.md.

    Args:
        rank: The number of leading modes, r; fewer where there are fewer parameters.
        seed: The seed kappa, of the floor of the covariance, a scalar without unit; None for 2^13
            rounding units of the parameters.

    Raises:
        ValueError: The rank is below 1 or the seed negative, or, in `init`, the chain has momentum:
            a part of its state flips with the gradient.

    Examples:
        In the valley of `rodflow.track`, where the iterates come to alternate between +- 0.158:

        >>> import diffrax, jax.numpy as jnp, optax, rodflow
        >>> def valley(w):
        ...     walls = (2.05 + w[1]) * w[0] ** 2 / 2 - w[0] ** 4 / 4
        ...     return walls + (w[1] - 0.1) ** 2 / 20
        >>> iteration = rodflow.Iteration(valley, optax.sgd(1.0))
        >>> flow = rodflow.FreeEnergyFlow(rank=1)
        >>> y0 = flow.init(iteration, iteration.init(jnp.array([0.1, 0.0])))
        >>> end = diffrax.SaveAt(t1=True, fn=lambda t, y, args: flow.extent(y))
        >>> term = flow.term(iteration)
        >>> solution = diffrax.diffeqsolve(term, rodflow.Held(), 0, 100, 1.0, y0, saveat=end)
        >>> print(f"{solution.ys[0]:.3f}")
        0.194
    """

    rank: int = eqx.field(static=True, default=4)
    seed: Float[Array, ""] | None = eqx.field(converter=optional_array, default=None)

    def __check_init__(self) -> None:
        check_count("rank", self.rank, 1)
        check_seed(self.seed)

    def init(self, iteration: AbstractIteration, state: PhaseState) -> FreeEnergyState:
        state = iteration.check(state)
        parity = iteration.parity(state.params).opt_state
        remembered = jax.tree_util.tree_leaves_with_path(parity)
        for path, parity in remembered:
            if parity is Parity.OSCILLATING:
                raise ValueError(
                    f"opt_state{jax.tree_util.keystr(path)} is momentum; FreeEnergyFlow is of "
                    "chains without, since the variance of a mode with it grows at another rate."
                )
        found = critical.first_modes(iteration, state, self.rank)
        return FreeEnergyState(state, found.vectors, jnp.zeros_like(found.rotation), found.scale)

    def hold(
        self, iteration: AbstractIteration, y: FreeEnergyState
    ) -> Callable[[FreeEnergyState], FreeEnergyState]:
        modes = critical.leading(iteration, y.z, y.basis)
        turn = modes.rotation
        amplitudes = rows.root(turn @ y.covariance @ turn.T)
        moves = rows.combine(amplitudes, modes.displacements)
        products = rows.combine(amplitudes, modes.products)
        displacements = critical.phase_displacements(iteration, modes, moves)

        def average(move: PyTree, displacement: PhaseState, product: PyTree) -> PhaseState:
            third = critical.third_derivative(iteration, y.z, move, move)
            a = displacement, product
            return critical.second_derivative(iteration, y.z, modes.grads, a, a, third)

        drives = jax.vmap(average)(moves, displacements, products)
        drive = jax.tree.map(lambda d: jnp.sum(d, axis=0) / 2, drives)
        # The drift of the parameters in the metric of the modes, of which a unit moves them by u.
        drift = jax.tree.map(
            lambda g, r: critical.ratio(g**2, r), modes.increment.params, modes.response
        )
        seed = rounding_seed(y.z.params) if self.seed is None else self.seed
        floor = seed**2 * jax.tree.reduce(jnp.add, jax.tree.map(jnp.sum, drift))
        m = turn.T @ jnp.diag(modes.values) @ turn
        x = y.covariance
        change = -(x @ m + m @ x) + m @ x @ m + 2 * floor * jnp.eye(len(m), dtype=m.dtype)
        basis = jax.tree.map(jnp.subtract, critical.next_basis(modes), y.basis)
        scale = jax.tree.map(jnp.subtract, modes.scale, y.scale)
        return moving(iteration, drive, FreeEnergyState(drive, basis, change, scale))

    def holding(self, y: FreeEnergyState) -> Work:
        rank = float(len(y.covariance))
        return Work(*jnp.array([1.0, rank, rank]))

    @property
    def integrator(self) -> Integrator:
        return Integrator(Held(), 1.0)
