"""Sharpness at the edge of stability: Hessian eigenvalues in the metric of the optimizer.

A mode leaves stability when the linearised map has an eigenvalue -1. For a chain that acts on each
element by itself, the *Nyquist probe* finds where, without a table: freeze the auxiliary leaves and
clocks at their present values and feed the alternating gradient (-1)^t until the update settles
into -(-1)^t r. The edge is where the top eigenvalue of diag(r)^1/2 H diag(r)^1/2 reaches 2, so that

    effective sharpness = lambda_max / 2            (1 is the edge, for every optimizer)

Source: MATH.md section 2; Cohen et al. 2021 (arXiv 2103.00065), 2022 (2207.14484). Sign and
spectral updates (Lion, Muon) have no linear response, hence no such edge. The response is linear
about zero: a chain that clips gradients responds to it as if it left them as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PyTree

from rodflow.linalg.lanczos import largest_eigenvalues
from rodflow.linalg.trees import coins_like, normal_like
from rodflow.maps.iteration import Iteration, PhaseState
from rodflow.maps.parity import Parity

# An error of the oscillation halves at worst in each, and one of b2 = .5 does, too.
_PROBE_ITERATIONS = 64
_KRYLOV_DEPTH = 30
# To single precision, even where the error only halves.
_RESPONSE_ITERATIONS = 24


def nyquist_response(iteration: Iteration, state: PhaseState) -> PyTree[Array]:
    """The response r of the update to a gradient that alternates in sign, per unit of gradient.

    Of the structure of `params`; `lr (1 - b1) / ((1 + b1) p)` for Adam with preconditioner p. The
    state must be one that `iteration` initialised, after at least one step for an adaptive method
    (its preconditioner is zero before).

    r is twice the oscillation of the parameters: they move by 2 x from one end to the other.
    """
    ones = jax.tree.map(jnp.ones_like, state.params)
    return jax.tree.map(lambda x: 2 * x, oscillation(iteration, state, ones).params)


def oscillation(
    iteration: Iteration,
    state: PhaseState,
    grads: PyTree[Array],
    growth: float | Float[Array, ""] = 0.0,
) -> PhaseState:
    """The oscillation x of phase space under the gradients (-1)^t exp(growth t) `grads`.

    The settled state is z[t] = still + (-1)^t exp(growth t) x; x has None on the leaves that do not
    oscillate. Auxiliary leaves and clocks stand as they do in `state`. To first order in `grads`,
    for a chain that acts on each element by itself. In the frame that alternates with the gradient
    x solves exp(growth) x = -x - B(x), with B the linear response of the increment: for growth 0,
    it is the rest point of the signed rod. **Raises** `ValueError` for a map of several updates.
    """
    return _Settling.begin(iteration, state).settled(grads, growth, _PROBE_ITERATIONS).x


class _Settling(eqx.Module):
    """An oscillation on its way to its rest point, and the memory on its way to the present."""

    iteration: Iteration = eqx.field(static=True)
    state: PhaseState
    x: PhaseState
    memory: PhaseState

    @classmethod
    def begin(cls, iteration: Iteration, state: PhaseState) -> _Settling:
        if iteration.updates > 1:
            raise ValueError(
                f"An epoch of {iteration.updates} updates has no response to one alternating "
                "gradient; its flows are `RodFlow` and `StableFlow`."
            )
        # A step from where the clocks stood before their last tick ends at their present values.
        state = jax.tree.map(
            lambda z, p: z - 1 if p is Parity.CLOCK else z, state, iteration.parity
        )
        # The second moment of a parameter that never had a gradient is 0, where its root has no
        # derivative.
        state = jax.tree.map(
            lambda z, p: jnp.where(z == 0, _almost_zero(z), z) if p is Parity.AUXILIARY else z,
            state,
            iteration.parity,
        )
        x = jax.tree.map(jnp.zeros_like, eqx.filter(state, _are(iteration, Parity.OSCILLATING)))
        return cls(iteration, state, x, eqx.filter(state, _are(iteration, Parity.AUXILIARY)))

    def settled(
        self, grads: PyTree[Array], growth: float | Float[Array, ""], iterations: int
    ) -> _Settling:
        """The same, so many iterations closer to where both stay."""
        oscillates = _are(self.iteration, Parity.OSCILLATING)
        auxiliary = _are(self.iteration, Parity.AUXILIARY)
        state, present = self.state, eqx.filter(self.state, auxiliary)
        factor = 1 + jnp.exp(growth)

        def settle(carry: tuple[PhaseState, PhaseState], _: None) -> tuple[Any, None]:
            x, memory = carry
            # Linearise about no gradient and no momentum: second moments feel no oscillation.
            still = eqx.combine(memory, jax.tree.map(jnp.zeros_like, eqx.filter(state, oscillates)))
            still = eqx.combine(still, state)
            tangent = eqx.combine(x, jax.tree.map(jnp.zeros_like, state))
            zeros = jax.tree.map(jnp.zeros_like, grads)
            after, response = jax.jvp(self.iteration.respond, (still, zeros), (tangent, grads))
            x = jax.tree.map(
                lambda b: (-b / factor).astype(b.dtype), eqx.filter(response, oscillates)
            )
            # And let the step end with the auxiliary leaves as they are at present.
            after = eqx.filter(after, auxiliary)
            memory = jax.tree.map(lambda a, m, g: a - g, present, memory, after)
            return (x, memory), None

        x, memory = jax.lax.scan(settle, (self.x, self.memory), length=iterations)[0]
        return _Settling(self.iteration, self.state, x, memory)


def _almost_zero(leaf: Array) -> Array:
    return jnp.asarray(jnp.finfo(leaf.dtype).tiny ** 0.9, leaf.dtype)  # no step makes it subnormal


def _are(iteration: Iteration, parity: Parity) -> PyTree[bool]:
    return jax.tree.map(lambda p: p is parity, iteration.parity)


def sharpness(
    loss: Callable[[PyTree], Float[Array, ""]],
    params: PyTree,
    k: int = 1,
    metric: PyTree | None = None,
    depth: int = _KRYLOV_DEPTH,
) -> Float[Array, " k"]:
    """The k largest eigenvalues of the Hessian of `loss` at `params`, in descending order.

    With `metric` (not negative, of the structure of `params`) those of diag(metric)^1/2 H
    diag(metric)^1/2. By Lanczos iteration (`rodflow.linalg.lanczos`); exact for at most `depth`
    parameters. **Raises** `ValueError` for k below 1 or above what there is.
    """
    start, unravel = _random(params)
    depth = _depth(k, start.size, depth)
    scale = None if metric is None else jax.tree.map(jnp.sqrt, metric)

    def matvec(v: Array) -> Array:
        scaled = unravel(v)
        scaled = scaled if scale is None else jax.tree.map(jnp.multiply, scale, scaled)
        product = jax.jvp(jax.grad(loss), (params,), (scaled,))[1]
        product = product if scale is None else jax.tree.map(jnp.multiply, scale, product)
        return ravel_pytree(product)[0].astype(v.dtype)

    return largest_eigenvalues(matvec, start, k, depth)


def _random(params: PyTree) -> tuple[Float[Array, " n"], Callable[[Array], PyTree]]:
    """A random vector of as many numbers, in single precision at least, and its way back."""
    flat, unravel = ravel_pytree(normal_like(jax.random.key(0), params))
    wide = flat.astype(jnp.promote_types(flat.dtype, jnp.float32))
    return wide, lambda v: unravel(v.astype(flat.dtype))


@eqx.filter_jit
def effective_sharpness(
    loss: Callable[[PyTree], Float[Array, ""]],
    tx: optax.GradientTransformation,
    state: PhaseState,
    k: int = 1,
    elementwise: bool = True,
) -> Float[Array, " k"]:
    """The k largest eigenvalues of the Hessian relative to the edge of stability of `tx`.

    1.0 is the edge. `state` is a `PhaseState` of `Iteration(loss, tx)`. Compiled; works under `jit`
    and `vmap`. It says nothing before the first step of an adaptive method, whose preconditioner is
    zero there, and is NaN where the update does not respond to the gradient, as a sign. Gradient
    clipping is taken as not active. Source: MATH.md section 2.

    A chain that mixes the elements of a tensor, such as `if_shampoo`, needs `elementwise=False`
    (it is found out, and the result NaN, otherwise). The response to an alternating gradient g is
    then a product R g with a matrix, symmetric and positive, and the eigenvalues are those of R H
    (ours). **Raises** `ValueError` for k below 1 or above the number of parameters.
    """
    iteration = Iteration(loss, tx)
    iteration.init(state.params)
    if not elementwise:
        return _in_metric_of_matrices(iteration, state, k) / 2
    response, known = _response_by_itself(iteration, state)
    return jnp.where(known, sharpness(loss, state.params, k, response) / 2, jnp.nan)


def _response_by_itself(
    iteration: Iteration, state: PhaseState
) -> tuple[PyTree[Array], Bool[Array, ""]]:
    """The Nyquist response, and whether there is one and each element has its own."""
    coins = coins_like(jax.random.key(0), state.params)
    signs = jax.tree.map(lambda c, p: jnp.where(c, 1, -1).astype(p.dtype), coins, state.params)
    grads = jax.tree.map(lambda s: jnp.stack([jnp.ones_like(s), s]), signs)
    both = jax.vmap(lambda g: oscillation(iteration, state, g).params)(grads)
    response = jax.tree.map(lambda x: 2 * x[0], both)

    def alike(x: Array, s: Array) -> Array:
        return jnp.all(jnp.abs(x[1] - s * x[0]) <= 1e-2 * jnp.abs(x[0]))

    own = jnp.stack(jax.tree.leaves(jax.tree.map(alike, both, signs)))
    some = jnp.stack([jnp.any(leaf != 0) for leaf in jax.tree.leaves(response)])
    return response, jnp.all(own) & jnp.any(some)


def _in_metric_of_matrices(iteration: Iteration, state: PhaseState, k: int) -> Float[Array, " k"]:
    """The k largest eigenvalues of R H, by Lanczos iteration in the inner product g' R g."""
    start, unravel = _random(state.params)
    depth = _depth(k, start.size, _KRYLOV_DEPTH)
    settling = _Settling.begin(iteration, state)
    # Memory comes to its place once; after that, only the oscillation of each gradient has to.
    settling = settling.settled(state.params, 0.0, _PROBE_ITERATIONS)

    def flat(tree: PyTree) -> Array:
        return ravel_pytree(tree)[0].astype(start.dtype)

    def respond(g: Array) -> Array:
        return 2 * flat(settling.settled(unravel(g), 0.0, _RESPONSE_ITERATIONS).x.params)

    def product(v: Array) -> Array:
        return flat(jax.jvp(jax.grad(iteration.loss), (state.params,), (unravel(v),))[1])

    return largest_eigenvalues(product, start, k, depth, respond)


