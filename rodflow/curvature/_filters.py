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

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from rodflow.curvature._flat import Flat
from rodflow.curvature.settling import Settling
from rodflow.maps.iteration import PhaseState

# Averages and traces that a chain may have in a row, and in different parts of the parameters.
_MOST_STATES = 8
# Steps of an impulse response that tell the size of each element's memory and of its response.
_FIRST_STEPS = 3
# Rounding of one step, in units of the last place.
_ROUNDING = 32
# What a linear response may leave unexplained of the step of the present gradient, element by
# element, in units of the largest of the leaf.
_EXPLAINED = 0.05
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


def filters_of(settling: Settling, there: PhaseState, grads: PyTree) -> Filters:
    """Return the filters of a chain about the state of `settling`, whose memory is at rest.

    They must give the step that the optimizer takes from `there` with the gradient `grads`.
    """
    zeros, linear = settling.linearized()
    dtype = jnp.promote_types(jnp.result_type(*jax.tree.leaves(zeros)), jnp.float32)
    eps = max(float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(zeros))
    params, memory, every = (Flat.of(x) for x in (zeros.params, zeros.opt_state, zeros))
    inputs = jnp.stack([jnp.ones(params.size, dtype), _signs(params.size).astype(dtype)])
    nothing = jnp.zeros_like(inputs)

    @jax.vmap
    def step(w: Array, x: Array, g: Array) -> tuple[Array, Array]:
        """Return the increment of the parameters, and the memory after a step."""
        displaced = zeros._replace(params=params.tree(w), opt_state=memory.tree(x))
        moved = linear(displaced, params.tree(g))
        return params.vector(moved.params, dtype), x + memory.vector(moved.opt_state, dtype)

    # Impulses of the gradient and of the parameters, each of ones and of signs, and the step taken,
    # all in one loop: each copy of the linearized update takes time to compile.
    before, taken = settling.taken(there, grads)
    w, g = params.vector(before.params, dtype)[None], params.vector(grads, dtype)[None]
    impulses = jnp.concatenate([nothing, inputs, w]), jnp.concatenate([inputs, nothing, g])
    start = memory.vector(before.opt_state, dtype)

    def first(x: Array, on: Array) -> tuple[Array, tuple[Array, Array]]:
        moved, x = step(jnp.where(on, impulses[0], 0), x, jnp.where(on, impulses[1], 0))
        return x, (moved, x)

    at_rest = jnp.zeros((4, memory.size), dtype)
    _, (moves, after) = jax.lax.scan(
        first, jnp.concatenate([at_rest, start[None]]), jnp.arange(_FIRST_STEPS) == 0
    )
    size, unit = _sizes(moves, after)
    weights = 1 / memory.sizes[memory.leaf].astype(dtype)

    def turn(carry: _Carry) -> _Carry:
        """Take the next vector into account: B_g 1, B_w 1, and then A v for each v of the basis."""
        at = carry.turn - 2
        moved, new = step(nothing, carry.basis[at] * unit, nothing)
        new = jnp.where(at == -2, after[0, :2], jnp.where(at == -1, after[0, 2:4], new)) / unit
        place = jnp.where(at >= 0, at, _MOST_STATES)
        outputs = carry.outputs.at[place].set(moved, mode="drop")
        return _append(carry._replace(outputs=outputs), new, weights)

    carry = jax.lax.while_loop(
        lambda carry: (carry.turn < carry.count + 2) & carry.whole,
        turn,
        _Carry(
            turn=jnp.array(0),
            count=jnp.array(0),
            basis=jnp.zeros((_MOST_STATES, 2, memory.size), dtype),
            outputs=jnp.zeros((_MOST_STATES, *inputs.shape), dtype),
            columns=jnp.zeros((_MOST_STATES + 2, _MOST_STATES), dtype),
            noise=jnp.array(_ROUNDING * eps, dtype),
            whole=jnp.array(True),
        ),
    )
    rows = jnp.concatenate([carry.outputs, moves[0, :2][None], moves[0, 2:4][None]])
    kinds, present, alike = _kinds(rows[:, 0], size, params)
    linear_step = jnp.concatenate([moves[0, 4], after[0, 4] - start])
    explained = _explained(every, linear_step, *(every.vector(x, dtype) for x in (taken, before)))
    members = len(params.sizes)
    return Filters(
        matrix=carry.columns[2:].T,
        by_grads=carry.columns[0],
        by_params=carry.columns[1],
        outputs=rows[:, 0],
        size=size,
        leaf=params.leaf,
        kinds=kinds,
        present=present,
        own=params.every(_own(rows, inputs[1]) & alike) & explained[:members],
        whole=carry.whole & jnp.all(explained[members:]),
    )


class _Carry(NamedTuple):
    """An Arnoldi iteration, with two lanes: a vector of ones, and one of random signs."""

    turn: Array
    count: Array
    basis: Array
    outputs: Array
    columns: Array
    noise: Array
    whole: Array


def _signs(size: int) -> Array:
    """Return irregular signs, by a multiplicative hash that compiles faster than random numbers."""
    hashed = jnp.arange(size, dtype=jnp.uint32) * jnp.uint32(2654435769)
    return 1 - 2 * ((hashed ^ (hashed >> 15)) >> 9 & 1).astype(int)


def _sizes(moves: Array, after: Array) -> tuple[Array, Array]:
    """Return the size of each element's response to its gradient, and of each of the memory.

    They are sums over the first steps after an impulse.
    """
    by_grads, by_params = (jnp.sum(jnp.abs(after[:, lane]), axis=0) for lane in (0, 2))
    unit = jnp.where(by_grads > 0, by_grads, jnp.where(by_params > 0, by_params, 1))
    return jnp.sum(jnp.abs(moves[:, 0]), axis=0), unit


def _append(carry: _Carry, new: Array, weights: Array) -> _Carry:
    """Enter the coordinates of a vector, and what is left of it into the basis."""

    def project(_: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, coordinates = found
        along = carry.basis[:, 0] @ (weights * rest[0])
        return rest - jnp.tensordot(along, carry.basis, 1), coordinates + along

    rest, coordinates = jax.lax.fori_loop(0, 2, project, (new, jnp.zeros_like(carry.columns[0])))
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


def _explained(every: Flat, linear: Array, taken: Array, before: Array) -> Array:
    """Return True for leaves of which the linear response gives the step taken, to 5 %."""
    off, moved, stood = every.most(jnp.abs(jnp.stack([taken - linear, taken, before], axis=1))).T
    # An increment is a difference, which is rounded.
    return off <= _EXPLAINED * moved + 8 * jnp.finfo(linear.dtype).eps * stood


def _kinds(rows: Array, size: Array, params: Flat) -> tuple[Kind, Array, Array]:
    """Return the kinds, True for leaves that respond, and for elements that are between theirs.

    Over the size, the outputs of elements of one filter are the same, but for that by parameters: a
    decay may be in proportion to the size, or be the same for all elements.
    """
    there = size > 0
    inverse = jnp.where(there, 1 / jnp.where(there, size, 1), 0)
    each = rows * inverse
    tops, ends = params.places(jnp.stack([inverse, size], axis=1))
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
    return kind, tops[:, 1] > 0, ~there | (grads & between)
