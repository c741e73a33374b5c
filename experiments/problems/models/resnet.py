"""A residual network in Flax NNX: He et al. 2015 (arXiv 1512.03385), with group normalization.

Each block computes `activation(shortcut(x) + norm(conv(activation(norm(conv(x))))))`. The image is
halved and the channels doubled from stage to stage, where the shortcut is a 1 x 1 convolution
(option B of the paper). Group normalization (Wu & He 2018, arXiv 1803.08494) stands in for the
batch's: the output for a sample does not depend on the others, and there is no state besides the
parameters. The mean over the image and a smooth activation keep the third derivative of the loss,
on which rod flow rests; max pooling and relu have none.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from experiments.configuration.functions import Activation
from experiments.configuration.ranges import Positive
from experiments.problems.models.convolution import Convolution, pooled, samples_last
from experiments.problems.models.image import ImageHead, spatial_shape
from experiments.problems.models.model import Model, from_network


class GroupNorm(nnx.Module):
    """Zero mean and unit variance over groups of channels of each sample, then scale and bias."""

    def __init__(self, axes: int, width: int, groups: int, *, epsilon: float = 1e-5):
        if width % groups:
            raise ValueError(f"groups={groups} is out of range: it must divide width={width}")
        self.scale = nnx.Param(jnp.ones((width, *[1] * (axes + 1))))
        self.bias = nnx.Param(jnp.zeros((width, *[1] * (axes + 1))))
        self.groups = groups
        self.epsilon = epsilon

    def __call__(
        self, inputs: Float[Array, "channels *spatial samples"]
    ) -> Float[Array, "channels *spatial samples"]:
        """Return the normalized images; the statistics are computed in float32 at least."""
        exact = jnp.promote_types(inputs.dtype, jnp.float32)
        grouped = inputs.astype(exact).reshape(self.groups, -1, *inputs.shape[1:])
        axes = tuple(range(1, grouped.ndim - 1))
        centered = grouped - grouped.mean(axes, keepdims=True)
        variance = jnp.mean(centered**2, axes, keepdims=True)
        normalized = centered * jax.lax.rsqrt(variance + self.epsilon)
        normalized = normalized.reshape(inputs.shape).astype(inputs.dtype)
        return normalized * self.scale[...] + self.bias[...]


class Block(nnx.Module):
    """Two normalized convolutions around which a shortcut leads."""

    def __init__(
        self,
        axes: int,
        channels: int,
        width: int,
        kernel: int,
        stride: int,
        groups: int,
        activation: Callable[[Array], Array],
        *,
        rngs: nnx.Rngs,
    ):
        def convolution(channels: int, size: int, stride: int) -> Convolution:
            # The normalization that follows would take a bias away again.
            return Convolution(
                axes, channels, width, size=size, stride=stride, use_bias=False, rngs=rngs
            )

        self.first = convolution(channels, kernel, stride)
        self.second = convolution(width, kernel, 1)
        self.norms = nnx.List(GroupNorm(axes, width, groups) for _ in range(2))
        same = channels == width and stride == 1
        self.shortcut = None if same else convolution(channels, 1, stride)
        self.activation = activation

    def __call__(
        self, inputs: Float[Array, "channels *spatial samples"]
    ) -> Float[Array, "width *places samples"]:
        """Return the images after this block."""
        hidden = self.activation(self.norms[0](self.first(inputs)))
        hidden = self.norms[1](self.second(hidden))
        shortcut = inputs if self.shortcut is None else self.shortcut(inputs)
        return self.activation(shortcut + hidden)


class ResNet(nnx.Module):
    """A convolution, stages of residual blocks, a mean over the image, an affine head.

    Attributes:
        stem: the first convolution, of samples along the last axis.
        blocks: those of all stages.
        head: from the mean over the image to the outputs.
        activation: elementwise function after the stem.
    """

    def __init__(
        self,
        stem: Convolution,
        blocks: Sequence[Block],
        head: ImageHead,
        activation: Callable[[Array], Array],
    ):
        self.stem = stem
        self.blocks = nnx.List(blocks)
        self.head = head
        self.activation = activation

    def __call__(
        self, inputs: Float[Array, "samples *spatial channels"]
    ) -> Float[Array, "samples *outputs"]:
        """Return the outputs of the network."""
        hidden = self.activation(self.stem(samples_last(inputs)))
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(pooled(hidden))


def resnet(
    input_shape: Sequence[int],
    output_shape: Sequence[int],
    *,
    width: Positive = 12,
    stages: Positive = 2,
    blocks: Positive = 1,
    kernel: Positive = 3,
    stem_stride: Positive = 2,
    groups: Positive = 4,
    activation: Activation = Activation.gelu,
) -> Model:
    """Build a residual network with `stages * blocks` blocks of two convolutions each.

    Weights are drawn from `N(0, 1 / fan_in)`, biases start at 0, scales at 1.

    Args:
        input_shape: `(height, width, channels)` of an image or `(length, channels)` of a signal.
        output_shape: shape of the outputs for a sample, of any rank.
        width: channels of the first stage; each next one has twice as many.
        stages: number of stages; each after the first halves the image.
        blocks: residual blocks in each stage.
        kernel: size of the kernels along each spatial axis.
        stem_stride: stride of the first convolution, before the blocks.
        groups: groups of channels that are normalized together; a divisor of `width`.
        activation: elementwise function after the stem and twice in each block.

    Raises:
        ValueError: `input_shape` has neither one nor two spatial axes, or `groups` does not divide
            `width`.
    """
    axes = len(spatial_shape(input_shape))

    def network(rngs: nnx.Rngs) -> ResNet:
        stem = Convolution(axes, input_shape[-1], width, size=kernel, stride=stem_stride, rngs=rngs)
        made, channels = [], width
        for stage in range(stages):
            for i in range(blocks):
                wider = width * 2**stage
                stride = 2 if stage > 0 and i == 0 else 1
                made.append(
                    Block(axes, channels, wider, kernel, stride, groups, activation, rngs=rngs)
                )
                channels = wider
        head = ImageHead(channels, output_shape, rngs=rngs)
        return ResNet(stem, made, head, activation)

    return from_network(network)
