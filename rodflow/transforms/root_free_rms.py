r"""Root-free RMSProp: the second moment as a curvature, without its square root.

    s <- b2 s + (1 - b2) g^2,        u = g / (B s + eps)

With g the mean gradient over a batch of size B, B g^2 estimates the diagonal of the Fisher matrix,
hence of the curvature, and u is a Newton step, in units of the parameters. The preconditioner B s
starts at 1, as a curvature known beforehand: s_0 = 1 / B, there is no bias to correct, and the
first step is not sign descent. In units of P^-1/2 H P^-1/2 with P = B s + eps the edge of stability
is that of RMSProp, critical S = 2 / lr, and s is an auxiliary variable of the rod flow. On
f = lam x^2 / 2 the iterates end in a cycle of period two with the loss
(lr / 2 - eps / lam) / (2 B), which depends on lam by eps alone; that of RMSProp is lam lr^2 / 8.

Lin et al. 2024 (arXiv 2402.03496).
"""

from typing import NamedTuple

import jax
import optax

from rodflow._checks import check_at_least
from rodflow.transforms._curvature import divide_by_curvature, init_curvature, update_curvature
from rodflow.transforms._defaults import CURVATURE_EPS, RMS_B2


class ScaleByRfRmsState(NamedTuple):
    """State for the root-free RMSProp algorithm.

    Attributes:
        nu: The second moment, of the shapes of the parameters.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> print(rodflow.scale_by_rf_rms(batch_size=4).init(jnp.zeros(2)).nu)
        [0.25 0.25]
    """

    nu: optax.Updates


def scale_by_rf_rms(
    batch_size: jax.typing.ArrayLike,
    b2: jax.typing.ArrayLike = RMS_B2,
    eps: jax.typing.ArrayLike = CURVATURE_EPS,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale updates by the exp. moving avg of their squares, without a root.

    See :func:`rodflow.rf_rmsprop` for the equations.

    Args:
      batch_size: Number of samples that a gradient is the mean over; 1 if it is a sum.
      b2: Decay rate for the exponentially weighted average of squared grads.
      eps: Term added to the denominator.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` object.

    Raises:
      ValueError: ``batch_size`` is below 1.

    Examples:
      >>> import jax.numpy as jnp
      >>> from rodflow.transforms import scale_by_rf_rms
      >>> tx = scale_by_rf_rms(batch_size=100)
      >>> grads = jnp.array([1.0, 0.1, 0.01])
      >>> updates, state = tx.update(grads, tx.init(grads))  # the first update is about g
      >>> print('{:.3f} {:.3f} {:.3f}'.format(*updates))
      0.502 0.100 0.010
    """
    check_at_least("batch_size", batch_size, 1)

    def init_fn(params):
        return ScaleByRfRmsState(nu=init_curvature(params, batch_size))

    def update_fn(updates, state, params=None, **extra_args):
        del params, extra_args
        nu = update_curvature(updates, state.nu, b2)
        return divide_by_curvature(updates, nu, batch_size, eps), ScaleByRfRmsState(nu=nu)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def rf_rmsprop(
    learning_rate: optax.ScalarOrSchedule,
    batch_size: jax.typing.ArrayLike,
    b2: jax.typing.ArrayLike = RMS_B2,
    eps: jax.typing.ArrayLike = CURVATURE_EPS,
    momentum: jax.typing.ArrayLike | None = None,
    weight_decay: optax.ScalarOrSchedule = 0.0,
) -> optax.GradientTransformationExtraArgs:
    r"""The root-free RMSProp optimizer.

    RMSProp that divides by the second moment itself. With :math:`\alpha_t` the learning rate,
    :math:`B` the ``batch_size``, :math:`\beta_2, \varepsilon, a, \lambda` the arguments ``b2``,
    ``eps``, ``momentum`` (0 for None) and ``weight_decay``, the state
    :math:`(s_0, d_0) = (1/B, 0)` and the updates :math:`u_t` are, for :math:`t > 0`,

    .. math::

      \begin{align*}
        s_t &\leftarrow \beta_2 \cdot s_{t-1} + (1-\beta_2) \cdot {g_t}^2 \\
        d_t &\leftarrow a \cdot d_{t-1} + g_t / (B \cdot s_t + \varepsilon) + \lambda w_{t-1} \\
        u_t &\leftarrow -\alpha_t \cdot d_t.
      \end{align*}

    Theory: docs/theory/published.md.

    Args:
      learning_rate: A global scaling factor, either fixed or evolving along iterations with a
        scheduler, see :func:`optax.scale_by_learning_rate`.
      batch_size: Number of samples that a gradient is the mean over; 1 if it is a sum.
      b2: Exponential decay rate to track the second moment of past gradients.
      eps: A small constant added to the denominator.
      momentum: Decay rate of the sum of past directions; None for no such memory.
      weight_decay: Strength of the weight decay, which passes through the momentum.

    Returns:
      The corresponding :class:`optax.GradientTransformationExtraArgs`.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from rodflow.transforms import rf_rmsprop
      >>> def f(x): return jnp.mean((x - jnp.arange(4.0)) ** 2)  # a mean over four samples
      >>> solver = rf_rmsprop(learning_rate=0.1, batch_size=4)
      >>> params = jnp.array(3.0)
      >>> opt_state = solver.init(params)
      >>> for _ in range(3):
      ...   updates, opt_state = solver.update(jax.grad(f)(params), opt_state, params)
      ...   params = optax.apply_updates(params, updates)
      ...   print('Objective function: {:.2E}'.format(f(params)))
      Objective function: 2.88E+00
      Objective function: 2.50E+00
      Objective function: 2.23E+00

    References:
      Lin et al, `Can We Remove the Square-Root in Adaptive Gradient Methods? A Second-Order
      Perspective <https://arxiv.org/abs/2402.03496>`_, 2024

    .. seealso:: :func:`rodflow.rmsprop`, :func:`rodflow.rf_adamw`.
    """
    return optax.chain(
        scale_by_rf_rms(batch_size, b2=b2, eps=eps),
        optax.add_decayed_weights(weight_decay),
        optax.identity() if momentum is None else optax.trace(momentum),
        optax.scale_by_learning_rate(learning_rate),
    )
