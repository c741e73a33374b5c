"""The type of a data set: two arrays, held whole in memory, for training is full-batch.

Symbols of a sequence are one-hot, so that every architecture sees float arrays and no model needs
to know an alphabet.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


class Dataset(NamedTuple):
    """Samples along the first axis, float32.

    `inputs` are images `(samples, height, width, channels)` or sequences
    `(samples, length, features)`. `targets` are `(samples, outputs)`, or for a sequence to be
    written `(samples, positions, outputs)`: the outputs at the last `positions` of the sequence.
    """

    inputs: Float[Array, "samples *shape"]
    targets: Float[Array, "samples *outputs"]


def classified(
    inputs: Float[np.ndarray, "samples *shape"], labels: Int[np.ndarray, " samples"], classes: int
) -> Dataset:
    """Return a data set of classes, whose targets are one-hot."""
    targets = np.eye(classes, dtype=np.float32)[labels]
    return Dataset(jnp.asarray(inputs.astype(np.float32)), jnp.asarray(targets))
