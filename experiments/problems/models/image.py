"""The ends of the vision models: reading a sample and writing the outputs.

A sample is an image `(height, width, channels)` or a signal `(length, channels)`. The outputs are
an affine function of features of the whole image, so that `output_shape` may have any rank.
"""

import math
from collections.abc import Sequence

from flax import nnx
from jaxtyping import Array, Float


def spatial_shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    """Return `input_shape` without its last axis, the channels.

    Raises:
        ValueError: there is not one spatial axis, nor two.
    """
    if len(input_shape) not in (2, 3):
        raise ValueError(
            f"input_shape={tuple(input_shape)} is no image: "
            "it must be (length, channels) or (height, width, channels)"
        )
    return tuple(input_shape[:-1])


class ImageHead(nnx.Module):
    """An affine map from features of the image to outputs of any shape."""

    def __init__(self, width: int, output_shape: Sequence[int], *, rngs: nnx.Rngs):
        # Features are of order 1 at first; the outputs should begin well below that.
        kernel_init = nnx.initializers.variance_scaling(0.1, "fan_in", "normal")
        self.linear = nnx.Linear(width, math.prod(output_shape), kernel_init=kernel_init, rngs=rngs)
        self.output_shape = tuple(output_shape)

    def __call__(self, features: Float[Array, "samples width"]) -> Float[Array, "samples *outputs"]:
        """Return the outputs for features of each image."""
        return self.linear(features).reshape(-1, *self.output_shape)
