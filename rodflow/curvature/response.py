"""The Nyquist response of a chain: its oscillation under a gradient that alternates in sign.

A mode leaves stability when the linearised map has an eigenvalue -1. For a chain that acts on each
element by itself, the *Nyquist probe* finds where, without a table: freeze the auxiliary leaves and
clocks at their present values and feed the alternating gradient (-1)^t until the update settles
into -(-1)^t r. The edge is where the top eigenvalue of diag(r)^1/2 H diag(r)^1/2 reaches 2.

Norms of whole arrays, which decide a trust ratio (LARS, LAMB) and the clipping of gradients, are
held as they are at the present gradient and momenta (`rodflow.curvature._norms`): where clipping is
active, the response is that much smaller. The response to everything else is linear about zero. It
is that of the chain if it also gives the update of the present gradient; it does not for clipping
that is active element by element, nor for sign and spectral updates (Lion, Muon), which have no
linear response.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow._checks import shown
from rodflow.curvature.settling import Settling
from rodflow.maps.iteration import AbstractIteration, PhaseState


def nyquist_response(
    iteration: AbstractIteration, state: PhaseState | tuple[PyTree, PyTree]
) -> PyTree[Array]:
    """Return the response r of the update to a gradient that alternates in sign.

    r is twice the oscillation of the parameters under a gradient of 1: they move by 2 x from one
    end to the other. For Adam with preconditioner p it is `lr (1 - b1) / ((1 + b1) p)`. Norms in
    the chain (trust ratios, clipping) are held as they are at the present gradient.
    Theory: docs/theory/edge.md.

    Args:
        iteration: The map of single steps.
        state: A point of its phase space, after at least one step for an adaptive method (its
            preconditioner is zero before); also with the optimizer state as Optax has it.

    Returns:
        The response in units of parameters over gradient, of the structure of `params`.

    Raises:
        ValueError: The map is of several updates (`Epoch`), or the state of another one.

    Examples:
        Momentum b1 divides the response by (1 + b1) / (1 - b1), here 3, so that the edge is at a
        curvature three times as large:

        >>> import jax.numpy as jnp, rodflow
        >>> for tx in rodflow.OPTIMIZERS["gd"](0.3), rodflow.heavy_ball(0.3, b1=0.5):
        ...     iteration = rodflow.Iteration(lambda w: w**2, tx)
        ...     print(f"{rodflow.nyquist_response(iteration, iteration.init(jnp.array(1.0))):.4f}")
        0.3000
        0.1000
    """
    _check_map(iteration)
    state = iteration.check(state)
    ones = jax.tree.map(jnp.ones_like, state.params)
    settled = Settling.at_present(iteration, state).settled(ones)
    return jax.tree.map(lambda x: 2 * x, settled.x.params)


def linear_response(iteration: AbstractIteration, state: PhaseState) -> PyTree[Array]:
    """Return the response r as `nyquist_response` does, but linearised about no gradient.

    There no gradient is clipped. Theory: docs/theory/edge.md.

    Args:
        iteration: The map of single steps.
        state: A point of its phase space.

    Returns:
        The response in units of parameters over gradient, of the structure of the parameters.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> from rodflow.curvature import linear_response
        >>> tx = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.5))
        >>> iteration = rodflow.Iteration(lambda w: w**2, tx)
        >>> state = iteration.init(jnp.array(1.0))  # with a gradient of 2, which is halved
        >>> for response in linear_response, rodflow.nyquist_response:
        ...     print(f"{response(iteration, state):.2f}")
        0.50
        0.25
    """
    ones = jax.tree.map(jnp.ones_like, state.params)
    return jax.tree.map(lambda x: 2 * x, oscillation(iteration, state, ones).params)


def oscillation(
    iteration: AbstractIteration,
    state: PhaseState,
    grads: PyTree[Array],
    growth: float | Float[Array, ""] = 0.0,
) -> PhaseState:
    """Return the oscillation x of phase space under the gradients (-1)^t exp(growth t) `grads`.

    The settled state is z[t] = still + (-1)^t exp(growth t) x. Auxiliary leaves and clocks stand as
    they do in `state`. The oscillation is exact to first order in `grads`, for a chain that acts on
    each element by itself. In the frame that alternates with the gradient x solves exp(growth) x =
    -x - B(x), with B the linear response of the increment: for growth 0, it is the rest point of
    the signed rod. Theory: docs/theory/edge.md.

    Args:
        iteration: The map of single steps.
        state: A point of its phase space.
        grads: The gradient at even times, of the structure of `params`.
        growth: The rate of growth per optimizer step.

    Returns:
        The oscillation, with None on the leaves that do not oscillate.

    Raises:
        ValueError: The map is of several updates (`Epoch`).

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> from rodflow.curvature import oscillation
        >>> iteration = rodflow.Iteration(lambda w: w**2, optax.sgd(0.5))
        >>> x = oscillation(iteration, iteration.init(jnp.array(1.0)), grads=jnp.array(2.0))
        >>> float(x.params)  # from +x to -x is a step of 0.5 * 2
        0.5
    """
    return Settling.begin(iteration, state).settled(grads, growth).x


def _check_map(iteration: object) -> None:
    """Raise a `ValueError` unless `iteration` is a map."""
    if not isinstance(iteration, AbstractIteration):
        raise ValueError(
            f"`iteration` is {shown(iteration)}; it must be a map, such as "
            "rodflow.Iteration(loss, tx)."
        )
