import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.configuration.functions import Activation
from experiments.problems.models.cnn import cnn

SIZES = {"width": 5, "depth": 2, "kernel": 3, "gain": 1.0}


@pytest.mark.parametrize("stride", [1, 2])
def test_outputs(stride):
    model = cnn((6, 7, 2), (3,), stride=stride, activation=Activation.tanh, **SIZES)
    params = jax.jit(model.init)(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (4, 6, 7, 2))
    hidden = inputs
    for i in range(2):
        kernel, bias = params["layers"][i]["kernel"], params["layers"][i]["bias"]
        hidden = jax.lax.conv_general_dilated(
            hidden, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        hidden = jnp.tanh(hidden + bias.ravel())
    head = params["head"]["linear"]
    expected = hidden.mean((1, 2)) @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(model.apply(params, inputs), expected, atol=1e-5)


def test_outputs_of_any_rank():
    model = cnn((40, 1), (2, 3), stride=2, activation=Activation.tanh, **SIZES)
    outputs = model.apply(model.init(jax.random.key(0)), jnp.ones((4, 40, 1)))
    assert outputs.shape == (4, 2, 3)


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match=r"input_shape=\(64,\) is no image"):
        cnn((64,), (3,), stride=2, activation=Activation.tanh, **SIZES)
