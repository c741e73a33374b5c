"""A plain convolutional network in Flax NNX.

Convolutions with a stride, an activation after each, a mean over the image and an affine head.
Nothing in it has a kink: rod flow rests on the third derivative of the loss, which max pooling and
relu do not have, so the image shrinks by strides and the activation by default is smooth.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

from flax import nnx
from jaxtyping import Array, Float

from experiments.configuration.functions import Activation
from experiments.configuration.ranges import Positive, above
from experiments.problems.models.convolution import Convolution, pooled, samples_last
from experiments.problems.models.image import ImageHead, spatial_shape
from experiments.problems.models.model import Model, from_network


class CNN(nnx.Module):
    """Strided convolutions with an activation after each, a mean over the image, an affine head.

    Attributes:
        layers: the convolutions, of samples along the last axis.
        head: from the mean over the image to the outputs.
        activation: elementwise function after each convolution.
    """

    def __init__(
        self,
        layers: Sequence[Convolution],
        head: ImageHead,
        activation: Callable[[Array], Array],
    ):
        self.layers = nnx.List(layers)
        self.head = head
        self.activation = activation

    def __call__(
        self, inputs: Float[Array, "samples *spatial channels"]
    ) -> Float[Array, "samples *outputs"]:
        """Return the outputs of the network."""
        hidden = samples_last(inputs)
        for layer in self.layers:
            hidden = self.activation(layer(hidden))
        return self.head(pooled(hidden))


def cnn(
    input_shape: Sequence[int],
    output_shape: Sequence[int],
    *,
    width: Positive = 36,
    depth: Positive = 2,
    kernel: Positive = 3,
    stride: Positive = 2,
    activation: Activation = Activation.gelu,
    gain: Annotated[float, above(0)] = 1.0,
) -> Model:
    """Build a convolutional network.

    Weights before the head are drawn from `N(0, gain^2 / fan_in)`, biases start at 0.

    Args:
        input_shape: `(height, width, channels)` of an image or `(length, channels)` of a signal.
        output_shape: shape of the outputs for a sample, of any rank.
        width: channels of each layer.
        depth: number of convolutions.
        kernel: size of the kernels along each spatial axis.
        stride: stride of each convolution; the image shrinks by it at each layer.
        activation: elementwise function after each convolution; the default is smooth.
        gain: standard deviation of the weights in units of `1 / sqrt(fan_in)`.

    Raises:
        ValueError: `input_shape` has neither one nor two spatial axes.
    """
    axes = len(spatial_shape(input_shape))
    channels = (input_shape[-1], *[width] * (depth - 1))

    def network(rngs: nnx.Rngs) -> CNN:
        sizes = {"size": kernel, "stride": stride, "gain": gain}
        layers = [Convolution(axes, fan_in, width, **sizes, rngs=rngs) for fan_in in channels]
        return CNN(layers, ImageHead(width, output_shape, rngs=rngs), activation)

    return from_network(network)
