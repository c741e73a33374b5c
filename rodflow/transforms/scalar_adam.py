r"""Scalar Adam and scalar NAdam: Adam whose second moment is the squared gradient norm.

    m <- b1 m + (1 - b1) g,    nu <- b2 nu + (1 - b2) ||g||^2,    u = m_hat / (sqrt(nu_hat) + eps)

The first moment is a pytree like the gradient, the second moment one number, see `scalar_rms`. Both
methods commute with rotations. In units of P^-1/2 H P^-1/2, P = sqrt(nu_hat) + eps, their edges are
those of EMA momentum, critical S = 2 (1+b1) / ((1-b1) lr) for Adam and
2 (1+b1) / ((1-b1) (1+2 b1) lr) for NAdam. In their rod flows m oscillates with the parameters and
nu is an auxiliary variable.

Regis & Chewi 2026 (arXiv 2605.06821) study both at the edge of stability.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rodflow.transforms._defaults import ADAM_B2, B1, EPS
from rodflow.transforms._scalar_moment import init_scalar_moment, update_scalar_moment


class ScaleByScalarAdamState(NamedTuple):
    """State for the scalar Adam and scalar NAdam algorithms.

    Attributes:
        count: The number of steps so far: an int32 scalar, or a float one as the clock of a flow.
        mu: The first moment, of the shapes of the parameters.
        nu: The second moment, a real scalar in float32 or wider.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> state = rodflow.scale_by_scalar_adam().init(jnp.zeros(2))
        >>> print(state.mu, state.nu)
        [0. 0.] 0.0
    """

    count: jax.typing.ArrayLike
    mu: optax.Updates
    nu: jax.Array


def _adam_momentum(mu, updates, b1, count):
    """Return the bias-corrected first moment of Adam."""
    del updates
    return optax.tree.bias_correction(mu, b1, count)


def _nadam_momentum(mu, updates, b1, count):
    """Return the first moment of NAdam: that of the next step, if the gradient stayed as it is."""
    return jax.tree.map(
        lambda m, g: b1 * m + (1 - b1) * g,
        # The moment of the next step contains b1 mu, which is corrected as at that step.
        optax.tree.bias_correction(mu, b1, optax.safe_increment(count)),
        optax.tree.bias_correction(updates, b1, count),
    )


def _scale_by_moments(momentum, b1, b2, eps) -> optax.GradientTransformationExtraArgs:
    """Scale ``momentum(mu, updates, b1, count)`` by the root of the scalar second moment."""

    def init_fn(params):
        return ScaleByScalarAdamState(
            count=jnp.zeros([], jnp.int32),
            mu=optax.tree.zeros_like(params),
            nu=init_scalar_moment(params),
        )

    def update_fn(updates, state, params=None, **extra_args):
        del params, extra_args
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = update_scalar_moment(updates, state.nu, b2)
        count_inc = optax.safe_increment(state.count)
        mu_hat = momentum(mu, updates, b1, count_inc)
        denominator = jnp.sqrt(optax.tree.bias_correction(nu, b2, count_inc)) + eps
        updates = jax.tree.map(lambda m, g: (m / denominator).astype(g.dtype), mu_hat, updates)
        # b1 may be an array wider than the parameters (Optax would then widen mu).
        mu = optax.tree.cast_like(mu, state.mu)
        return updates, ScaleByScalarAdamState(count=count_inc, mu=mu, nu=nu)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def scale_by_scalar_adam(
    b1: jax.typing.ArrayLike = B1,
    b2: jax.typing.ArrayLike = ADAM_B2,
    eps: jax.typing.ArrayLike = EPS,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale updates according to the scalar Adam algorithm.

    See :func:`rodflow.scalar_adam` for the equations. As in :func:`rodflow.scale_by_scalar_rms`,
    the norm runs over the leaves that this transformation sees.

    Args:
      b1: Decay rate for the exponentially weighted average of grads.
      b2: Decay rate for the exponentially weighted average of the squared norm of grads.
      eps: Term added to the denominator, outside the square root.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` object.

    Examples:
      >>> import jax.numpy as jnp
      >>> from rodflow.transforms import scale_by_scalar_adam
      >>> tx = scale_by_scalar_adam()
      >>> grads = {"w": jnp.array([2.0, 1.0]), "b": jnp.array(2.0)}
      >>> updates, state = tx.update(grads, tx.init(grads))  # the first update is g / ||g||
      >>> print('{:.3f} {:.3f} {:.3f}'.format(*updates["w"], updates["b"]))
      0.667 0.333 0.667
    """
    return _scale_by_moments(_adam_momentum, b1, b2, eps)


