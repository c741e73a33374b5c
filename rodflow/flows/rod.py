"""Rod flow, and the signed rod: the alternation of the iterates factored out exactly.

Two consecutive iterates are the ends of a rod (Regis & Chewi 2026, arXiv 2602.01480, 2605.06821).
Write z[t] = c[t] + (-1)^t x[t]. Substituting and separating the two signs gives, exactly,

    c[t+1] = c[t] + A(c, x)             A = (G(c+x) + G(c-x)) / 2
    x[t+1] = -x[t] - B(c, x)            B = (G(c+x) - G(c-x)) / 2

so that c and x both move slowly at the edge of stability. The flow of the signed rod has
the field

    V(c, x) = ( A,  -2 x - B + kappa A )

with two gradients, no eigenvector and no metric, for any map whatsoever (MATH.md section 4). x
lives on the leaves of phase space that oscillate; second moments and clocks have none.

x = 0 is invariant without the seed kappa, which stands for the rounding errors from which the
oscillation of a real run starts anew. It is in units of rounding, because a run in double precision
leaves the edge later than one in single precision. And a run that oscillates already is split at
the start: the alternating part of its next iterates is x, the fourth difference

    x = (z[0] - 4 z[1] + 6 z[2] - 4 z[3] + z[4]) / 16,        c = z[0] - x

for four steps ahead, which a smooth motion leaves at its fourth derivative.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from math import comb
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from rodflow.flows.flow import CORRECTED, AbstractFlow
from rodflow.maps.iteration import Iteration, PhaseState
from rodflow.maps.parity import Parity
from rodflow.solvers import Integrator, OneLegLookback


def optional_array(value: Any) -> Array | None:
    """An array, or None as it is."""
    return None if value is None else jnp.asarray(value)


class AbstractClosure(eqx.Module):
    """How a rod flow represents the oscillation about its centre, and what solves it by default."""

    solver: eqx.AbstractVar[diffrax.AbstractSolver]
    looks_back: ClassVar[PyTree[bool]] = True

    @abc.abstractmethod
    def init(self, iteration: Iteration, state: PhaseState, offset: PhaseState) -> Any:
        """The state of the rod at `state`; `offset` is zero, with None on leaves without a rod."""

    @abc.abstractmethod
    def increment(self, iteration: Iteration, y: Any) -> Any:
        """The field of the rod, per optimizer step."""

    @abc.abstractmethod
    def offsets(self, y: Any) -> PhaseState:
        """Where the landscape is sampled, relative to the centre: (points, ...) on each leaf."""

    @abc.abstractmethod
    def center(self, y: Any) -> PhaseState:
        """The centre of the rod in phase space."""

    @property
    @abc.abstractmethod
    def points(self) -> int:
        """The number of sample points."""


class SignedRodState(NamedTuple):
    """Centre c, and half-extent x with None on the leaves that do not oscillate."""

    c: PhaseState
    x: PhaseState


class SignedRod(AbstractClosure):
    """z[t] = c[t] + (-1)^t x[t], with x seeded by kappa times the drift.

    Arguments:

    - `seed`: kappa; None for 2^13 rounding units of the parameters, 1e-3 in single precision.
    - `lookahead`: the number of steps, of one gradient each, from whose iterates the oscillation at
        the start is taken. 0 starts from x = 0.
    - `solver`: `OneLegLookback` keeps what momentum leaves of an oscillation; `LookbackEuler`
        damps it, for twice the gradients.

    **Raises** `ValueError` for a negative number of steps. Source: MATH.md section 4.
    """

    seed: Float[Array, ""] | None = eqx.field(converter=optional_array, default=None)
    lookahead: int = 4
    solver: diffrax.AbstractSolver = eqx.field(default=OneLegLookback(), kw_only=True)

    def __check_init__(self) -> None:
        if self.lookahead < 0:
            raise ValueError(f"`lookahead` is {self.lookahead}; it must be at least 0.")

    def init(self, iteration: Iteration, state: PhaseState, offset: PhaseState) -> SignedRodState:
        if self.lookahead == 0:
            return SignedRodState(state, offset)
        size = self.lookahead
        weights = [(-1) ** n * comb(size, n) / 2**size for n in range(size + 1)]

        def add(x: PhaseState, z: PhaseState, weight: Array | float) -> PhaseState:
            return jax.tree.map(lambda x, z: x + jnp.asarray(weight, x.dtype) * z, x, _like(z, x))

        def ahead(carry: tuple[PhaseState, PhaseState], weight: Array) -> tuple[Any, None]:
            x, z = carry
            return (add(x, z, weight), iteration.step(z)), None

        # A loop, so that a step is compiled once.
        (x, z), _ = jax.lax.scan(ahead, (offset, state), jnp.asarray(weights[:-1]))
        x = add(x, z, weights[-1])
        c = jax.tree.map(jnp.subtract, _like(state, x), x)
        return SignedRodState(eqx.combine(c, state), x)

    def increment(self, iteration: Iteration, y: SignedRodState) -> SignedRodState:
        even, odd = even_and_odd(iteration.increment, y.c, self.offsets(y))
        seed = rounding_seed(y.c.params) if self.seed is None else self.seed
        x = jax.tree.map(
            lambda x, a, b: -2 * x - b[0] + jnp.asarray(seed, x.dtype) * a,
            y.x,
            _like(even, y.x),
            odd,
        )
        return SignedRodState(even, x)

    def offsets(self, y: SignedRodState) -> PhaseState:
        return jax.tree.map(lambda x: x[None], y.x)

    def center(self, y: SignedRodState) -> PhaseState:
        return y.c

    @property
    def points(self) -> int:
        return 2


class RodFlow(AbstractFlow):
    """The rod flow of an optimizer.

    Arguments:

    - `iteration`: the optimizer and its loss.
    - `closure`: how the oscillation is represented, `SignedRod` or `CovarianceRod`.
    - `corrected`: add the look-back (BEA) term to the field, for solvers that do not look back.

    Unless told otherwise `track` takes two steps of the closure's `solver` for each of the
    optimizer, or of Heun's method if `corrected`.

    Source: MATH.md sections 3 to 6; Regis & Chewi 2026, arXiv 2605.06821.
    """

    iteration: Iteration
    closure: AbstractClosure = SignedRod()
    corrected: bool = eqx.field(default=False, kw_only=True)

    def init(self, state: PhaseState) -> Any:
        oscillates = jax.tree.map(lambda p: p is Parity.OSCILLATING, self.iteration.parity)
        offset = jax.tree.map(jnp.zeros_like, eqx.filter(state, oscillates))
        return self.closure.init(self.iteration, state, offset)

    def increment(self, y: Any) -> Any:
        return self.closure.increment(self.iteration, y)

    def phase(self, y: Any) -> PhaseState:
        return self.closure.center(y)

    def predicted_loss(self, y: Any) -> Float[Array, ""]:
        """The mean of the loss over the sample points: the two ends of the rod."""
        points, _ = _spread(self.closure.center(y), self.closure.offsets(y))
        return jnp.mean(jax.vmap(self.iteration.loss)(points.params))

    def extent(self, y: Any) -> Float[Array, ""]:
        """The root mean square distance of the sample points from the centre."""
        offsets = self.closure.offsets(y).params
        squares = jax.tree.map(lambda x: jnp.sum(jnp.square(jnp.abs(x))) / x.shape[0], offsets)
        return jnp.sqrt(optax.tree.sum(squares))

    def reach(self, y: Any) -> Float[Array, ""]:
        return super().reach(y) + self.extent(y)

    @property
    def gradients(self) -> int:
        return self.closure.points

    @property
    def looks_back(self) -> PyTree[bool]:
        return self.closure.looks_back

    @property
    def integrator(self) -> Integrator:
        return CORRECTED if self.corrected else Integrator(self.closure.solver, 0.5)


def present(tree: PyTree) -> PyTree[bool]:
    """Where `tree` has a leaf: True, and False where it has None."""
    return jax.tree.map(lambda x: x is not None, tree, is_leaf=lambda x: x is None)


def rounding_seed(params: PyTree) -> float:
    """2^13 rounding units of the coarsest dtype of `params`, and at most 1: the drift itself."""
    return min(2.0**13 * max(float(jnp.finfo(x.dtype).eps) for x in jax.tree.leaves(params)), 1.0)


def _like(tree: PhaseState, offset: PhaseState) -> PhaseState:
    """The leaves of `tree` where `offset` has any."""
    return eqx.filter(tree, present(offset))


def _spread(center: PhaseState, offsets: PhaseState) -> tuple[PhaseState, PhaseState]:
    """The oscillating leaves at center +- offsets, stacked, and the remaining leaves."""
    moving, still = eqx.partition(center, present(offsets))
    points = jax.tree.map(lambda c, d: jnp.concatenate([c + d, c - d]), moving, offsets)
    return points, still


def even_and_odd(
    increment: Callable[[PhaseState], PhaseState], center: PhaseState, offsets: PhaseState
) -> tuple[PhaseState, PhaseState]:
    """The even and odd parts of `increment` about `center`, along k `offsets`.

    The even part is averaged over the offsets; the odd parts have shape (k, ...), on the leaves
    that oscillate. One batched evaluation at all 2 k points.
    """
    points, still = _spread(center, offsets)
    values = jax.vmap(lambda point: increment(eqx.combine(point, still)))(points)
    even = jax.tree.map(lambda g: jnp.mean(g, axis=0), values)

    def odd_part(g: Array) -> Array:
        plus, minus = jnp.split(g, 2)
        return (plus - minus) / 2

    return even, jax.tree.map(odd_part, _like(values, offsets))
