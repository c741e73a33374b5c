r"""Compensated summation of updates, so that parameters in narrow types lose none of them.

A parameter of type bfloat16 keeps 8 bits: an update of less than 1/512 of it is lost when the two
are added, and training stops early. This transformation keeps the rounding error, in the type of
the parameter, and adds it to the next update; the two numbers together have twice the bits. This
takes less memory than a copy of the parameters in float32, and the model sees narrow types only.

The remainder is marked as a rounding error: a flow rounds nothing, and so has none.

Kahan 1965 (doi:10.1145/363707.363723); for training, Zamirai et al. 2020 (arXiv 2010.06192).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rodflow.maps.parity import RoundingError
from rodflow.transforms._summation import compensated


class CompensateRoundingState(NamedTuple):
    """State that holds the rounding errors of the parameters so far.

    Attributes:
        remainder: The errors, of the shapes and dtypes of the parameters.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> tx, w = rodflow.compensate_rounding(), jnp.ones(1, jnp.bfloat16)
        >>> _, state = tx.update(jnp.full(1, 1 / 1024), tx.init(w), w)
        >>> float(state.remainder.values[0])  # all of the update: 1 + 1/1024 is rounded to 1
        0.0009765625
    """

    remainder: RoundingError


def compensate_rounding() -> optax.GradientTransformationExtraArgs:
    r"""Add the rounding errors of earlier updates to each update.

    This transformation belongs at the end of a chain. With :math:`\mathrm{rd}` the rounding to the
    dtype of the parameters :math:`w`, the update :math:`v` before, and :math:`e_0 = 0`,

    .. math::

      s \leftarrow v + e_t, \qquad
      u \leftarrow \mathrm{rd}(\mathrm{rd}(w + s) - w), \qquad
      e_{t+1} \leftarrow s - (\mathrm{rd}(w + u) - w).

    All of these are in the dtype of the parameters, whatever the dtype of the updates is.

    Theory: docs/theory/parity.md.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` object, whose updates have the dtype of the
      parameters.

    Raises:
      ValueError: The parameters are not real floats or, at an update, not given.

    Examples:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from rodflow.transforms import compensate_rounding
      >>> for tx in optax.sgd(1e-3), optax.chain(optax.sgd(1e-3), compensate_rounding()):
      ...   params = jnp.array(1., jnp.bfloat16)
      ...   state = tx.init(params)
      ...   for _ in range(500):
      ...     updates, state = tx.update(jnp.array(1., jnp.bfloat16), state, params)
      ...     params = optax.apply_updates(params, updates)
      ...   print(params)
      1
      0.5

    References:
      Kahan, `Further Remarks on Reducing Truncation Errors
      <https://doi.org/10.1145/363707.363723>`_, 1965

      Zamirai et al, `Revisiting BFloat16 Training <https://arxiv.org/abs/2010.06192>`_, 2020
    """

    def init_fn(params):
        for leaf in jax.tree.leaves(params):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise ValueError(f"A parameter is {leaf.dtype}; rounding is that of real floats.")
        return CompensateRoundingState(RoundingError(jax.tree.map(jnp.zeros_like, params)))

    def update_fn(updates, state, params=None, **extra_args):
        del extra_args
        if params is None:
            raise ValueError("`params` is None; rounding needs the parameters that are updated.")
        leaves, structure = jax.tree.flatten(params)
        rest = (structure.flatten_up_to(tree) for tree in (updates, state.remainder.values))
        both = [compensated(*each) for each in zip(leaves, *rest, strict=True)]
        updates, remainder = ([pair[i] for pair in both] for i in (0, 1))
        state = CompensateRoundingState(RoundingError(structure.unflatten(remainder)))
        return structure.unflatten(updates), state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