def _depth(k: int, size: int, depth: int) -> int:
    if not 1 <= k <= size:
        raise ValueError(f"`k` is {k}; it must be from 1 to the number of parameters, {size}.")
    return min(max(depth, 2 * k), size)


def critical_sharpness(
    name: str, learning_rate: float | Float[Array, ""], b1: float | Float[Array, ""] = 0.9
) -> float | Float[Array, ""]:
    """The preconditioned sharpness at which the optimizer `name` leaves stability on a quadratic.

    `name` is one of `rodflow.OPTIMIZERS`; momentum in EMA form. Once bias correction of the
    momentum matters (small t), divide `learning_rate` by 1 - b1^t. **Raises** `ValueError` for an
    unknown name. Source: the table of MATH.md section 2.
    """
    if name not in _CRITICAL_FACTORS:
        raise ValueError(f"{name!r} is not in the table; it has {sorted(_CRITICAL_FACTORS)}.")
    return _CRITICAL_FACTORS[name](b1) / learning_rate


def _memoryless(b1):
    return 2.0


def _momentum(b1):
    return 2 * (1 + b1) / (1 - b1)


def _nesterov(b1):
    return 2 * (1 + b1) / ((1 - b1) * (1 + 2 * b1))


_CRITICAL_FACTORS = {
    "gd": _memoryless,
    "scalar_rmsprop": _memoryless,
    "rmsprop": _memoryless,
    "heavy_ball": _momentum,
    "scalar_adam": _momentum,
    "adam": _momentum,
    "nesterov": _nesterov,
    "scalar_nadam": _nesterov,
    "nadam": _nesterov,
}
