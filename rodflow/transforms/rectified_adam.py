r"""Rectification: the length of Adam's average of squares, and a step size that accounts for it.

    rho_inf = 2 / (1 - b2) - 1,        rho_t = rho_inf - 2 t b2^t / (1 - b2^t)
    r_t = sqrt((rho_t - 4) (rho_t - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho_t))

Early on, the second moment of Adam averages few gradients and the step size 1 / sqrt(nu_hat) has a
large variance, an infinite one up to rho_t = 4. Rectified Adam takes the step lr r_t m_hat /
sqrt(nu_hat) beyond that, lr m_hat before: it is ``optax.radam(learning_rate, threshold=4)``. As r_t
multiplies the learning rate, it divides the critical sharpness: 2 (1+b1) / ((1-b1) lr r_t).

Liu et al. 2020 (arXiv 1908.03265), section 4.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from rodflow.transforms._defaults import ADAM_B2

_TRACTABLE = 4.0  # the variance of 1 / sqrt(nu_hat) is finite beyond this length


class Rectification(NamedTuple):
    """Length of Adam's average, and factor of its step size.

    Attributes:
        rho: The length of the average, a number of gradients; of the common shape of `step` and b2.
        r: The factor of the step size, of the same shape; NaN where `rho` is at most 4.

    Examples:
        >>> from rodflow.transforms import rectification
        >>> length = rectification(step=1, b2=0.999).rho
        >>> print(f"{length:.3f}")  # after one step an average of one gradient
        1.000
    """

    rho: Float[Array, "*steps"]
    r: Float[Array, "*steps"]


def rectification(step: jax.typing.ArrayLike, b2: jax.typing.ArrayLike = ADAM_B2) -> Rectification:
    r"""Compute the length of Adam's average and the rectification of its step size.

    .. math::

      \begin{align*}
        \rho_\infty &= 2 / (1 - \beta_2) - 1, \qquad
        \rho_t = \rho_\infty - 2 t \beta_2^t / (1 - \beta_2^t) \\
        r_t &= \sqrt{\frac{(\rho_t - 4)(\rho_t - 2) \rho_\infty}
          {(\rho_\infty - 4)(\rho_\infty - 2) \rho_t}}
      \end{align*}

    Theory: docs/theory/published.md.

    Args:
      step: The step :math:`t`, counted from 1; any shape, and fractions are allowed.
      b2: Exponential decay rate of the second moment, above 0.6 (where
        :math:`\rho_\infty = 4`).

    Returns:
      A :class:`Rectification` of the effective length ``rho`` of the average and the factor ``r``,
      NaN where ``rho`` is at most 4: rectified Adam does not adapt its step size there.

    Raises:
      ValueError: ``b2`` is out of range; a traced one passes.

    Examples:
      >>> import jax.numpy as jnp
      >>> from rodflow.transforms import rectification
      >>> rho, r = rectification(jnp.array([4, 5, 1000]), b2=0.999)
      >>> print(*(f"{x:.4f}" for x in r))
      nan 0.0173 0.6453

    References:
      Liu et al, `On the Variance of the Adaptive Learning Rate and Beyond
      <https://arxiv.org/abs/1908.03265>`_, 2020

    .. seealso:: :func:`optax.radam`, whose ``threshold`` is 5 by default and 4 in the paper.
    """
    if not isinstance(b2, Tracer) and not np.all((np.asarray(b2) > 0.6) & (np.asarray(b2) < 1)):
        raise ValueError(f"`b2` is {b2}; rectification is defined for values between 0.6 and 1.")
    t = jnp.asarray(step, float)
    b2 = jnp.asarray(b2, float)
    # expm1 and log1p keep all digits where terms of rho cancel, in float32 too.
    exponent = t * jnp.log1p(b2 - 1)
    rho_inf = 2 / (1 - b2) - 1
    rho = rho_inf + 2 * t * jnp.exp(exponent) / jnp.expm1(exponent)
    tractable = rho > _TRACTABLE
    length = jnp.where(tractable, rho, rho_inf)  # avoids roots of negative numbers
    square = (length - 4) * (length - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * length)
    return Rectification(rho, jnp.where(tractable, jnp.sqrt(square), jnp.nan))
