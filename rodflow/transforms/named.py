r"""The nine optimizers of the papers by name, in the papers' form.

Momentum is an exponential moving average here, m <- b1 m + (1 - b1) g, where ``optax.sgd`` has the
trace m <- b1 m + g: the critical sharpness differs by the factor 1 - b1, and so does the learning
rate at which a run reaches the edge of stability. RMSProp has bias correction and eps outside the
root, as the Adams have.

The set is that of Regis & Chewi 2026 (arXiv 2605.06821) with those of Cohen et al. 2021, 2022 and
2025 (arXiv 2103.00065, 2207.14484, 2410.24206).
"""

from collections.abc import Callable

import jax
import optax

from rodflow.transforms._defaults import B1, EPS, RMS_B2
from rodflow.transforms.scalar_adam import scalar_adam, scalar_nadam
from rodflow.transforms.scalar_rms import scalar_rmsprop


def _ema_momentum(learning_rate, b1, nesterov):
    # The trace of (1 - b1) g is exactly the average m, so the state reads as in the papers.
    return optax.chain(
        optax.scale(1 - b1),
        optax.trace(b1, nesterov=nesterov),
        optax.scale_by_learning_rate(learning_rate),
    )


def heavy_ball(
    learning_rate: optax.ScalarOrSchedule, b1: jax.typing.ArrayLike = B1
) -> optax.GradientTransformationExtraArgs:
    r"""Gradient descent with heavy ball momentum, as an exponential moving average.

    .. math::

      \begin{align*}
        m_t &\leftarrow \beta_1 \cdot m_{t-1} + (1-\beta_1) \cdot g_t \\
        u_t &\leftarrow -\alpha_t \cdot m_t
      \end{align*}

    Theory: docs/theory/edge.md.

    Args:
      learning_rate: A global scaling factor, either fixed or evolving along iterations with a
        scheduler, see :func:`optax.scale_by_learning_rate`.
      b1: Exponential decay rate to track past gradients.

    Returns:
      The corresponding :class:`optax.GradientTransformationExtraArgs`.

    Examples:
      >>> import jax.numpy as jnp
      >>> from rodflow.transforms import heavy_ball
      >>> solver = heavy_ball(learning_rate=1.0, b1=0.75)
      >>> opt_state = solver.init(jnp.array(0.0))
      >>> for _ in range(3):
      ...   updates, opt_state = solver.update(jnp.array(1.0), opt_state)
      ...   print(updates)
      -0.25
      -0.4375
      -0.578125

    References:
      Polyak, `Some methods of speeding up the convergence of iteration methods
      <https://doi.org/10.1016/0041-5553(64)90137-5>`_, 1964

    .. seealso:: :func:`optax.sgd`, whose ``momentum`` is the trace form.
    """
    return _ema_momentum(learning_rate, b1, nesterov=False)


def nesterov(
    learning_rate: optax.ScalarOrSchedule, b1: jax.typing.ArrayLike = B1
) -> optax.GradientTransformationExtraArgs:
    r"""Gradient descent with Nesterov momentum, as an exponential moving average.

    .. math::

      \begin{align*}
        m_t &\leftarrow \beta_1 \cdot m_{t-1} + (1-\beta_1) \cdot g_t \\
        u_t &\leftarrow -\alpha_t \cdot (\beta_1 \cdot m_t + (1-\beta_1) \cdot g_t)
      \end{align*}

    Theory: docs/theory/edge.md.

    Args:
      learning_rate: A global scaling factor, either fixed or evolving along iterations with a
        scheduler, see :func:`optax.scale_by_learning_rate`.
      b1: Exponential decay rate to track past gradients.

    Returns:
      The corresponding :class:`optax.GradientTransformationExtraArgs`.

    Examples:
      >>> import jax.numpy as jnp
      >>> from rodflow.transforms import nesterov
      >>> solver = nesterov(learning_rate=1.0, b1=0.75)
      >>> opt_state = solver.init(jnp.array(0.0))
      >>> for _ in range(2):
      ...   updates, opt_state = solver.update(jnp.array(1.0), opt_state)
      ...   print(updates)
      -0.4375
      -0.578125

    References:
      Sutskever et al, `On the importance of initialization and momentum in deep learning
      <https://proceedings.mlr.press/v28/sutskever13.pdf>`_, 2013

    .. seealso:: :func:`optax.sgd`, whose ``momentum`` is the trace form.
    """
    return _ema_momentum(learning_rate, b1, nesterov=True)


def rmsprop(
    learning_rate: optax.ScalarOrSchedule,
    b2: jax.typing.ArrayLike = RMS_B2,
    eps: jax.typing.ArrayLike = EPS,
) -> optax.GradientTransformationExtraArgs:
    r"""RMSProp with bias correction and ``eps`` outside of the square root.

    .. math::

      \begin{align*}
        \nu_t &\leftarrow \beta_2 \cdot \nu_{t-1} + (1-\beta_2) \cdot {g_t}^2 \\
        \hat{\nu}_t &\leftarrow \nu_t / {(1-\beta_2^t)} \\
        u_t &\leftarrow -\alpha_t \cdot g_t / \left(\sqrt{\hat{\nu}_t} + \varepsilon \right)
      \end{align*}

    Theory: docs/theory/edge.md.

    Args:
      learning_rate: A global scaling factor, either fixed or evolving along iterations with a
        scheduler, see :func:`optax.scale_by_learning_rate`.
      b2: Exponential decay rate to track the second moment of past gradients.
      eps: A small constant added to the denominator, outside of the square root.

    Returns:
      The corresponding :class:`optax.GradientTransformationExtraArgs`.

    Examples:
      >>> import jax.numpy as jnp
      >>> from rodflow.transforms import rmsprop
      >>> solver = rmsprop(learning_rate=1.0)
      >>> grads = jnp.array([3.0, -0.1])
      >>> updates, opt_state = solver.update(grads, solver.init(grads))  # the first is -sign(g)
      >>> print(updates.round(3))
      [-1.  1.]

    References:
      Cohen et al, `Understanding Optimization in Deep Learning with Central Flows
      <https://arxiv.org/abs/2410.24206>`_, 2025

    .. seealso:: :func:`optax.rmsprop`, whose defaults differ.
    """
    return optax.rmsprop(learning_rate, decay=b2, eps=eps, eps_in_sqrt=False, bias_correction=True)


OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformationExtraArgs]] = {
    "gd": optax.sgd,
    "heavy_ball": heavy_ball,
    "nesterov": nesterov,
    "scalar_rmsprop": scalar_rmsprop,
    "rmsprop": rmsprop,
    "scalar_adam": scalar_adam,
    "adam": optax.adam,
    "scalar_nadam": scalar_nadam,
    "nadam": optax.nadam,
}
"""Name -> constructor(learning_rate, **hyperparameters)."""
