r"""Root-free Adam: a momentum divided by the second moment itself.

    m <- b1 m + (1 - b1) g,    s <- b2 s + (1 - b2) g^2,    u = m / (B s + eps)

The second moment is that of root-free RMSProp, s_0 = 1 / B (see `root_free_rms`), and the momentum
that of Adam, without bias correction: the first step is about lr (1 - b1) g. In units of
P^-1/2 H P^-1/2 with P = B s + eps the edge of stability is that of Adam, critical S =
2 (1+b1) / ((1-b1) lr). In its rod flow m oscillates with the parameters and s is auxiliary.

Lin et al. 2024 (arXiv 2402.03496).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rodflow._checks import check_at_least
from rodflow.transforms._curvature import divide_by_curvature, init_curvature, update_curvature
from rodflow.transforms._defaults import ADAM_B2, B1, CURVATURE_EPS


class ScaleByRfAdamState(NamedTuple):
    """State for the root-free Adam algorithm.

    Attributes:
        count: The number of steps so far: an int32 scalar, or a float one as the clock of a flow.
        mu: The first moment, of the shapes of the parameters.
        nu: The second moment, of the shapes of the parameters.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> state = rodflow.scale_by_rf_adam(batch_size=4).init(jnp.zeros(2))
        >>> print(state.mu, state.nu)
        [0. 0.] [0.25 0.25]
    """

    count: jax.typing.ArrayLike
    mu: optax.Updates
    nu: optax.Updates


def scale_by_rf_adam(
    batch_size: jax.typing.ArrayLike,
    b1: jax.typing.ArrayLike = B1,
    b2: jax.typing.ArrayLike = ADAM_B2,
    eps: jax.typing.ArrayLike = CURVATURE_EPS,
    bias_correction: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale updates according to the root-free Adam algorithm.

    See :func:`rodflow.rf_adamw` for the equations.

    Args:
      batch_size: Number of samples that a gradient is the mean over; 1 if it is a sum.
      b1: Decay rate for the exponentially weighted average of grads.
      b2: Decay rate for the exponentially weighted average of squared grads.
      eps: Term added to the denominator.
      bias_correction: If True, divide both averages by one minus the weight of their start.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` object.

    Raises:
      ValueError: ``batch_size`` is below 1.

    Examples:
      >>> import jax.numpy as jnp
      >>> from rodflow.transforms import scale_by_rf_adam
      >>> tx = scale_by_rf_adam(batch_size=100)
      >>> grads = jnp.array([1.0, 0.1, 0.01])
      >>> updates, state = tx.update(grads, tx.init(grads))  # the first update is about g / 10
      >>> print('{:.3f} {:.3f} {:.3f}'.format(*updates))
      0.091 0.010 0.001
    """
    check_at_least("batch_size", batch_size, 1)

    def init_fn(params):
        return ScaleByRfAdamState(
            count=jnp.zeros([], jnp.int32),
            mu=optax.tree.zeros_like(params),
            nu=init_curvature(params, batch_size),
        )

    def update_fn(updates, state, params=None, **extra_args):
        del params, extra_args
        mu = optax.tree.cast_like(optax.tree.update_moment(updates, state.mu, b1, 1), state.mu)
        nu = update_curvature(updates, state.nu, b2)
        count = optax.safe_increment(state.count)
        mu_hat, nu_hat = mu, nu
        if bias_correction:
            mu_hat = optax.tree.bias_correction(mu, b1, count)
            nu_hat = optax.tree.bias_correction(nu, b2, count)
        updates = divide_by_curvature(mu_hat, nu_hat, batch_size, eps)
        return updates, ScaleByRfAdamState(count=count, mu=mu, nu=nu)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def rf_adamw(
    learning_rate: optax.ScalarOrSchedule,
    batch_size: jax.typing.ArrayLike,
    b1: jax.typing.ArrayLike = B1,
    b2: jax.typing.ArrayLike = ADAM_B2,
    eps: jax.typing.ArrayLike = CURVATURE_EPS,
    weight_decay: optax.ScalarOrSchedule = 1e-2,
    bias_correction: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""The root-free AdamW optimizer.

    AdamW that divides by the second moment itself. With :math:`\alpha_t` the learning rate,
    :math:`B` the ``batch_size``, :math:`\beta_1, \beta_2, \varepsilon, \lambda` the arguments
    ``b1``, ``b2``, ``eps`` and ``weight_decay``, the state :math:`(m_0, s_0) = (0, 1/B)` and the
    updates :math:`u_t` are, for :math:`t > 0`,

    .. math::

      \begin{align*}
        m_t &\leftarrow \beta_1 \cdot m_{t-1} + (1-\beta_1) \cdot g_t \\
        s_t &\leftarrow \beta_2 \cdot s_{t-1} + (1-\beta_2) \cdot {g_t}^2 \\
        u_t &\leftarrow -\alpha_t \cdot
          \left( m_t / (B \cdot s_t + \varepsilon) + \lambda w_{t-1} \right).
      \end{align*}

    Theory: docs/theory/published.md.

    Args:
      learning_rate: A global scaling factor, either fixed or evolving along iterations with a
        scheduler, see :func:`optax.scale_by_learning_rate`.
      batch_size: Number of samples that a gradient is the mean over; 1 if it is a sum.
      b1: Exponential decay rate to track the first moment of past gradients.
      b2: Exponential decay rate to track the second moment of past gradients.
      eps: A small constant added to the denominator.
      weight_decay: Strength of the weight decay, which is multiplied by the learning rate.
      bias_correction: If True, replace :math:`m_t` by :math:`m_t / (1-\beta_1^t)` and
        :math:`s_t` by :math:`s_t / (1-\beta_2^t)`, though :math:`s` does not start from zero.

    Returns:
      The corresponding :class:`optax.GradientTransformationExtraArgs`.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from rodflow.transforms import rf_adamw
      >>> def f(x): return jnp.mean((x - jnp.arange(4.0)) ** 2)  # a mean over four samples
      >>> solver = rf_adamw(learning_rate=0.1, batch_size=4)
      >>> params = jnp.array(3.0)
      >>> opt_state = solver.init(params)
      >>> for _ in range(3):
      ...   updates, opt_state = solver.update(jax.grad(f)(params), opt_state, params)
      ...   params = optax.apply_updates(params, updates)
      ...   print('Objective function: {:.2E}'.format(f(params)))
      Objective function: 3.41E+00
      Objective function: 3.24E+00
      Objective function: 3.04E+00

    References:
      Lin et al, `Can We Remove the Square-Root in Adaptive Gradient Methods? A Second-Order
      Perspective <https://arxiv.org/abs/2402.03496>`_, 2024

    .. seealso:: :func:`optax.adamw`, :func:`rodflow.rf_rmsprop`.
    """
    return optax.chain(
        scale_by_rf_adam(batch_size, b1=b1, b2=b2, eps=eps, bias_correction=bias_correction),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )
