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
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from rodflow.curvature.settling import Settling
from rodflow.linalg.trees import coins_like
from rodflow.maps.iteration import PhaseState

# Averages and traces that a chain may have in a row, and in different parts of the parameters.
_MOST_STATES = 12
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
        outputs: The increments by the memory, and by a gradient and by parameters of one: n + 2
            rows of the structure of the parameters.
        size: The size of the response to a gradient of one, 0 where there is none.
        kinds: The elements of the least and of the greatest size of each leaf of the parameters,
            with two leading axes. All others of a leaf are between.
        present: True for leaves that respond at all.
        own: True for leaves each of whose elements responds by itself, and is between both kinds.
        whole: True if the small system is all there is.
    """

    matrix: Float[Array, "n n"]
    by_grads: _Small
    by_params: _Small
    outputs: PyTree[Float[Array, "rows ..."]]
    size: PyTree[Array]
    kinds: Kind
    present: Bool[Array, " leaves"]
    own: Bool[Array, " leaves"]
    whole: Bool[Array, ""]


def filters_of(settling: Settling) -> Filters:
    """Return the filters of a chain about the state of `settling`, whose memory is at rest."""
    zeros, linear = settling.linearized()
    params = zeros.params
    coins = coins_like(jax.random.key(0), params)
    signs = jax.tree.map(lambda c, p: jnp.where(c, 1, -1).astype(p.dtype), coins, params)
    inputs = jax.tree.map(lambda s: jnp.stack([jnp.ones_like(s), s]), signs)
    none = jax.tree.map(lambda z: jnp.stack([z, z]), zeros)

    @jax.vmap
    def step(displaced: PhaseState, grads: PyTree) -> tuple[PyTree, PyTree]:
        """Return the increment of the parameters, and the memory after a step."""
        moved = linear(displaced, grads)
        after = jax.tree.map(jnp.add, displaced.opt_state, moved.opt_state)
        return moved.params, after

    def remember(memory: PyTree) -> tuple[PyTree, PyTree]:
        return step(none._replace(opt_state=memory), none.params)

    by_grads = step(none, inputs)
    by_params = step(none._replace(params=inputs), none.params)
    size, unit = _sizes(remember, by_grads, by_params)
    dtype = jnp.promote_types(jnp.result_type(*jax.tree.leaves(zeros)), jnp.float32)
    eps = max(float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(zeros))

    def in_units(memory: PyTree) -> PyTree:
        return jax.tree.map(lambda x, u: (x / u).astype(dtype), memory, unit)

    def turn(carry: _Carry) -> _Carry:
        """Take the next vector into account: B_g 1, B_w 1, and then A v for each v of the basis."""
        at = carry.turn - 2
        vector = jax.tree.map(
            lambda v, u, like: (v[at] * u).astype(like.dtype), carry.basis, unit, none.opt_state
        )
        moved, after = remember(vector)
        new = jax.tree.map(
            lambda g, w, v: jnp.where(at == -2, g, jnp.where(at == -1, w, v)),
            in_units(by_grads[1]),
            in_units(by_params[1]),
            in_units(after),
        )
        place = jnp.where(at >= 0, at, _MOST_STATES)
        outputs = jax.tree.map(
            lambda rows, out: rows.at[place].set(out.astype(dtype), mode="drop"),
            carry.outputs,
            moved,
        )
        return _append(carry._replace(outputs=outputs), new)

    def rows_of(like: PyTree) -> PyTree:
        return jax.tree.map(lambda x: jnp.zeros((_MOST_STATES, *x.shape), dtype), like)

    carry = jax.lax.while_loop(
        lambda carry: (carry.turn < carry.count + 2) & carry.whole,
        turn,
        _Carry(
            turn=jnp.array(0),
            count=jnp.array(0),
            basis=rows_of(none.opt_state),
            outputs=rows_of(inputs),
            columns=jnp.zeros((_MOST_STATES + 2, _MOST_STATES), dtype),
            noise=jnp.array(_ROUNDING * eps, dtype),
            whole=jnp.array(True),
        ),
    )
    rows = jax.tree.map(
        lambda x, g, w: jnp.concatenate([x, g[None].astype(dtype), w[None].astype(dtype)]),
        carry.outputs,
        by_grads[0],
        by_params[0],
    )
    own = jnp.stack(jax.tree.leaves(jax.tree.map(_own, rows, signs)))
    rows = jax.tree.map(lambda x: x[:, 0], rows)
    pairs = zip(jax.tree.leaves(rows), jax.tree.leaves(size), strict=True)
    found = [_kinds(*pair) for pair in pairs]
    kinds, present, alike = jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)
    return Filters(
        matrix=carry.columns[2:].T,
        by_grads=carry.columns[0],
        by_params=carry.columns[1],
        outputs=rows,
        size=size,
        kinds=kinds,
        present=present,
        own=own & alike,
        whole=carry.whole,
    )


class _Carry(NamedTuple):
    """An Arnoldi iteration, with two lanes: a vector of ones, and one of random signs."""

    turn: Array
    count: Array
    basis: PyTree
    outputs: PyTree
    columns: Array
    noise: Array
    whole: Array


def _sizes(
    remember: Callable[[PyTree], tuple[PyTree, PyTree]],
    by_grads: tuple[PyTree, PyTree],
    by_params: tuple[PyTree, PyTree],
) -> tuple[PyTree, PyTree]:
    """Return the size of each element's response to its gradient, and of each of the memory.

    They are sums over the first steps after an impulse.
    """

    def first(carry: tuple[PyTree, PyTree], _: None) -> tuple[tuple[PyTree, PyTree], PyTree]:
        moved, memory = carry
        return remember(memory), jax.tree.map(jnp.abs, (moved, memory))

    def total(response: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        _, seen = jax.lax.scan(first, response, length=_FIRST_STEPS)
        return jax.tree.map(lambda x: jnp.sum(x[:, 0], axis=0), seen)

    size, unit = total(by_grads)
    _, other = total(by_params)
    unit = jax.tree.map(lambda g, w: jnp.where(g > 0, g, jnp.where(w > 0, w, 1))[None], unit, other)
    return size, unit


def _append(carry: _Carry, new: PyTree) -> _Carry:
    """Enter the coordinates of a vector, and what is left of it into the basis."""
    basis, rest = carry.basis, new
    coordinates = jnp.zeros_like(carry.columns[0])
    for _ in range(2):
        along = _inner(basis, rest, coordinates)
        coordinates = coordinates + along
        rest = jax.tree.map(lambda x, v, a=along: x - jnp.tensordot(a, v, 1), rest, basis)
    before, left = (jnp.sqrt(_inner(x, x, carry.noise)) for x in (new, rest))
    fresh = left > carry.noise * before
    kept = fresh & (carry.count < _MOST_STATES)
    place = jnp.where(kept, carry.count, _MOST_STATES)
    safe = jnp.where(kept, left, 1)
    return carry._replace(
        turn=carry.turn + 1,
        count=carry.count + kept,
        basis=jax.tree.map(lambda v, x: v.at[place].set(x / safe, mode="drop"), basis, rest),
        columns=carry.columns.at[carry.turn].set(coordinates.at[place].set(left, mode="drop")),
        # What is left is rounded as the vector was.
        noise=jnp.where(kept, carry.noise * before / safe, carry.noise),
        whole=carry.whole & (kept | ~fresh),
    )


def _inner(rows: PyTree, vector: PyTree, like: Array) -> Array:
    """Return inner products in which each leaf counts as one, in the first lane of two."""

    def mean(rows: Array, x: Array) -> Array:
        rows, x = (rows[:, 0], x[0]) if like.ndim else (rows[0], x[0])
        products = rows * x
        return jnp.mean(products, axis=tuple(range(like.ndim, products.ndim)))

    return jax.tree.reduce(jnp.add, jax.tree.map(mean, rows, vector), jnp.zeros_like(like))


def _own(rows: Array, sign: Array) -> Array:
    """Return True if each element responds by itself: to a sign as to one, with this sign."""
    off = jnp.abs(rows[:, 1] - sign * rows[:, 0])
    whole = jnp.abs(rows[:, 0])
    grads = jnp.sum(off[:-1], axis=0) <= _MIXED * jnp.sum(whole[:-1], axis=0)
    return jnp.all(grads & (off[-1] <= _MIXED * whole[-1]))


def _kinds(rows: Array, size: Array) -> tuple[Kind, Array, Array]:
    """Return the kinds of a leaf, and True if it responds and if all are between them.

    Over the size, the outputs of elements of one filter are the same, but for that by parameters: a
    decay may be in proportion to the size, or be the same for all elements.
    """
    if not size.size:
        none = jnp.zeros(2, rows.dtype)
        kind = Kind(jnp.zeros((2, _MOST_STATES), rows.dtype), none, none, none)
        return kind, jnp.array(False), jnp.array(True)
    rows, size = rows.reshape(len(rows), -1), size.reshape(-1).astype(rows.dtype)
    there = size > 0
    inverse = jnp.where(there, 1 / jnp.where(there, size, 1), 0)
    each = rows * inverse
    ends = jnp.stack([jnp.argmax(inverse), jnp.argmax(size)])
    pair = each[:, ends]
    (least, most), spread = inverse[ends], inverse[ends[0]] - inverse[ends[1]]
    safe = jnp.where(spread > 0, spread, 1)
    # Each share by itself, as the other may be many orders of magnitude larger.
    shares = jnp.where(
        spread > 0, jnp.stack([inverse - most, least - inverse]) / safe, jnp.array([[1], [0]])
    )
    off = jnp.sum(jnp.abs(each[:-1] - pair[:-1, 1:]), axis=0)
    grads = off <= _UNLIKE * jnp.sum(jnp.abs(pair[:-1, 1]))
    off = jnp.abs(each[-1] - pair[-1] @ shares)
    decays = off * size <= _UNLIKE * jnp.sum(jnp.abs(rows[-1, ends]))
    kind = Kind(pair[:-2].T, pair[-2], rows[-1, ends], size[ends])
    return kind, jnp.any(there), jnp.all(~there | (grads & decays))
