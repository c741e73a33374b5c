"""A plain convolutional network in Flax NNX.

Convolutions with a stride, an activation after each, a mean over the image and an affine head.
Nothing in it has a kink: rod flow rests on the third derivative of the loss, which max pooling and
relu do not have, so the image shrinks by strides and the activation by default is smooth.
"""

from collections.abc import Callable, Sequence

from flax import nnx
from jaxtyping import Array, Float

from experiments.problems.models.convolution import Convolution, pooled, samples_last
from experiments.problems.models.image import ImageHead, spatial_shape
from experiments.problems.models.model import Model, from_network


class CNN(nnx.Module):
    """Strided convolutions with an activation after each, a mean over the image, an affine head.

    Weights before the head are drawn from `N(0, gain^2 / fan_in)`, biases start at 0.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        output_shape: Sequence[int],
        *,
        width: int,
        depth: int,
        kernel: int,
        stride: int,
        activation: Callable[[Array], Array],
        gain: float,
        rngs: nnx.Rngs,
    ):
        axes = len(spatial_shape(input_shape))
        channels = (input_shape[-1], *[width] * (depth - 1))
        self.layers = nnx.List(
            Convolution(axes, fan_in, width, size=kernel, stride=stride, gain=gain, rngs=rngs)
            for fan_in in channels
        )
        self.head = ImageHead(width, output_shape, rngs=rngs)
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
    width: int,
    depth: int,
    kernel: int,
    stride: int,
    activation: Callable[[Array], Array],
    gain: float,
) -> Model:
    """Build a convolutional network with `depth` layers of `width` channels.

    Args:
        input_shape: `(height, width, channels)` of an image or `(length, channels)` of a signal.
        output_shape: shape of the outputs for a sample, of any rank.
        width: channels of each layer.
        depth: number of convolutions, at least 1.
        kernel: size of the kernels along each spatial axis.
        stride: stride of each convolution; the image shrinks by it at each layer.
        activation: elementwise function after each convolution.
        gain: standard deviation of the weights in units of `1 / sqrt(fan_in)`.

    Raises:
        ValueError: `input_shape` has not one or two spatial axes.
    """
    return from_network(
        lambda rngs: CNN(
            input_shape,
            output_shape,
            width=width,
            depth=depth,
            kernel=kernel,
            stride=stride,
            activation=activation,
            gain=gain,
            rngs=rngs,
        )
    )
