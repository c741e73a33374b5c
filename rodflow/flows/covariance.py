"""The covariance rod: the published rod flow, its second moment kept at low rank.

With G+- = G(zbar +- delta) at the two ends of the rod, the outer product Sigma = delta delta' stays
smooth while delta flips its sign every step (Regis & Chewi 2026, arXiv 2602.01480, 2605.06821):

    d zbar/dt  = A                                   A = (G+ + G-) / 2
    d Sigma/dt = (A A' + B B') / 2 - 2 Sigma         B = (G+ - G-) / 2

The first is the increment of a map, and the flow through its iterates looks back (the BEA term,
which the solver supplies); the second is published as an equation in continuous time, without. It
must be solved as one: looked back at like the first, a Sigma that decays by -2 Sigma would change
its sign in every half step. For rank r the landscape is sampled at
zbar +- sqrt(r) D_k with D D' = Sigma, the third-degree spherical-radial cubature of that
covariance: A is the mean of the even parts, B B' becomes sum_k B_k B_k' with the odd parts over
sqrt(r).

Sigma = Y C Y' with a basis Y, orthonormal in a metric W of phase space, and a small matrix C
follows the projection of d Sigma/dt on the tangent space of rank-r matrices (Koch & Lubich 2007,
SIAM J. Matrix Anal. Appl. 29, 434). With M = (A A' + sum_k B_k B_k') / 2 and Pi
the W-orthogonal projection on the span of Y,

    dC/dt = Y'W M W Y - 2 C + 2 floor I
    dY/dt = N (I + N'W N)^-1/2,    N = (I - Pi) M W Y (C + floor I)^-1

The inverse is the weak point of the projection: columns that have decayed would turn ever faster.
The floor, kappa^2 |A|^2 (and kappa^2 tr C in the inverse), keeps them alive, and the root bounds
the rate at which any of them turns to one radian per step, so that any rank is safe; slow turns are
those of the projection. The metric measures momentum in units of the parameters: a leaf of the
optimizer's state is scaled by how far a unit of it moves the parameters in one step.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow._checks import check_count
from rodflow.flows._points import even_and_odd, present
from rodflow.flows._seed import number
from rodflow.flows.rod import AbstractClosure
from rodflow.linalg import decompositions as linalg
from rodflow.linalg import rows
from rodflow.linalg.trees import normal_like
from rodflow.maps.iteration import AbstractIteration, PhaseState
from rodflow.solvers import LookbackEuler


class CovarianceRodState(NamedTuple):
    """The state of a covariance rod.

    Attributes:
        zbar: The centre, a point of phase space.
        basis: The basis Y, of (rank, ...) leaves; None where nothing oscillates.
        covariance: The matrix C.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> iteration = rodflow.Iteration(lambda w: jnp.sum(jnp.cosh(w)), rodflow.heavy_ball(0.1))
        >>> flow = rodflow.RodFlow(rodflow.CovarianceRod(rank=2))
        >>> y = flow.init(iteration, iteration.init(jnp.ones(3)))
        >>> y.zbar.params.shape, y.basis.params.shape, y.covariance.shape
        ((3,), (2, 3), (2, 2))
    """

    zbar: PhaseState
    basis: PhaseState
    covariance: Float[Array, "rank rank"]


class CovarianceRod(AbstractClosure):
    """The closure Sigma = Y C Y' of rank `rank`; rank 1 is the rod of the papers.

    Source: Regis & Chewi 2026, arXiv 2602.01480 and 2605.06821; ranks above 1 are ours. Theory:
    docs/theory/rod.md.

    Args:
        rank: The number of directions of the oscillation.
        seed: The seed kappa, a scalar without unit: the floor of C is kappa^2 times the squared
            length of the drift.
        solver: The default solver, which looks back at the centre alone.

    Raises:
        ValueError: The rank is below 1.

    Examples:
        In the valley of `rodflow.track`, where the iterates come to alternate between +- 0.158:

        >>> import diffrax, jax.numpy as jnp, optax, rodflow
        >>> def valley(w):
        ...     walls = (2.05 + w[1]) * w[0] ** 2 / 2 - w[0] ** 4 / 4
        ...     return walls + (w[1] - 0.1) ** 2 / 20
        >>> iteration = rodflow.Iteration(valley, optax.sgd(1.0))
        >>> flow = rodflow.RodFlow(rodflow.CovarianceRod(rank=1))
        >>> y0 = flow.init(iteration, iteration.init(jnp.array([0.1, 0.0])))
        >>> end = diffrax.SaveAt(t1=True, fn=lambda t, y, args: flow.extent(y))
        >>> term, solver = flow.term(iteration), rodflow.LookbackEuler()
        >>> solution = diffrax.diffeqsolve(term, solver, 0, 100, 0.5, y0, saveat=end)
        >>> print(f"{solution.ys[0]:.3f}")
        0.158
    """

    rank: int = eqx.field(static=True, default=1)
    seed: Float[Array, ""] = eqx.field(converter=lambda seed: number("seed", seed), default=1e-3)
    looks_back: ClassVar[PyTree[bool]] = CovarianceRodState._make((True, False, False))
    solver: diffrax.AbstractSolver = eqx.field(default=LookbackEuler(), kw_only=True)

    def __check_init__(self) -> None:
        check_count("rank", self.rank, 1)

    def init(
        self, iteration: AbstractIteration, state: PhaseState, offset: PhaseState
    ) -> CovarianceRodState:
        """Return half the coming step as the first rod; further directions are drawn at random."""
        size = sum(x.size for x in jax.tree.leaves(offset))
        if self.rank > size:
            raise ValueError(f"`rank` is {self.rank}; phase space has {size} oscillating numbers.")
        metric = _metric(iteration, state, offset)
        step = eqx.filter(iteration.increment(state), present(offset))
        half = jax.tree.map(lambda g: g[None] / 2, step)
        length = jnp.sqrt(rows.gram(half, half, metric)[0, 0])
        like = jax.tree.map(lambda x: jnp.stack([x] * self.rank), offset)
        basis = jax.tree.map(
            lambda x, h: x.at[0].set(jnp.where(length > 0, h[0] / length, x[0])),
            normal_like(jax.random.key(0), like),
            half,
        )
        basis = rows.orthonormal(basis, metric)
        first = rows.gram(half, basis, metric)
        return CovarianceRodState(state, basis, first.T @ first)

    def increment(self, iteration: AbstractIteration, y: CovarianceRodState) -> CovarianceRodState:
        metric = _metric(iteration, y.zbar, jax.tree.map(lambda x: x[0], y.basis))
        even, odd = even_and_odd(iteration.increment, y.zbar, self.offsets(y))
        a = rows.one(eqx.filter(even, present(y.basis)))
        sources = jax.tree.map(lambda a, b: jnp.concatenate([a, b / self.rank**0.5]), a, odd)
        gram = rows.gram(y.basis, y.basis, metric)
        overlap = rows.gram(sources, y.basis, metric)
        coordinates = linalg.solve(gram, overlap.T).T
        floor = self.seed**2 * rows.gram(a, a, metric)[0, 0]
        identity = jnp.eye(self.rank, dtype=gram.dtype)
        covariance = coordinates.T @ coordinates / 2 - 2 * y.covariance + 2 * floor * identity
        # (I - Pi) M W Y: what the sources have outside the span of Y, weighted by their overlap.
        outside = jax.tree.map(jnp.subtract, sources, rows.combine(coordinates, y.basis))
        least = floor + self.seed**2 * jnp.trace(y.covariance)
        turn = rows.inverse(y.covariance, least) @ overlap.T / 2
        normal = rows.combine(turn, outside)
        limit = rows.inverse_root(identity + rows.gram(normal, normal, metric), least=1.0)
        basis = rows.combine(limit, normal)
        # Numerical drift of Y'WY from the identity is drawn back, at constant Sigma.
        gauge = rows.inverse_root(gram) - identity
        basis = jax.tree.map(jnp.add, basis, rows.combine(gauge, y.basis))
        covariance = covariance - gauge @ y.covariance - y.covariance @ gauge
        return CovarianceRodState(even, basis, covariance)

    def offsets(self, y: CovarianceRodState) -> PhaseState:
        return rows.combine(self.rank**0.5 * rows.root(y.covariance), y.basis)

    def center(self, y: CovarianceRodState) -> PhaseState:
        return y.zbar

    @property
    def points(self) -> int:
        return 2 * self.rank


def _metric(iteration: AbstractIteration, state: PhaseState, like: PhaseState) -> PhaseState:
    """Return the squared scales of the leaves that oscillate, of the structure of `like`.

    They are 1 for parameters and (d update / d leaf)^2 for the optimizer's state.
    """
    moving, still = eqx.partition(state.opt_state, present(like.opt_state))
    zeros = jax.tree.map(jnp.zeros_like, state.params)

    def update(moving: PyTree) -> PyTree:
        memory = eqx.combine(moving, still)
        return iteration.respond(PhaseState(state.params, memory), zeros).params

    _, pull = jax.vjp(update, moving)
    (scale,) = pull(jax.tree.map(jnp.ones_like, state.params))
    ones = jax.tree.map(jnp.ones_like, state.params)
    return PhaseState(ones, jax.tree.map(jnp.square, scale))
