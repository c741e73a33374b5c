"""An optimizer in another basis than that of the parameters.

The inner optimizer sees g -> Q g, and its update u is turned back, u -> Q' u. Gradient descent and
heavy ball do not notice; an optimizer that acts on each element by itself is another one in each
basis. Q is a product over the axes of each array, Q_1 g Q_2' for a matrix: orthogonal on the
flattened array, random, and cheap, though not uniform over all rotations of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree


class Rotation(NamedTuple):
    """An orthogonal matrix for each axis of an array."""

    axes: tuple[Float[Array, "_ _"], ...]

    def turned(self, x: Array, back: bool = False) -> Array:
        """Apply the matrices, or their inverses."""
        for axis, matrix in enumerate(self.axes):
            product = jnp.tensordot(matrix.T if back else matrix, x, (1, axis))
            x = jnp.moveaxis(product, 0, axis)
        return x


def orthogonal(size: int, seed: Sequence[int]) -> Float[np.ndarray, "{size} {size}"]:
    """Draw an orthogonal matrix, uniformly."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    return q * np.sign(np.diagonal(r))


def padded(matrix: Float[np.ndarray, "n n"], size: int) -> Float[np.ndarray, "{size} {size}"]:
    """Leave the axes beyond those of a matrix as they are, up to `size`."""
    whole = np.eye(size)
    whole[: len(matrix), : len(matrix)] = matrix
    return whole


def rotated(
    inner: optax.GradientTransformation, rotations: PyTree[Rotation]
) -> optax.GradientTransformation:
    """Run an optimizer in a rotated basis.

    Args:
        inner: the optimizer.
        rotations: of the structure of the parameters, a `Rotation` for each array.
    """

    def turned(tree, back=False):
        return jax.tree.map(
            lambda rotation, x: rotation.turned(x, back),
            rotations,
            tree,
            is_leaf=lambda node: isinstance(node, Rotation),
        )

    def init(params):
        return inner.init(turned(params))

    def update(updates, state, params=None):
        params = None if params is None else turned(params)
        updates, state = inner.update(turned(updates), state, params)
        return turned(updates, back=True), state

    return optax.GradientTransformation(init, update)
