"""The ends of the sequence models: reading a sample and writing the outputs.

A sample is a sequence `(length, features)`; an image `(height, width, channels)` is read row by
row, a sequence of `height` rows. `output_shape` says what is asked: `(outputs,)` one answer, given
at the last position, which has seen the whole sequence; `(positions, outputs)` an answer at each
of the last `positions` positions, the layout of `experiments.problems.data.dataset`.
"""

import math
from collections.abc import Sequence

from flax import nnx
from jaxtyping import Array, Float


def sequence_shape(input_shape: Sequence[int]) -> tuple[int, int]:
    """Return `(length, features)` of a sample of `input_shape`.

    Raises:
        ValueError: a sample is neither a sequence nor an image.
    """
    if len(input_shape) not in (2, 3):
        raise ValueError(
            f"input_shape={tuple(input_shape)} is no sequence: "
            "it must be (length, features), or (height, width, channels) to be read row by row"
        )
    return input_shape[0], math.prod(input_shape[1:])


def as_sequences(
    inputs: Float[Array, "samples *shape"],
) -> Float[Array, "samples length features"]:
    """Read samples as sequences, images row by row."""
    return inputs.reshape(*inputs.shape[:2], -1)


class SequenceHead(nnx.Module):
    """An affine map from features of the last positions to the outputs."""

    def __init__(self, length: int, width: int, output_shape: Sequence[int], *, rngs: nnx.Rngs):
        if len(output_shape) not in (1, 2):
            raise ValueError(
                f"output_shape={tuple(output_shape)} cannot be written by a sequence model: "
                "it must be (outputs,) or (positions, outputs)"
            )
        self.positions = 1 if len(output_shape) == 1 else output_shape[0]
        if not 1 <= self.positions <= length:
            raise ValueError(
                f"positions={self.positions} of output_shape={tuple(output_shape)} is out of "
                f"range: it must be from 1 to the length of the sequence, {length}"
            )
        # Features are of order 1 at first; the outputs should begin well below that.
        kernel_init = nnx.initializers.variance_scaling(0.1, "fan_in", "normal")
        self.linear = nnx.Linear(width, output_shape[-1], kernel_init=kernel_init, rngs=rngs)
        self.output_shape = tuple(output_shape)

    def __call__(
        self, features: Float[Array, "samples length width"]
    ) -> Float[Array, "samples *outputs"]:
        """Return the outputs for features of each position."""
        last = features[:, -self.positions :]
        return self.linear(last).reshape(-1, *self.output_shape)
