"""Rod flow, and the signed rod: the alternation of the iterates factored out exactly.

Two consecutive iterates are the ends of a rod (Regis & Chewi 2026, arXiv 2602.01480, 2605.06821).
Write z[t] = c[t] + (-1)^t x[t]. Substituting and separating the two signs gives, exactly,

    c[t+1] = c[t] + A(c, x)             A = (G(c+x) + G(c-x)) / 2
    x[t+1] = -x[t] - B(c, x)            B = (G(c+x) - G(c-x)) / 2

so that c and x both move slowly at the edge of stability. The flow of the signed rod has
the field

    V(c, x) = ( A,  -2 x - B + kappa A )

with two gradients, no eigenvector and no metric, for any map whatsoever. x
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
from math import comb
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from rodflow._checks import check_count, shown
from rodflow.flows._points import even_and_odd, like, sample_points
from rodflow.flows._seed import check_seed, optional_array, rounding_seed
from rodflow.flows.flow import AbstractFlow
from rodflow.maps.iteration import AbstractIteration, PhaseState
from rodflow.maps.parity import Parity
from rodflow.solvers import Integrator, OneLegLookback, check_solver


class AbstractClosure(eqx.Module):
    """A representation of the oscillation about the centre of a rod flow.

    Attributes:
        solver: The solver that the flow takes by default, two steps for each of the optimizer.
        looks_back: A prefix of the rod's state, True where the field is the increment of a map.

    Examples:
        >>> import rodflow
        >>> [closure.points for closure in (rodflow.SignedRod(), rodflow.CovarianceRod(rank=3))]
        [2, 6]
    """

    solver: eqx.AbstractVar[diffrax.AbstractSolver]
    looks_back: ClassVar[PyTree[bool]] = True

    @abc.abstractmethod
    def init(self, iteration: AbstractIteration, state: PhaseState, offset: PhaseState) -> Any:
        """Return the state of the rod at `state`.

        Args:
            iteration: The map.
            state: A point of phase space.
            offset: Zeros of the structure of `state`, with None on leaves without a rod.
        """

    @abc.abstractmethod
    def increment(self, iteration: AbstractIteration, y: Any) -> Any:
        """Return the field of the rod, per optimizer step."""

    @abc.abstractmethod
    def offsets(self, y: Any) -> PhaseState:
        """Return the sample points relative to the centre: (points, ...) on each leaf.

        The landscape is sampled at the centre plus and minus each of them.
        """

    @abc.abstractmethod
    def center(self, y: Any) -> PhaseState:
        """Return the centre of the rod in phase space."""

    @property
    @abc.abstractmethod
    def points(self) -> int:
        """The number of sample points."""


class SignedRodState(NamedTuple):
    """The state of a signed rod.

    Attributes:
        c: The centre, a point of phase space.
        x: The half-extent, with None on the leaves that do not oscillate.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> iteration = rodflow.Iteration(lambda w: jnp.sum(jnp.cosh(w)), optax.adam(0.1))
        >>> y = rodflow.RodFlow().init(iteration, iteration.init(jnp.ones(3)))
        >>> adam = y.x.opt_state[0]  # the first moment oscillates, the second does not
        >>> adam.mu.shape, adam.nu is None
        ((3,), True)
    """

    c: PhaseState
    x: PhaseState


class SignedRod(AbstractClosure):
    """The closure z[t] = c[t] + (-1)^t x[t], with x seeded by kappa times the drift.

    Theory: docs/theory/signed_rod.md.

    Args:
        seed: The seed kappa, a scalar without unit; None for 2^13 rounding units of the parameters,
            1e-3 in single precision.
        lookahead: The number of steps, of one gradient each, from whose iterates the oscillation at
            the start is taken. 0 starts from x = 0.
        solver: The default solver; `OneLegLookback` keeps the oscillations that momentum sustains,
            `LookbackEuler` damps them, for twice the gradients.

    Raises:
        ValueError: The number of steps or the seed is negative.

    Examples:
        A run that alternates is split into its centre and half of its swing at the start:

        >>> import jax.numpy as jnp, optax, rodflow
        >>> iteration = rodflow.Iteration(lambda w: jnp.sum(w**2) / 2, optax.sgd(2.0))
        >>> flow = rodflow.RodFlow(rodflow.SignedRod(seed=0.0))
        >>> y = flow.init(iteration, iteration.init(jnp.array([3.0, 4.0])))
        >>> print(y.c.params, y.x.params, flow.extent(y))
        [0. 0.] [3. 4.] 5.0
    """

    seed: Float[Array, ""] | None = eqx.field(converter=optional_array, default=None)
    lookahead: int = eqx.field(static=True, default=4)
    solver: diffrax.AbstractSolver = eqx.field(default=OneLegLookback(), kw_only=True)

    def __check_init__(self) -> None:
        check_count("lookahead", self.lookahead, 0)
        check_seed(self.seed)
        check_solver("solver", self.solver)

    def init(
        self, iteration: AbstractIteration, state: PhaseState, offset: PhaseState
    ) -> SignedRodState:
        if self.lookahead == 0:
            return SignedRodState(state, offset)
        size = self.lookahead
        weights = [(-1) ** n * comb(size, n) / 2**size for n in range(size + 1)]

        def add(x: PhaseState, z: PhaseState, weight: Array | float) -> PhaseState:
            return jax.tree.map(lambda x, z: x + jnp.asarray(weight, x.dtype) * z, x, like(z, x))

        def ahead(carry: tuple[PhaseState, PhaseState], weight: Array) -> tuple[Any, None]:
            x, z = carry
            return (add(x, z, weight), iteration.step(z)), None

        # A loop, so that a step is compiled once.
        (x, z), _ = jax.lax.scan(ahead, (offset, state), jnp.asarray(weights[:-1]))
        x = add(x, z, weights[-1])
        c = jax.tree.map(jnp.subtract, like(state, x), x)
        return SignedRodState(eqx.combine(c, state), x)

    def increment(self, iteration: AbstractIteration, y: SignedRodState) -> SignedRodState:
        even, odd = even_and_odd(iteration.increment, y.c, self.offsets(y))
        return self.turned(y, even, jax.tree.map(lambda b: b[0], odd))

    def turned(self, y: SignedRodState, even: PhaseState, odd: PhaseState) -> SignedRodState:
        """Return the field (A, -2 x - B + kappa A) from the even part A and the odd part B of G."""
        seed = rounding_seed(y.c.params) if self.seed is None else self.seed
        x = jax.tree.map(
            lambda x, a, b: -2 * x - b + jnp.asarray(seed, x.dtype) * a, y.x, like(even, y.x), odd
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

    Unless told otherwise `track` takes two steps of the closure's `solver` for each of the
    optimizer. Source: Regis & Chewi 2026, arXiv 2605.06821; the signed rod is ours. Theory:
    docs/theory/rod.md and docs/theory/signed_rod.md.

    Args:
        closure: The representation of the oscillation, `SignedRod` or `CovarianceRod`.

    Raises:
        ValueError: `closure` is not an instance of a closure.

    Examples:
        A valley of sharpness 2.1 at learning rate 1 is beyond the edge, 2; the iterates come to
        alternate between plus and minus the root of 0.1:

        >>> import diffrax, jax, jax.numpy as jnp, optax, rodflow
        >>> iteration = rodflow.Iteration(lambda w: 2.1 * w**2 / 2 - w**4 / 4, optax.sgd(1.0))
        >>> flow = rodflow.RodFlow()
        >>> y0 = flow.init(iteration, iteration.init(jnp.array(0.01)))
        >>> solver = rodflow.LookbackEuler()
        >>> solution = diffrax.diffeqsolve(flow.term(iteration), solver, 0, 200, 0.5, y0)
        >>> y1 = jax.tree.map(lambda leaf: leaf[-1], solution.ys)
        >>> print(f"{flow.extent(y1):.3f}")
        0.316
    """

    closure: AbstractClosure = SignedRod()
    corrected: ClassVar[bool] = True

    def __check_init__(self) -> None:
        if not isinstance(self.closure, AbstractClosure):
            raise ValueError(
                f"`closure` is {shown(self.closure)}; it must be a closure, as "
                "rodflow.SignedRod() is."
            )

    def init(self, iteration: AbstractIteration, state: PhaseState) -> Any:
        state = iteration.check(state)
        oscillates = jax.tree.map(lambda p: p is Parity.OSCILLATING, iteration.parity(state.params))
        offset = jax.tree.map(jnp.zeros_like, eqx.filter(state, oscillates))
        return self.closure.init(iteration, state, offset)

    def increment(self, iteration: AbstractIteration, y: Any) -> Any:
        return self.closure.increment(iteration, y)

    def phase(self, y: Any) -> PhaseState:
        return self.closure.center(y)

    def predicted_loss(self, iteration: AbstractIteration, y: Any) -> Float[Array, ""]:
        """Return the mean of the loss over the sample points: the two ends of the rod."""
        points, _ = sample_points(self.closure.center(y), self.closure.offsets(y))
        return jnp.mean(jax.vmap(iteration.loss)(points.params))

    def extent(self, y: Any) -> Float[Array, ""]:
        """Return the root mean square distance of the sample points from the centre."""
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
        return Integrator(self.closure.solver, 0.5)