def scale_by_scalar_nadam(
    b1: jax.typing.ArrayLike = B1,
    b2: jax.typing.ArrayLike = ADAM_B2,
    eps: jax.typing.ArrayLike = EPS,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale updates according to the scalar NAdam algorithm.

    See :func:`rodflow.scalar_nadam` for the equations.

    Args:
      b1: Decay rate for the exponentially weighted average of grads.
      b2: Decay rate for the exponentially weighted average of the squared norm of grads.
      eps: Term added to the denominator, outside the square root.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` object.

    Examples:
      >>> import jax.numpy as jnp
      >>> from rodflow.transforms import scale_by_scalar_nadam
      >>> tx = scale_by_scalar_nadam()
      >>> grads = {"w": jnp.array([2.0, 1.0]), "b": jnp.array(2.0)}
      >>> updates, state = tx.update(grads, tx.init(grads))  # longer than g / ||g|| by 28 / 19
      >>> print('{:.3f} {:.3f} {:.3f}'.format(*updates["w"], updates["b"]))
      0.982 0.491 0.982
    """
    return _scale_by_moments(_nadam_momentum, b1, b2, eps)


def scalar_adam(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = B1,
    b2: jax.typing.ArrayLike = ADAM_B2,
    eps: jax.typing.ArrayLike = EPS,
) -> optax.GradientTransformationExtraArgs:
    r"""The scalar Adam optimizer.

    Adam with one adaptive step size for all parameters, set by the norm of the gradient. With
    :math:`\alpha_t` the learning rate and :math:`\beta_1, \beta_2, \varepsilon` the arguments
    ``b1``, ``b2`` and ``eps``, the state :math:`(m_0, \nu_0) = (0, 0)` and the updates :math:`u_t`
    are, for :math:`t > 0`,

    .. math::

      \begin{align*}
        m_t &\leftarrow \beta_1 \cdot m_{t-1} + (1-\beta_1) \cdot g_t \\
        \nu_t &\leftarrow \beta_2 \cdot \nu_{t-1} + (1-\beta_2) \cdot \|g_t\|_2^2 \\
        \hat{m}_t &\leftarrow m_t / {(1-\beta_1^t)} \\
        \hat{\nu}_t &\leftarrow \nu_t / {(1-\beta_2^t)} \\
        u_t &\leftarrow -\alpha_t \cdot \hat{m}_t / \left(\sqrt{\hat{\nu}_t} + \varepsilon \right).
      \end{align*}

    Theory: docs/theory/edge.md.

    Args:
      learning_rate: A global scaling factor, either fixed or evolving along iterations with a
        scheduler, see :func:`optax.scale_by_learning_rate`.
      b1: Exponential decay rate to track the first moment of past gradients.
      b2: Exponential decay rate to track the squared norm of past gradients.
      eps: A small constant added to the denominator, outside of the square root.

    Returns:
      The corresponding :class:`optax.GradientTransformationExtraArgs`.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from rodflow.transforms import scalar_adam
      >>> def f(x): return jnp.sum(x ** 2)  # simple quadratic function
      >>> solver = scalar_adam(learning_rate=0.1)
      >>> params = jnp.array([1., 2., 3.])
      >>> opt_state = solver.init(params)
      >>> for _ in range(2):
      ...   updates, opt_state = solver.update(jax.grad(f)(params), opt_state, params)
      ...   params = optax.apply_updates(params, updates)
      ...   print('Objective function: {:.2E}'.format(f(params)))
      Objective function: 1.33E+01
      Objective function: 1.25E+01

    References:
      Regis and Chewi, `A Rod Flow Model for Adam at the Edge of Stability
      <https://arxiv.org/abs/2605.06821>`_, 2026

    .. seealso:: :func:`optax.adam`, :func:`rodflow.scalar_nadam`, :func:`rodflow.scalar_rmsprop`.
    """
    return optax.chain(
        scale_by_scalar_adam(b1=b1, b2=b2, eps=eps),
        optax.scale_by_learning_rate(learning_rate),
    )


def scalar_nadam(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = B1,
    b2: jax.typing.ArrayLike = ADAM_B2,
    eps: jax.typing.ArrayLike = EPS,
) -> optax.GradientTransformationExtraArgs:
    r"""The scalar NAdam optimizer.

    :func:`rodflow.scalar_adam` with Nesterov's momentum: the same :math:`m_t`,
    :math:`\hat{\nu}_t` and :math:`u_t`, with

    .. math::

      \hat{m}_t \leftarrow
        \beta_1 m_t / {(1-\beta_1^{t+1})} + (1 - \beta_1) g_t / {(1-\beta_1^t)}.

    Theory: docs/theory/edge.md.

    Args:
      learning_rate: A global scaling factor, either fixed or evolving along iterations with a
        scheduler, see :func:`optax.scale_by_learning_rate`.
      b1: Exponential decay rate to track the first moment of past gradients.
      b2: Exponential decay rate to track the squared norm of past gradients.
      eps: A small constant added to the denominator, outside of the square root.

    Returns:
      The corresponding :class:`optax.GradientTransformationExtraArgs`.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from rodflow.transforms import scalar_nadam
      >>> def f(x): return jnp.sum(x ** 2)  # simple quadratic function
      >>> solver = scalar_nadam(learning_rate=0.1)
      >>> params = jnp.array([1., 2., 3.])
      >>> opt_state = solver.init(params)
      >>> for _ in range(2):
      ...   updates, opt_state = solver.update(jax.grad(f)(params), opt_state, params)
      ...   params = optax.apply_updates(params, updates)
      ...   print('Objective function: {:.2E}'.format(f(params)))
      Objective function: 1.29E+01
      Objective function: 1.21E+01

    References:
      Dozat, `Incorporating Nesterov Momentum into Adam
      <https://openreview.net/pdf?id=OM0jvwB8jIp57ZJjtNEZ>`_, 2016

      Regis and Chewi, `A Rod Flow Model for Adam at the Edge of Stability
      <https://arxiv.org/abs/2605.06821>`_, 2026

    .. seealso:: :func:`optax.nadam`, :func:`rodflow.scalar_adam`.
    """
    return optax.chain(
        scale_by_scalar_nadam(b1=b1, b2=b2, eps=eps),
        optax.scale_by_learning_rate(learning_rate),
    )
