"""The linear filters of a chain, one for each element of the parameters, in a few numbers.

With norms, auxiliary leaves and clocks held, the memory x of a chain and the increment of the
parameters are linear in x, in the gradient g and in the parameters w (weight decay):

    x[t+1] = A x[t] + B_g g[t] + B_w w[t],        w[t+1] - w[t] = C x[t] + D_g g[t] + D_w w[t]

For a chain that acts on each element by itself these matrices are block diagonal, with a block for
each element. Their blocks have few different eigenvalues, the poles of the filters: one for each
average or trace in the chain, whatever the preconditioner of the element is. So the space that A
spans from the vectors B_g 1 and B_w 1 has a few dimensions, which Arnoldi iteration finds without
knowing which leaf of the memory belongs to which parameter. In an orthonormal basis V of it, A
becomes a small matrix a, and the filters from gradients to increments are

    (Q g)_i = -(C V)_i (z - a)^-1 b_g - (D_g)_i,        (R w)_i likewise with the other sign

exactly, as the space is invariant. A remainder of an iteration is counted as a new dimension if it
is more than rounding. The same iteration on a vector of random signs tells chains that mix the
elements: there the responses are not those to ones with these signs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from rodflow.curvature.settling import Settling

# Averages and traces that a chain may have in a row, and in different parts of the parameters.
_MOST_STATES = 8
# Steps of an impulse response that tell the size of each element's memory and of its response.
_FIRST_STEPS = 3
# Rounding of one step, in units of the last place.
_ROUNDING = 32
# The part of an element's response that may be due to others, or to rounding.
_MIXED = 1e-2
# The part of a filter that may differ within a leaf, where only its scale and its decay may.
_UNLIKE = 1e-3

_Small = Float[Array, " n"]


class Kind(NamedTuple):
    """The outputs of an element of the parameters, in units of its response to a gradient.

    Attributes:
        outputs: The increment by the memory, over the size.
        by_grad: The increment by a gradient of one, over the size.
        by_param: The increment by a parameter of one.
        size: The size.
    """

    outputs: _Small
    by_grad: Float[Array, "*kinds"]
    by_param: Float[Array, "*kinds"]
    size: Float[Array, "*kinds"]


class Filters(NamedTuple):
    """The filters of a chain: a small linear system, and outputs that differ by element.

    Attributes:
        matrix: The matrix a of the memory.
        by_grads: The change b_g of the memory by a gradient of one.
        by_params: The change b_w of the memory by parameters of one.
        outputs: The increments of the raveled parameters by the memory, and by a gradient and by
            parameters of one, as n + 2 rows.
        size: The size of each parameter's response to a gradient of one, 0 where there is none.
        leaf: The place of the leaf of each parameter.
        kinds: The elements of the least and of the greatest size of each leaf of the parameters,
            with two leading axes. All others of a leaf are between.
        present: True for leaves that respond at all.
        own: True for leaves each of whose elements responds by itself, and is between both kinds.
        whole: True if the small system is all there is.
    """

    matrix: Float[Array, "n n"]
    by_grads: _Small
    by_params: _Small
    outputs: Float[Array, "rows parameters"]
    size: Float[Array, " parameters"]
    leaf: Int[Array, " parameters"]
    kinds: Kind
    present: Bool[Array, " leaves"]
    own: Bool[Array, " leaves"]
    whole: Bool[Array, ""]


def filters_of(settling: Settling) -> Filters:
    """Return the filters of a chain about the state of `settling`, whose memory is at rest."""
    zeros, linear = settling.linearized()
    dtype = jnp.promote_types(jnp.result_type(*jax.tree.leaves(zeros)), jnp.float32)
    eps = max(float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(zeros))
    params, memory = _Flat.of(zeros.params), _Flat.of(zeros.opt_state)
    coins = jax.random.bernoulli(jax.random.key(0), shape=(params.size,))
    inputs = jnp.stack([jnp.ones(params.size, dtype), jnp.where(coins, 1, -1)])
    nothing = jnp.zeros_like(inputs)
    empty = jnp.zeros((2, memory.size), dtype)

    @jax.vmap
    def step(w: Array, x: Array, g: Array) -> tuple[Array, Array]:
        """Return the increment of the parameters, and the memory after a step."""
        displaced = zeros._replace(params=params.tree(w), opt_state=memory.tree(x))
        moved = linear(displaced, params.tree(g))
        return params.vector(moved.params, dtype), x + memory.vector(moved.opt_state, dtype)

    def remember(x: Array) -> tuple[Array, Array]:
        return step(nothing, x, nothing)

    by_grads, by_params = step(nothing, empty, inputs), step(inputs, empty, nothing)
    size, unit = _sizes(remember, by_grads, by_params)
    weights = 1 / memory.sizes[memory.leaf].astype(dtype)

    def turn(carry: _Carry) -> _Carry:
        """Take the next vector into account: B_g 1, B_w 1, and then A v for each v of the basis."""
        at = carry.turn - 2
        moved, after = remember(carry.basis[at] * unit)
        firsts = jnp.where(at == -2, by_grads[1], by_params[1])
        new = jnp.where(at < 0, firsts, after) / unit
        place = jnp.where(at >= 0, at, _MOST_STATES)
        outputs = carry.outputs.at[place].set(moved, mode="drop")
        return _append(carry._replace(outputs=outputs), new, weights)

    carry = jax.lax.while_loop(
        lambda carry: (carry.turn < carry.count + 2) & carry.whole,
        turn,
        _Carry(
            turn=jnp.array(0),
            count=jnp.array(0),
            basis=jnp.zeros((_MOST_STATES, *empty.shape), dtype),
            outputs=jnp.zeros((_MOST_STATES, *inputs.shape), dtype),
            columns=jnp.zeros((_MOST_STATES + 2, _MOST_STATES), dtype),
            noise=jnp.array(_ROUNDING * eps, dtype),
            whole=jnp.array(True),
        ),
    )
    rows = jnp.concatenate([carry.outputs, by_grads[0][None], by_params[0][None]])
    kinds, present, alike = _kinds(rows[:, 0], size, params)
    return Filters(
        matrix=carry.columns[2:].T,
        by_grads=carry.columns[0],
        by_params=carry.columns[1],
        outputs=rows[:, 0],
        size=size,
        leaf=params.leaf,
        kinds=kinds,
        present=present,
        own=params.every(_own(rows, inputs[1]) & alike),
        whole=carry.whole,
    )


class _Flat(NamedTuple):
    """Pytrees of one structure as vectors."""

    like: PyTree
    size: int
    sizes: Int[Array, " leaves"]
    leaf: Int[Array, " elements"]

    @classmethod
    def of(cls, like: PyTree) -> _Flat:
        sizes = np.array([leaf.size for leaf in jax.tree.leaves(like)], int)
        size = int(sizes.sum())
        leaf = jnp.repeat(jnp.arange(len(sizes)), sizes, total_repeat_length=size)
        return cls(like, size, jnp.asarray(sizes), leaf)

    def vector(self, tree: PyTree, dtype: jnp.dtype) -> Array:
        parts = [leaf.reshape(-1).astype(dtype) for leaf in jax.tree.leaves(tree)]
        return jnp.concatenate([jnp.zeros(0, dtype), *parts])

    def tree(self, vector: Array) -> PyTree:
        leaves, structure = jax.tree.flatten(self.like)
        ends = np.cumsum([0, *(leaf.size for leaf in leaves)])
        return structure.unflatten(
            vector[start:end].reshape(leaf.shape).astype(leaf.dtype)
            for leaf, start, end in zip(leaves, ends[:-1], ends[1:], strict=True)
        )

    def every(self, true: Array) -> Array:
        """Return True for leaves all of whose elements are."""
        return self.most(~true) < 1

    def most(self, values: Array) -> Array:
        """Return the largest value of each leaf."""
        values = values.astype(int) if values.dtype == bool else values
        return jax.ops.segment_max(values, self.leaf, len(self.sizes))

    def place(self, values: Array) -> Array:
        """Return the place of the largest value of each leaf."""
        there = values == self.most(values)[self.leaf]
        places = jnp.where(there, jnp.arange(self.size), self.size)
        return jnp.minimum(-self.most(-places), self.size - 1)


class _Carry(NamedTuple):
    """An Arnoldi iteration, with two lanes: a vector of ones, and one of random signs."""

    turn: Array
    count: Array
    basis: Array
    outputs: Array
    columns: Array
    noise: Array
    whole: Array


def _sizes(
    remember: Callable[[Array], tuple[Array, Array]],
    by_grads: tuple[Array, Array],
    by_params: tuple[Array, Array],
) -> tuple[Array, Array]:
    """Return the size of each element's response to its gradient, and of each of the memory.

    They are sums over the first steps after an impulse.
    """

    def first(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Any]:
        moved, memory = carry
        return remember(memory), (jnp.abs(moved), jnp.abs(memory))

    moved, memory = (jnp.stack([g[0], w[0]]) for g, w in zip(by_grads, by_params, strict=True))
    _, seen = jax.lax.scan(first, (moved, memory), length=_FIRST_STEPS)
    size, unit = (jnp.sum(x, axis=0) for x in seen)
    return size[0], jnp.where(unit[0] > 0, unit[0], jnp.where(unit[1] > 0, unit[1], 1))


def _append(carry: _Carry, new: Array, weights: Array) -> _Carry:
    """Enter the coordinates of a vector, and what is left of it into the basis."""
    rest, coordinates = new, jnp.zeros_like(carry.columns[0])
    for _ in range(2):
        along = carry.basis[:, 0] @ (weights * rest[0])
        coordinates = coordinates + along
        rest = rest - jnp.tensordot(along, carry.basis, 1)
    before, left = (jnp.sqrt(jnp.vdot(x[0], weights * x[0])) for x in (new, rest))
    fresh = left > carry.noise * before
    kept = fresh & (carry.count < _MOST_STATES)
    place = jnp.where(kept, carry.count, _MOST_STATES)
    safe = jnp.where(kept, left, 1)
    return carry._replace(
        turn=carry.turn + 1,
        count=carry.count + kept,
        basis=carry.basis.at[place].set(rest / safe, mode="drop"),
        columns=carry.columns.at[carry.turn].set(coordinates.at[place].set(left, mode="drop")),
        # What is left is rounded as the vector was.
        noise=jnp.where(kept, carry.noise * before / safe, carry.noise),
        whole=carry.whole & (kept | ~fresh),
    )


def _own(rows: Array, sign: Array) -> Array:
    """Return True for elements that respond by themselves: to a sign as to one, with this sign."""
    off = jnp.abs(rows[:, 1] - sign * rows[:, 0])
    whole = jnp.abs(rows[:, 0])
    grads = jnp.sum(off[:-1], axis=0) <= _MIXED * jnp.sum(whole[:-1], axis=0)
    return grads & (off[-1] <= _MIXED * whole[-1])


def _kinds(rows: Array, size: Array, params: _Flat) -> tuple[Kind, Array, Array]:
    """Return the kinds, True for leaves that respond, and for elements that are between theirs.

    Over the size, the outputs of elements of one filter are the same, but for that by parameters: a
    decay may be in proportion to the size, or be the same for all elements.
    """
    there = size > 0
    inverse = jnp.where(there, 1 / jnp.where(there, size, 1), 0)
    each = rows * inverse
    ends = jnp.stack([params.place(inverse), params.place(size)], axis=1)
    kind = Kind(jnp.moveaxis(each[:-2, ends], 0, -1), each[-2, ends], rows[-1, ends], size[ends])
    likes, own = each[:-1, ends[:, 1]], params.leaf
    off = jnp.sum(jnp.abs(each[:-1] - likes[:, own]), axis=0)
    grads = off <= _UNLIKE * jnp.sum(jnp.abs(likes), axis=0)[own]
    first, last = inverse[ends[:, 0]][own], inverse[ends[:, 1]][own]
    spread = jnp.where(first > last, first - last, 1)
    # Each share by itself, as the other may be many orders of magnitude larger.
    up, down = (inverse - last) / spread, jnp.where(first > last, (first - inverse) / spread, 1)
    line = each[-1, ends[:, 0]][own] * up + each[-1, ends[:, 1]][own] * down
    decays = jnp.sum(jnp.abs(rows[-1, ends]), axis=1)[own]
    between = jnp.abs(each[-1] - line) * size <= _UNLIKE * decays
    return kind, params.most(there) > 0, ~there | (grads & between)
