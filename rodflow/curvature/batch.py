r"""Batch sharpness: the directional sharpness of minibatch steps, averaged over batches.

With g_b and H_b the gradient and the Hessian of the loss of batch b,

    batch sharpness = E_b[ g_b' H_b g_b / |g_b|^2 ],

which settles at 2 / lr for SGD where noise keeps the full-batch sharpness below it (Andreyev and
Beneventano 2024, arXiv 2412.20553). With momentum b in trace form it settles at 2 (1 - b) / lr for
small batches and at 2 (1 + b) / lr for large ones (arXiv 2604.14108). For the step dw_b that any
optimizer takes on batch b the generalization is

    E_b[ dw_b' H_b dw_b ] / (-E_b[ dw_b' g_b ]),

whose half is 1 where the loss of the batch, to second order, is on average as large after the step
as before it.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow.curvature.realized import inner


def batch_sharpness(
    loss: Callable[[PyTree, PyTree], Float[Array, ""]], params: PyTree[Array], batches: PyTree
) -> Float[Array, ""]:
    r"""Return the batch sharpness, the mean of :math:`g_b^\top H_b g_b / \|g_b\|^2` over batches.

    It costs a gradient and a Hessian-vector product for each batch. Source: arXiv 2412.20553.
    Theory: docs/theory/meters.md.

    Args:
        loss: A function of parameters and a batch that returns a scalar.
        params: The parameters.
        batches: A pytree of arrays, stacked along their first axis, as of `rodflow.Minibatches`.

    Returns:
        The batch sharpness in units of loss over squared parameters; compare it with 2 / lr.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> loss = lambda w, curvature: curvature * w**2 / 2
        >>> float(rodflow.batch_sharpness(loss, jnp.array(1.0), jnp.array([1.0, 3.0])))
        2.0
    """

    def one(batch: PyTree) -> Array:
        grads, _, product = _step_and_product(loss, params, batch, lambda g: g)
        return inner(grads, product) / inner(grads, grads)

    return jnp.mean(jax.lax.map(one, batches))


def generalized_batch_sharpness(
    loss: Callable[[PyTree, PyTree], Float[Array, ""]],
    params: PyTree[Array],
    batches: PyTree,
    step: Callable[[PyTree], PyTree],
) -> Float[Array, ""]:
    """Return the batch sharpness of any optimizer's steps, E[dw'H_b dw] / (-E[dw'g_b]).

    Its half is 1 at the edge; that of SGD is the learning rate times the batch sharpness, but for
    the order of ratio and mean. Source: arXiv 2412.20553. Theory: docs/theory/meters.md.

    Args:
        loss: A function of parameters and a batch that returns a scalar.
        params: The parameters.
        batches: A pytree of arrays, stacked along their first axis.
        step: A function from the gradient of a batch to the step that the optimizer would take
            with it, such as `lambda g: tx.update(g, opt_state, params)[0]`.

    Returns:
        The generalized batch sharpness, without unit.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> loss = lambda w, curvature: curvature * w**2 / 2
        >>> w, curvatures = jnp.array(1.0), jnp.array([2.0, 2.0])
        >>> float(rodflow.generalized_batch_sharpness(loss, w, curvatures, lambda g: -0.5 * g))
        1.0
    """

    def one(batch: PyTree) -> tuple[Array, Array]:
        grads, updates, product = _step_and_product(loss, params, batch, step)
        return inner(updates, product), inner(updates, grads)

    curvature, slope = jax.lax.map(one, batches)
    return -jnp.mean(curvature) / jnp.mean(slope)


def _step_and_product(
    loss: Callable[[PyTree, PyTree], Array],
    params: PyTree,
    batch: PyTree,
    step: Callable[[PyTree], PyTree],
) -> tuple[PyTree, PyTree, PyTree]:
    """Return the gradient of a batch, the step for it, and the product of its Hessian with that."""
    gradient = jax.grad(lambda p: loss(p, batch))
    grads = gradient(params)
    updates = step(grads)
    tangent = jax.tree.map(lambda u, p: u.astype(p.dtype), updates, params)
    return grads, updates, jax.jvp(gradient, (params,), (tangent,))[1]
