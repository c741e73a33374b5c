"""Sharpness relative to the edge of stability: Hessian eigenvalues in the optimizer's metric.

With r the response of a chain (`rodflow.curvature._metric`), to an alternating gradient where modes
leave through the multiplier -1, a mode leaves when the top eigenvalue of diag(r)^1/2 H diag(r)^1/2
reaches 2, so that

    effective sharpness = lambda_max / 2            (1 is the edge, for every optimizer)

Source: Cohen et al. 2021 (arXiv 2103.00065), 2022 (2207.14484).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import overload

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from rodflow._checks import check_count
from rodflow.curvature._metric import filters_at, map_at, metric_of, response_of
from rodflow.curvature._parts import By, parts_of
from rodflow.curvature.settling import Settling
from rodflow.linalg.lanczos import largest_eigenvalues
from rodflow.linalg.trees import normal_like
from rodflow.maps.iteration import PhaseState
from rodflow.maps.programs import compiled

_KRYLOV_DEPTH = 30
# An error of the oscillation halves at worst in each, down to single precision.
_RESPONSE_ITERATIONS = 24


def sharpness(
    loss: Callable[[PyTree], Float[Array, ""]],
    params: PyTree,
    k: int = 1,
    metric: PyTree | None = None,
    depth: int = _KRYLOV_DEPTH,
) -> Float[Array, " k"]:
    """Return the k largest eigenvalues of the Hessian of `loss` at `params`, in descending order.

    Found by Lanczos iteration; exact for at most `depth` parameters.

    Args:
        loss: A function of the parameters that returns a scalar.
        params: Where the Hessian is taken, a pytree of real float arrays.
        k: The number of eigenvalues.
        metric: Weights, not negative, of the structure of `params`; with them the eigenvalues are
            those of diag(metric)^1/2 H diag(metric)^1/2.
        depth: The number of Hessian-vector products, at least 2 k.

    Returns:
        The eigenvalues, in units of loss over squared parameters (times that of the metric).

    Raises:
        ValueError: k is below 1 or above the number of parameters.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> loss = lambda w: 3 * w["a"] ** 2 + w["b"] ** 2 / 2
        >>> params = {"a": jnp.array(0.0), "b": jnp.array(1.0)}
        >>> print(*(f"{value:.3f}" for value in rodflow.sharpness(loss, params, k=2)))
        6.000 1.000
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
    """Return a random vector of as many numbers, in single precision at least, and its inverse."""
    flat, unravel = ravel_pytree(normal_like(jax.random.key(0), params))
    wide = flat.astype(jnp.promote_types(flat.dtype, jnp.float32))
    return wide, lambda v: unravel(v.astype(flat.dtype))


@overload
def effective_sharpness(
    loss: Callable[[PyTree], Float[Array, ""]],
    tx: optax.GradientTransformation,
    state: PhaseState | tuple[PyTree, PyTree],
    k: int = 1,
    elementwise: bool = True,
    by: None = None,
) -> Float[Array, " k"]: ...


@overload
def effective_sharpness(
    loss: Callable[[PyTree], Float[Array, ""]],
    tx: optax.GradientTransformation,
    state: PhaseState | tuple[PyTree, PyTree],
    k: int = 1,
    elementwise: bool = True,
    *,
    by: By,
) -> dict[str, Float[Array, " k"]]: ...


