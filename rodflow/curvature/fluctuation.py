r"""Fluctuation meter: the effective sharpness, read off the fluctuations that minibatches cause.

In the metric of the chain, y = r^-1/2 w with r its response to an alternating gradient, a mode of
curvature k is at the edge where k = 2. The gradient of a batch there is k y + n, with noise n that
is independent of all steps before. Regress it on the last step s[t-1] = y[t] - y[t-1]: since a
stationary y is as often on one side as on the other, E[y[t] s[t-1]] = E[s^2] / 2 and

    E[g[t] s[t-1]] / E[s[t-1]^2] = k / 2 = the effective sharpness of the mode,

for every linear chain, those with Nesterov momentum included. For SGD it is minus the lag-one
autocorrelation of the updates; for SGD and EMA momentum it is also the share of a mode's variance
that alternates, (1 - rho_1) / 2 with rho_1 the lag-one autocorrelation of its parameters, which
for Nesterov is another function of k. No Hessian, no second pass and no data are needed.

Both series are taken about exponential means of the same short memory m. A common filter leaves
the relation between them as it is, and drift below the rate 1/m does not count. It biases a mode
that relaxes more slowly than that: with m = 5, plain SGD reads .15 at .10, .27 at .25, .51 at .50;
with momentum .9, .105 at .10.

The directions are found by the same numbers. The matrix E[g[t] s[t-1]'] = H cov(s) / 2 applied to
the k directions V is a running mean of g[t] (V's[t-1])', so that subspace iteration takes k
multiplications by n numbers a step and no product with H. V is renewed every few steps only: a
direction that has just learned a gradient finds it again in the steps of a chain with momentum,
which would count as curvature. On V the meter is the top eigenvalue of the symmetric part of the
regression matrix D^-1/2 E[(V'g) (V's)'] D^-1/2, D = E[(V's) (V's)'].

With v the unit vector of the leading mode and v_b its part in a layer b, a convex quadratic has
r^1/2 H r^1/2 >= k v v', so that k |v_b|^2 / 2 is a lower bound of the effective sharpness of the
layer with all others held, exact where one mode dominates. These bounds add up to k / 2. (The
regression of a layer's own gradient on its own step is no such number: a mode moves all layers at
once, and reads k / 2 in each.)

All of this is ours. It rests on the response of a chain being linear, and on batches that are drawn
independently: without replacement the noise of a step is anticorrelated with that before.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow._checks import check_count
from rodflow.curvature._parts import By, parts_of
from rodflow.linalg import rows

_FLOOR = 1e-6  # of eigenvalues of k by k matrices, relative to the largest


class FluctuationState(NamedTuple):
    """State of a fluctuation meter.

    Attributes:
        steps: The number of steps seen.
        mean_updates: Exponential mean of the updates, of the structure of the parameters.
        mean_grads: Exponential mean of the gradients.
        products: The running mean of g[t] (V's[t-1])', with a leading axis of k.
        directions: The directions V, orthonormal, with a leading axis of k.
        last: V's of the last step.
        cross: The running mean of (V'g[t]) (V's[t-1])'.
        spread: The running mean of (V's[t-1]) (V's[t-1])'.
        reading: The effective sharpnesses along V at its last renewal, in descending order; NaN
            until then.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> state = rodflow.FluctuationMeter(vectors=2).init(jnp.zeros(3))
        >>> state.directions.shape, state.reading
        ((2, 3), Array([nan, nan], dtype=float32))
    """

    steps: Array
    mean_updates: PyTree[Array]
    mean_grads: PyTree[Array]
    products: PyTree[Array]
    directions: PyTree[Array]
    last: Float[Array, " k"]
    cross: Float[Array, "k k"]
    spread: Float[Array, "k k"]
    reading: Float[Array, " k"]


class FluctuationMeter(eqx.Module):
    """Effective sharpness by the fluctuations of minibatch training, as a stream.

    Two matrix products of k by n a step, and (2 k + 2) n numbers of state, in single precision.
    Theory: docs/theory/meters.md.

    Attributes:
        vectors: The number of directions, k. The reading is the largest along any direction within
            their span.
        memory: Steps of the means that are taken off; drift slower than this does not count.
        window: Steps of the averages. The standard error of the reading is about
            sqrt((1 - c) / (2 window)) for SGD at an effective sharpness c, and smaller by
            sqrt((1 + b) / (1 - b)) with momentum b.
        renewal: Steps after which directions and readings are renewed.

    Raises:
        ValueError: One of them is below 1.

    Examples:
        SGD on one mode of curvature 1.2 with noisy gradients, whose edge is at 2:

        >>> import jax, jax.numpy as jnp, rodflow
        >>> meter = rodflow.FluctuationMeter(vectors=1, window=1000)
        >>> def step(carry, noise):
        ...     w, state = carry
        ...     g = 1.2 * w + noise
        ...     return (w - g, meter.update(state, g, -g, jnp.ones(1))), None
        >>> noise = jax.random.normal(jax.random.key(0), (4000, 1))
        >>> start = jnp.zeros(1), meter.init(jnp.zeros(1))
        >>> (_, state), _ = jax.lax.scan(step, start, noise)
        >>> print(f"{state.reading[0]:.1f}")
        0.6
    """

    vectors: int = eqx.field(static=True, default=2)
    memory: int = eqx.field(static=True, default=5)
    window: int = eqx.field(static=True, default=150)
    renewal: int = eqx.field(static=True, default=20)

    def __check_init__(self) -> None:
        check_count("vectors", self.vectors, 1)
        check_count("renewal", self.renewal, 1)
        check_count("memory", self.memory, 1)
        check_count("window", self.window, 1)

    def init(self, params: PyTree[Array]) -> FluctuationState:
        """Return the state before the first step, with random directions.

        Args:
            params: The parameters, or any pytree of arrays of their shapes.
        """
        k = self.vectors
        leaves = jax.tree.leaves(params)
        keys = iter(jax.random.split(jax.random.key(0), 1 + len(leaves)))
        # Nearly orthonormal: sharded parameters need no product of vectors here.
        length = max(1, sum(leaf.size for leaf in leaves)) ** 0.5
        drawn = jax.tree.map(
            lambda p: jax.random.normal(next(keys), (k, *p.shape), jnp.float32) / length, params
        )
        zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), params)
        small = jnp.zeros((k, k), jnp.float32)
        return FluctuationState(
            steps=jnp.zeros([], jnp.int32),
            mean_updates=zeros,
            mean_grads=zeros,
            products=jax.tree.map(jnp.zeros_like, drawn),
            directions=drawn,
            last=jnp.zeros(k, jnp.float32),
            cross=small,
            spread=small,
            reading=jnp.full(k, jnp.nan, jnp.float32),
        )

    def update(
        self,
        state: FluctuationState,
        grads: PyTree[Array],
        updates: PyTree[Array],
        scale: PyTree[Array],
    ) -> FluctuationState:
        """Return the state after one step.

        Args:
            state: The state before it.
            grads: The gradient of this step's batch.
            updates: The update of the parameters that follows.
            scale: r^1/2, the square root of the response of the chain (`nyquist_response`), of the
                structure of the parameters; 0 leaves a parameter out.
        """
        steps = state.steps + 1
        forget = jnp.maximum(1 / self.memory, 1 / steps)
        learn = jnp.maximum(1 / self.window, 1 / steps)

        def off(leaf: Array, mean: Array) -> Array:
            return leaf.astype(jnp.float32) - mean

        def apart(leaf: Array, scale: Array) -> Array:
            return jnp.where(scale > 0, leaf / scale, 0)

        du = jax.tree.map(off, updates, state.mean_updates)
        dg = jax.tree.map(off, grads, state.mean_grads)
        s = jax.tree.map(apart, du, scale)
        g = jax.tree.map(jnp.multiply, dg, scale)
        along_g, along_s = rows.along(state.directions, g), rows.along(state.directions, s)

        def toward(mean: PyTree, value: PyTree, rate: Array) -> PyTree:
            return jax.tree.map(lambda m, x: m + rate * (x - m), mean, value)

        state = state._replace(
            steps=steps,
            mean_updates=jax.tree.map(lambda m, x: m + forget * x, state.mean_updates, du),
            mean_grads=jax.tree.map(lambda m, x: m + forget * x, state.mean_grads, dg),
            products=jax.tree.map(
                lambda m, x: m + learn * (jnp.tensordot(state.last, x, axes=0) - m),
                state.products,
                g,
            ),
            last=along_s,
            cross=toward(state.cross, jnp.outer(along_g, state.last), learn),
            spread=toward(state.spread, jnp.outer(state.last, state.last), learn),
        )
        return jax.lax.cond(steps % self.renewal == 0, self._renewed, lambda x: x, state)

    def parts(self, state: FluctuationState, by: By = "leaf") -> dict[str, Float[Array, ""]]:
        """Return the largest reading, divided among parts of the parameters.

        Each part has the share of the squared length of the leading mode that lies in it. For a
        convex quadratic the number is a lower bound of the effective sharpness of the part with all
        others held (`rodflow.edge` with `by`), exact where one mode dominates.
        Theory: docs/theory/meters.md.

        Args:
            state: The state after some renewal of the directions.
            by: A function from the path of a leaf of the parameters to the name of its part, or
                "leaf" for a part of each leaf.

        Returns:
            Numbers without unit, by name; their sum is the effective sharpness. NaN until the first
            renewal.

        Raises:
            ValueError: `by` is of another kind.

        Examples:
            >>> import jax.numpy as jnp, rodflow
            >>> meter = rodflow.FluctuationMeter(vectors=1)
            >>> state = meter.init({"a": jnp.zeros(1), "b": jnp.zeros(1)})
            >>> state = state._replace(
            ...     directions={"a": jnp.array([[0.6]]), "b": jnp.array([[0.8]])},
            ...     cross=jnp.array([[0.5]]), spread=jnp.array([[1.0]]), reading=jnp.array([0.5]))
            >>> print(*(f"{name} {value:.2f}" for name, value in meter.parts(state).items()))
            a 0.18 b 0.32
        """
        found = parts_of(state.mean_updates, by, 1)
        values, modes = _modes(state.cross, state.spread)
        top = rows.pick(rows.combine(modes[:1], state.directions), 0)
        shares = jnp.stack([jnp.sum(leaf**2) for leaf in jax.tree.leaves(top)])
        shares = jnp.where(jnp.isnan(state.reading[0]), jnp.nan, shares / jnp.sum(shares))
        each = values[0] * jnp.asarray(found.members) @ shares
        return {name: each[place] for place, name in enumerate(found.names)}

    def _renewed(self, state: FluctuationState) -> FluctuationState:
        return state._replace(
            directions=_orthonormal(state.products, state.directions),
            reading=_modes(state.cross, state.spread)[0],
        )


def _inverse_root(matrix: Float[Array, "k k"]) -> Float[Array, "k k"]:
    values, vectors = jnp.linalg.eigh(matrix)
    values = jnp.maximum(values, _FLOOR * values[-1])
    return (vectors * values**-0.5) @ vectors.T


def _orthonormal(vectors: PyTree, like: PyTree) -> PyTree:
    """Return an orthonormal basis of the span of `vectors`, turned to be as close to `like`.

    `like` itself where the vectors span less than their number.
    """
    lengths = jnp.sqrt(jnp.diagonal(rows.gram(vectors, vectors)))
    basis = rows.combine(jnp.diag(1 / lengths), vectors)
    for _ in range(2):  # the second time for what rounding left of the first
        basis = rows.combine(_inverse_root(rows.gram(basis, basis)), basis)
    left, _, right = jnp.linalg.svd(rows.gram(like, basis))
    turned = rows.combine(left @ right, basis)
    whole = jnp.all(jnp.isfinite(left))
    return jax.tree.map(lambda new, old: jnp.where(whole, new, old), turned, like)


def _modes(
    cross: Float[Array, "k k"], spread: Float[Array, "k k"]
) -> tuple[Float[Array, " k"], Float[Array, "k k"]]:
    """Return the eigenvalues of the regression on the last step, in descending order.

    And its eigenvectors as rows, in coordinates of the directions.
    """
    root = _inverse_root(spread)
    regression = root @ cross @ root
    values, vectors = jnp.linalg.eigh((regression + regression.T) / 2)
    return values[::-1], (spread @ root @ vectors).T[::-1]
