"""A vision transformer in Flax NNX: Dosovitskiy et al. 2020 (arXiv 2010.11929).

The image is cut into squares, each a position of a sequence on which every position attends to
all. The outputs are an affine function of the mean over the positions; there is no class token.
The activation by default is smooth: rod flow rests on the third derivative of the loss, which relu
does not have.
"""

import math
from collections.abc import Sequence

from flax import nnx
from jaxtyping import Array, Float

from experiments.configuration.functions import Activation
from experiments.configuration.ranges import Positive
from experiments.problems.models.attention import Trunk
from experiments.problems.models.image import ImageHead, spatial_shape
from experiments.problems.models.model import Model, from_network


def cut(
    inputs: Float[Array, "samples *spatial channels"], patch: int
) -> Float[Array, "samples patches features"]:
    """Cut images into squares of side `patch`, or signals into pieces of that length.

    The patches are in row-major order, and so are the pixels in each of them.
    """
    samples, *spatial, channels = inputs.shape
    axes = len(spatial)
    split = [size for side in spatial for size in (side // patch, patch)]
    outer, inner = range(1, 2 * axes, 2), range(2, 2 * axes + 1, 2)
    patches = inputs.reshape(samples, *split, channels).transpose(0, *outer, *inner, 2 * axes + 1)
    return patches.reshape(samples, -1, patch**axes * channels)


class ViT(nnx.Module):
    """Patches, an embedding of them, blocks, a mean over the positions, an affine head."""

    def __init__(self, trunk: Trunk, head: ImageHead, patch: int):
        self.trunk = trunk
        self.head = head
        self.patch = patch

    def __call__(
        self, inputs: Float[Array, "samples *spatial channels"]
    ) -> Float[Array, "samples *outputs"]:
        """Return the outputs of the network."""
        return self.head(self.trunk(cut(inputs, self.patch)).mean(axis=1))


def vit(
    input_shape: Sequence[int],
    output_shape: Sequence[int],
    *,
    patch: Positive = 4,
    width: Positive = 24,
    depth: Positive = 2,
    heads: Positive = 2,
    expansion: Positive = 2,
    activation: Activation = Activation.gelu,
) -> Model:
    """Build a vision transformer of `depth` blocks.

    Args:
        input_shape: `(height, width, channels)` of an image or `(length, channels)` of a signal.
        output_shape: shape of the outputs for a sample, of any rank.
        patch: side of the squares; it divides both sides of the image.
        width: size of the vector at each position.
        depth: number of blocks.
        heads: heads of attention; a divisor of `width`.
        expansion: hidden units of the perceptron of a block in units of `width`.
        activation: elementwise function inside the perceptrons.

    Raises:
        ValueError: `input_shape` has neither one nor two spatial axes, `patch` does not divide
            them, or `heads` does not divide `width`.
    """
    spatial = spatial_shape(input_shape)
    if any(side % patch for side in spatial):
        sides = " x ".join(str(side) for side in spatial)
        raise ValueError(f"patch={patch} is out of range: it must divide the sides {sides}")
    length = math.prod(side // patch for side in spatial)
    features = patch ** len(spatial) * input_shape[-1]

    def network(rngs: nnx.Rngs) -> ViT:
        shape = {"width": width, "depth": depth, "heads": heads, "expansion": expansion}
        trunk = Trunk(length, features, **shape, activation=activation, causal=False, rngs=rngs)
        return ViT(trunk, ImageHead(width, output_shape, rngs=rngs), patch)

    return from_network(network)