def effective_sharpness(
    loss: Callable[[PyTree], Float[Array, ""]],
    tx: optax.GradientTransformation,
    state: PhaseState | tuple[PyTree, PyTree],
    k: int = 1,
    elementwise: bool = True,
    by: By | None = None,
) -> Float[Array, " k"] | dict[str, Float[Array, " k"]]:
    """Return the k largest eigenvalues of the Hessian relative to the edge of stability of `tx`.

    1.0 is the edge, for every optimizer. Compiled; works under `jit` and `vmap`. Norms that scale a
    step are held as they are at present: those of trust ratios (LARS, LAMB) and of clipping, which
    divides the number by as much as it shortens the gradient. The number says nothing before the
    first step of an adaptive method, whose preconditioner is zero there. Source: Cohen et al. 2021
    and 2022, arXiv 2103.00065 and 2207.14484; the probe of any chain is ours. Theory:
    docs/theory/edge.md.

    Args:
        loss: A function of the parameters that returns a scalar.
        tx: The chain of Optax transformations.
        state: A `PhaseState` of `Iteration(loss, tx)`, or a tuple (params, opt_state) as Optax has
            them.
        k: The number of eigenvalues.
        elementwise: False for a chain that mixes the elements of a tensor, such as `if_shampoo`
            (otherwise it is found out, and the result NaN). The response to an alternating gradient
            g is then a product R g with a matrix, symmetric and positive, and the eigenvalues are
            those of R H; modes that leave as rotations are not seen.
        by: A function from the path of a leaf of the parameters to the name of its part, or "leaf"
            for a part of each leaf, to find the numbers of each part with all others held.

    Returns:
        The effective sharpnesses, without unit, in descending order; a dictionary of those of each
        part with `by`. They are NaN where the update is not the linear response to the present
        gradient to 5 %, as that of a sign or of clipping each element is not, and where the edge is
        not one of a symmetric matrix, as that of filters that differ between parameters and leave
        as rotations is not. `edge` returns more.

    Raises:
        ValueError: k is below 1 or above the number of parameters, `by` is of another kind, or the
            state is of another transformation.

    Examples:
        Gradient descent is at the edge where the sharpness is 2 over the learning rate:

        >>> import jax.numpy as jnp, optax, rodflow
        >>> loss, tx = lambda w: 3 * w**2, optax.sgd(0.25)  # sharpness 6, critical value 8
        >>> state = rodflow.Iteration(loss, tx).init(jnp.array(1.0))
        >>> print(f"{rodflow.effective_sharpness(loss, tx, state)[0]:.3f}")
        0.750
    """
    return compiled(_effective_sharpness, loss, tx, state, k, elementwise, by)


def _effective_sharpness(
    loss: Callable[[PyTree], Float[Array, ""]],
    tx: optax.GradientTransformation,
    state: PhaseState | tuple[PyTree, PyTree],
    k: int,
    elementwise: bool,
    by: By | None,
) -> Float[Array, " k"] | dict[str, Float[Array, " k"]]:
    iteration, state = map_at(loss, tx, state)
    if not elementwise:
        if by is not None:
            raise ValueError(
                "`by` is given with `elementwise` False; parts of a chain of matrices have no "
                "effective sharpness of their own."
            )
        return _in_metric_of_matrices(Settling.at_present(iteration, state), state, k) / 2
    parts = parts_of(state.params, by, k)
    filters, memory = filters_at(iteration, state)

    _, unravel = ravel_pytree(state.params)

    def one(part: Array) -> Array:
        metric = metric_of(filters, memory, part)
        response = unravel(response_of(filters, memory, metric, part))
        values = sharpness(loss, state.params, k, response)
        return jnp.where(metric.known, values / 2, jnp.nan)

    values = jax.lax.map(one, jnp.asarray(parts.members))
    return values[0] if by is None else dict(zip(parts.names, values, strict=True))


def _in_metric_of_matrices(settling: Settling, state: PhaseState, k: int) -> Float[Array, " k"]:
    """Return the k largest eigenvalues of R H, by Lanczos iteration in the inner product g' R g."""
    start, unravel = _random(state.params)
    depth = _depth(k, start.size, _KRYLOV_DEPTH)
    # Memory comes to its place once; after that, only the oscillation of each gradient has to.
    settling = settling.settled(state.params)

    def flat(tree: PyTree) -> Array:
        return ravel_pytree(tree)[0].astype(start.dtype)

    def respond(g: Array) -> Array:
        return 2 * flat(settling.settled(unravel(g), iterations=_RESPONSE_ITERATIONS).x.params)

    def product(v: Array) -> Array:
        return flat(jax.jvp(jax.grad(settling.iteration.loss), (state.params,), (unravel(v),))[1])

    return largest_eigenvalues(product, start, k, depth, respond)


def _depth(k: int, size: int, depth: int) -> int:
    check_count("k", k, 1)
    if k > size:
        raise ValueError(f"`k` is {k}; it must be from 1 to the number of parameters, {size}.")
    return min(max(depth, 2 * k), size)
