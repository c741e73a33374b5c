r"""Realized edge of a step: meters that read where a step stood from the step itself.

For a step dw of any optimizer, with g the gradient before it and dL the change of the loss,

    zeta = 1 - dL / (g'dw) = -dw' Hbar dw / (2 g'dw)

with Hbar the Hessian averaged along the step, Hbar = 2 int_0^1 (1 - s) H(w + s dw) ds. For a step
downhill, g'dw < 0, zeta is below 1 if and only if the loss fell. With r the response of the chain
to an alternating gradient (`nyquist_response`) and |dw|^2 = sum(dw^2 / r) it is a product of

    chi = lambda_max(r^1/2 H r^1/2) / 2         the effective sharpness
    s   = dw' Hbar dw / (2 chi |dw|^2)          the share of the top mode in the step
    tau = -g'dw / |dw|^2                        the descent of the step

    zeta = chi s / tau.

Source: Lee and Lee 2026 (arXiv 2608.18415); chi for any chain by its response is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

# A mean over samples is rounded by a few units: beyond this many, zeta is wrong by about 0.1.
_ROUNDING_UNITS = 32


class EdgeFactors(NamedTuple):
    """The factors of a realized edge, `effective_sharpness` * `alignment` / `descent`.

    Attributes:
        realized_edge: zeta, without unit; 1 where the step left the loss as it was.
        effective_sharpness: chi, without unit.
        alignment: s, without unit: 1 for a step along the top mode of a quadratic.
        descent: tau, without unit: 1 for gradient descent.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> at = jnp.array(9.0), jnp.array(1.0), jnp.array(6.0), jnp.array(-2.0)  # of (3 - t)^2
        >>> rodflow.edge_factors(*at, jnp.array(1 / 3), jnp.array(1 / 3))._fields
        ('realized_edge', 'effective_sharpness', 'alignment', 'descent')
    """

    realized_edge: Float[Array, ""]
    effective_sharpness: Float[Array, ""]
    alignment: Float[Array, ""]
    descent: Float[Array, ""]


def realized_edge(
    loss_before: Float[Array, ""],
    loss_after: Float[Array, ""],
    grads: PyTree[Array],
    updates: PyTree[Array],
) -> Float[Array, ""]:
    """Return the realized edge zeta of a step, 1 - dL / (g'dw); the loss fell if it is below 1.

    It costs one forward pass, or none where training evaluates the same loss at the next step
    anyway. The change of the loss is a difference of close numbers. Source: arXiv 2608.18415.
    Theory: docs/theory/meters.md.

    Args:
        loss_before: The loss before the step.
        loss_after: The same loss (of the same batch) after the step.
        grads: The gradient of the loss before the step.
        updates: The step of the parameters.

    Returns:
        zeta, without unit; NaN where the rounding of the loss could change it by more than about
        0.1, since the size of g'dw is below 32 units in the last place of the loss.

    Examples:
        >>> import jax, jax.numpy as jnp, rodflow
        >>> loss, w, dw = (lambda w: 3 * w**2), jnp.array(1.0), jnp.array(-2.0)
        >>> float(rodflow.realized_edge(loss(w), loss(w + dw), jax.grad(loss)(w), dw))
        1.0
    """
    slope = inner(grads, updates)
    change, resolution = _change(loss_before, loss_after)
    zeta = 1 - change.astype(slope.dtype) / slope
    return jnp.where(jnp.abs(slope) > resolution, zeta, jnp.nan)


def edge_factors(
    loss_before: Float[Array, ""],
    loss_after: Float[Array, ""],
    grads: PyTree[Array],
    updates: PyTree[Array],
    response: PyTree[Array],
    effective_sharpness: Float[Array, ""],
) -> EdgeFactors:
    """Return the factors of the realized edge, zeta = chi s / tau.

    No Hessian is needed beyond the effective sharpness, since dw' Hbar dw = 2 (dL - g'dw) exactly.
    Source: arXiv 2608.18415. Theory: docs/theory/meters.md.

    Args:
        loss_before: The loss before the step.
        loss_after: The same loss after the step.
        grads: The gradient of the loss before the step.
        updates: The step of the parameters.
        response: The response of the chain, see `rodflow.nyquist_response`; positive.
        effective_sharpness: The largest effective sharpness, see `rodflow.effective_sharpness`.

    Returns:
        The factors; zeta and the alignment are NaN where rounding hides the change of the loss.

    Examples:
        Gradient descent on one mode, at half the critical learning rate:

        >>> import jax, jax.numpy as jnp, optax, rodflow
        >>> loss, tx = (lambda w: w**2), optax.sgd(0.5)
        >>> state = rodflow.Iteration(loss, tx).init(jnp.array(1.0))
        >>> w, g = state.params, jax.grad(loss)(state.params)
        >>> chi = rodflow.effective_sharpness(loss, tx, state)[0]
        >>> step = -0.5 * g
        >>> factors = rodflow.edge_factors(loss(w), loss(w + step), g, step, jnp.array(0.5), chi)
        >>> print(*(f"{float(x):.2f}" for x in factors))
        0.50 0.50 1.00 1.00
    """
    slope = inner(grads, updates)
    length = inner(updates, jax.tree.map(lambda u, r: u / r, updates, response))
    zeta = realized_edge(loss_before, loss_after, grads, updates)
    descent = -slope / length
    return EdgeFactors(zeta, effective_sharpness, zeta * descent / effective_sharpness, descent)


def directional_sharpness(
    loss: Callable[[PyTree], Float[Array, ""]],
    params: PyTree[Array],
    grads: PyTree[Array],
    updates: PyTree[Array],
) -> Float[Array, ""]:
    """Return the directional sharpness of a step, -dw'H dw / (2 g'dw), by one product with H.

    It is the realized edge with the Hessian before the step in place of its average along it. No
    difference of close numbers is taken. Source: arXiv 2608.18415. Theory: docs/theory/meters.md.

    Args:
        loss: A function of the parameters that returns a scalar.
        params: The parameters before the step.
        grads: The gradient of `loss` there.
        updates: The step of the parameters.

    Returns:
        The directional sharpness, without unit; NaN for no step.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> loss, w, dw = (lambda w: 3 * w**2), jnp.array(1.0), jnp.array(-1.0)
        >>> float(rodflow.directional_sharpness(loss, w, jnp.array(6.0), dw))
        0.5
    """
    tangent = jax.tree.map(lambda u, p: u.astype(p.dtype), updates, params)
    product = jax.jvp(jax.grad(loss), (params,), (tangent,))[1]
    return -inner(updates, product) / (2 * inner(grads, updates))


def secant_sharpness(
    grads_before: PyTree[Array], grads_after: PyTree[Array], updates: PyTree[Array]
) -> Float[Array, ""]:
    """Return the directional sharpness by the secant, -dw'(g(w + dw) - g(w)) / (2 g'dw).

    It costs nothing where training computes both gradients, of the same batch, anyway. Source:
    arXiv 2608.18415. Theory: docs/theory/meters.md.

    Args:
        grads_before: The gradient before the step.
        grads_after: The gradient of the same loss after the step.
        updates: The step of the parameters.

    Returns:
        The directional sharpness with the Hessian averaged evenly along the step, without unit.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> g, after, step = jnp.array(6.0), jnp.array(0.0), jnp.array(-1.0)
        >>> float(rodflow.secant_sharpness(g, after, step))
        0.5
    """
    slope = inner(grads_before, updates)
    return (slope - inner(grads_after, updates)) / (2 * slope)


def inner(a: PyTree[Array], b: PyTree[Array]) -> Float[Array, ""]:
    """Return the inner product of two trees, summed in single precision at least.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rodflow.curvature import inner
        >>> float(inner({"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([3.0, 4.0])}))
        11.0
    """
    products = jax.tree.map(lambda x, y: jnp.sum(_wide(x) * _wide(y)), a, b)
    return jnp.sum(jnp.stack(jax.tree.leaves(products)))


def _wide(x: Array) -> Array:
    return jnp.asarray(x, jnp.promote_types(jnp.result_type(x), jnp.float32))


def _change(before: Array, after: Array) -> tuple[Array, Array]:
    """Return the change of a loss, and the size below which its rounding hides it."""
    before, after = jnp.asarray(before), jnp.asarray(after)
    unit = max(float(jnp.finfo(x.dtype).eps) for x in (before, after))
    before, after = _wide(before), _wide(after)
    return after - before, _ROUNDING_UNITS * unit * jnp.maximum(jnp.abs(before), jnp.abs(after))
