r"""Scalar RMSProp: RMSProp whose second moment is one number, the squared gradient norm.

    nu <- b2 nu + (1 - b2) ||g||^2,        u = g / (sqrt(nu_hat) + eps)

with ||g|| the global norm (the sum runs over every element of every leaf, it is not a mean). The
preconditioner is a multiple of the identity, so the method commutes with rotations of the
parameters and its edge of stability is that of gradient descent, critical S = 2 / lr in units of
P^-1/2 H P^-1/2 with P = sqrt(nu_hat) + eps. In the rod flow of this method, nu is an auxiliary
variable, because it is blind to the sign of g.

Scalar RMSProp is due to Cohen et al. 2025 (arXiv 2410.24206).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rodflow.transforms._defaults import EPS, RMS_B2
from rodflow.transforms._scalar_moment import init_scalar_moment, update_scalar_moment


class ScaleByScalarRmsState(NamedTuple):
    """State for the scalar RMSProp algorithm.

    Attributes:
        count: The number of steps so far: an int32 scalar, or a float one as the clock of a flow.
        nu: The second moment, a real scalar in float32 or wider.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> tx, w = rodflow.scale_by_scalar_rms(b2=0.5), jnp.zeros(2)
        >>> _, state = tx.update(jnp.array([3.0, 4.0]), tx.init(w))
        >>> print(state.count, state.nu)  # half of 3^2 + 4^2
        1 12.5
    """

    count: jax.typing.ArrayLike
    nu: jax.Array


def scale_by_scalar_rms(
    b2: jax.typing.ArrayLike = RMS_B2,
    eps: jax.typing.ArrayLike = EPS,
    bias_correction: bool = True,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale updates by the root of the exp. moving avg of their squared global norm.

    See :func:`rodflow.scalar_rmsprop` for the equations.

    Args:
      b2: Decay rate for the exponentially weighted average of the squared norm.
      eps: Term added to the denominator, outside the square root.
      bias_correction: If True, apply bias correction to the average.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` object.

    Examples:
      >>> import jax.numpy as jnp
      >>> from rodflow.transforms import scale_by_scalar_rms
      >>> tx = scale_by_scalar_rms()
      >>> grads = {"w": jnp.array([2.0, 1.0]), "b": jnp.array(2.0)}
      >>> updates, state = tx.update(grads, tx.init(grads))  # the first update is g / ||g||
      >>> print('{:.3f} {:.3f} {:.3f}'.format(*updates["w"], updates["b"]))
      0.667 0.333 0.667

    .. note::
      The norm runs over the leaves that this transformation sees: inside :func:`optax.masked` or
      :func:`optax.partition` every group has a norm of its own.
    """

    def init_fn(params):
        return ScaleByScalarRmsState(count=jnp.zeros([], jnp.int32), nu=init_scalar_moment(params))

    def update_fn(updates, state, params=None, **extra_args):
        del params, extra_args
        nu = update_scalar_moment(updates, state.nu, b2)
        count_inc = optax.safe_increment(state.count)
        nu_hat = optax.tree.bias_correction(nu, b2, count_inc) if bias_correction else nu
        denominator = jnp.sqrt(nu_hat) + eps
        updates = jax.tree.map(lambda g: (g / denominator).astype(g.dtype), updates)
        return updates, ScaleByScalarRmsState(count=count_inc, nu=nu)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def scalar_rmsprop(
    learning_rate: optax.ScalarOrSchedule,
    b2: jax.typing.ArrayLike = RMS_B2,
    eps: jax.typing.ArrayLike = EPS,
    bias_correction: bool = True,
) -> optax.GradientTransformationExtraArgs:
    r"""The scalar RMSProp optimizer.

    RMSProp with one adaptive step size for all parameters, set by the norm of the gradient. With
    :math:`\alpha_t` the learning rate and :math:`\beta_2, \varepsilon` the arguments ``b2`` and
    ``eps``, the state :math:`\nu_0 = 0` and the updates :math:`u_t` are, for :math:`t > 0`,

    .. math::

      \begin{align*}
        \nu_t &\leftarrow \beta_2 \cdot \nu_{t-1} + (1-\beta_2) \cdot \|g_t\|_2^2 \\
        \hat{\nu}_t &\leftarrow \nu_t / {(1-\beta_2^t)} \\
        u_t &\leftarrow -\alpha_t \cdot g_t / \left(\sqrt{\hat{\nu}_t} + \varepsilon \right).
      \end{align*}

    Theory: docs/theory/edge.md.

    Args:
      learning_rate: A global scaling factor, either fixed or evolving along iterations with a
        scheduler, see :func:`optax.scale_by_learning_rate`.
      b2: Exponential decay rate to track the squared norm of past gradients.
      eps: A small constant added to the denominator, outside of the square root.
      bias_correction: If True, apply bias correction; otherwise
        :math:`\hat{\nu}_t = \nu_t`.

    Returns:
      The corresponding :class:`optax.GradientTransformationExtraArgs`.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from rodflow.transforms import scalar_rmsprop
      >>> def f(x): return jnp.sum(x ** 2)  # simple quadratic function
      >>> solver = scalar_rmsprop(learning_rate=0.1)
      >>> params = jnp.array([1., 2., 3.])
      >>> opt_state = solver.init(params)
      >>> for _ in range(3):
      ...   updates, opt_state = solver.update(jax.grad(f)(params), opt_state, params)
      ...   params = optax.apply_updates(params, updates)
      ...   print('Objective function: {:.2E}'.format(f(params)))
      Objective function: 1.33E+01
      Objective function: 1.26E+01
      Objective function: 1.19E+01

    References:
      Cohen et al, `Understanding Optimization in Deep Learning with Central Flows
      <https://arxiv.org/abs/2410.24206>`_, 2025

    .. seealso:: :func:`optax.rmsprop`, :func:`rodflow.scalar_adam`.
    """
    return optax.chain(
        scale_by_scalar_rms(b2=b2, eps=eps, bias_correction=bias_correction),
        optax.scale_by_learning_rate(learning_rate),
    )
