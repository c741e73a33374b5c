"""A causal transformer in Flax NNX: Vaswani et al. 2017 (arXiv 1706.03762), decoder only, pre-norm.

Position t sees the inputs up to t and no later one. Inputs are floats (symbols one-hot), so the
embedding is an affine map; positions are learned. The activation by default is smooth: rod flow
rests on the third derivative of the loss, which relu does not have.
"""

from collections.abc import Sequence

from flax import nnx
from jaxtyping import Array, Float

from experiments.configuration.functions import Activation
from experiments.configuration.ranges import Positive
from experiments.problems.models.attention import Trunk
from experiments.problems.models.model import Model, from_network
from experiments.problems.models.sequence import SequenceHead, as_sequences, sequence_shape


class Transformer(nnx.Module):
    """Embedding, causal blocks, and an affine head at the last positions."""

    def __init__(self, trunk: Trunk, head: SequenceHead):
        self.trunk = trunk
        self.head = head

    def __call__(self, inputs: Float[Array, "samples *shape"]) -> Float[Array, "samples *outputs"]:
        """Return the outputs at the last positions."""
        return self.head(self.trunk(as_sequences(inputs)))


def transformer(
    input_shape: Sequence[int],
    output_shape: Sequence[int],
    *,
    width: Positive = 24,
    depth: Positive = 2,
    heads: Positive = 2,
    expansion: Positive = 2,
    activation: Activation = Activation.gelu,
) -> Model:
    """Build a causal transformer of `depth` blocks.

    Args:
        input_shape: `(length, features)`, or that of an image, which is read row by row.
        output_shape: `(outputs,)` or `(positions, outputs)`, see `sequence`.
        width: size of the vector at each position.
        depth: number of blocks.
        heads: heads of attention; a divisor of `width`.
        expansion: hidden units of the perceptron of a block in units of `width`.
        activation: elementwise function inside the perceptrons.

    Raises:
        ValueError: a shape is not of this kind, there are more positions than the sequence has, or
            `heads` does not divide `width`.
    """
    length, features = sequence_shape(input_shape)

    def network(rngs: nnx.Rngs) -> Transformer:
        shape = {"width": width, "depth": depth, "heads": heads, "expansion": expansion}
        trunk = Trunk(length, features, **shape, activation=activation, causal=True, rngs=rngs)
        return Transformer(trunk, SequenceHead(length, width, output_shape, rngs=rngs))

    return from_network(network)
