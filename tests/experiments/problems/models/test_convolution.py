import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.problems.models.convolution import Convolution, pooled, samples_last


@pytest.mark.parametrize(
    ("size", "stride"), [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2), (5, 3)]
)
@pytest.mark.parametrize("spatial", [(8, 7), (9,)])
def test_equals_the_convolution_of_xla(spatial, size, stride):
    layer = Convolution(len(spatial), 2, 3, size=size, stride=stride, rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.arange(3.0).reshape(layer.bias.shape)
    inputs = jax.random.normal(jax.random.key(1), (4, *spatial, 2))
    layout = ("NHWC", "HWIO", "NHWC") if len(spatial) == 2 else ("NWC", "WIO", "NWC")
    expected = jax.lax.conv_general_dilated(
        inputs, layer.kernel[...], [stride] * len(spatial), "SAME", dimension_numbers=layout
    )
    outputs = layer(samples_last(inputs))
    np.testing.assert_allclose(jnp.swapaxes(outputs, 0, -1), expected + jnp.arange(3.0), atol=1e-5)


def test_weights_have_the_stated_variance_and_biases_are_zero():
    layer = Convolution(2, 40, 50, size=3, stride=1, gain=0.7, rngs=nnx.Rngs(0))
    # 18 000 draws: the standard error of the standard deviation is 0.5 %.
    np.testing.assert_allclose(layer.kernel[...].std() * 360**0.5, 0.7, rtol=0.02)
    np.testing.assert_array_equal(layer.bias[...], 0)


def test_pooled_is_the_mean_over_the_image():
    images = jax.random.normal(jax.random.key(0), (4, 3, 5, 2))
    np.testing.assert_allclose(pooled(samples_last(images)), images.mean((1, 2)), atol=1e-6)
