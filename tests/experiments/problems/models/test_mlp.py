import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.configuration.functions import Activation
from experiments.problems.models.mlp import mlp


def forward(params, inputs, activation):
    """The network written out, as an oracle."""
    *hidden, last = (params["layers"][i] for i in range(len(params["layers"])))
    for layer in hidden:
        inputs = activation(inputs @ layer["kernel"] + layer["bias"])
    return inputs @ last["kernel"] + last["bias"]


@pytest.mark.parametrize("activation", [Activation.tanh, Activation.relu])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_outputs(depth, activation):
    model = mlp((5,), (2,), width=7, depth=depth, activation=activation, gain=0.7)
    params = model.init(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (11, 5))
    outputs = model.apply(params, inputs)
    np.testing.assert_allclose(outputs, forward(params, inputs, activation), rtol=1e-5, atol=1e-6)


def test_parameters_are_plain_dictionaries_of_arrays():
    params = mlp((8, 8, 1), (10,), width=32, depth=3, activation=Activation.tanh, gain=0.7).init(
        jax.random.key(0)
    )
    shapes = [params["layers"][i]["kernel"].shape for i in range(4)]
    assert shapes == [(64, 32), (32, 32), (32, 32), (32, 10)]
    assert type(params) is dict and type(params["layers"][0]) is dict
    assert all(type(leaf) is type(jnp.zeros(1)) for leaf in jax.tree.leaves(params))


def test_weights_have_the_stated_variance_and_biases_are_zero():
    model = mlp((400,), (3,), width=500, depth=1, activation=Activation.tanh, gain=0.7)
    first = model.init(jax.random.key(0))["layers"][0]
    # 200 000 draws: the standard error of the standard deviation is 0.16 %.
    np.testing.assert_allclose(first["kernel"].std() * 400**0.5, 0.7, rtol=0.01)
    np.testing.assert_array_equal(first["bias"], 0)


def test_works_under_jit_grad_and_vmap_over_keys():
    model = mlp((5,), (2,), width=4, depth=2, activation=Activation.tanh, gain=1.0)
    inputs = jnp.ones((3, 5))

    def gradient(key):
        return jax.grad(lambda params: model.apply(params, inputs).sum())(model.init(key))

    keys = jax.random.split(jax.random.key(0), 2)
    together = jax.jit(jax.vmap(gradient))(keys)
    for lane, key in enumerate(keys):
        for one, other in zip(
            jax.tree.leaves(together), jax.tree.leaves(gradient(key)), strict=True
        ):
            np.testing.assert_allclose(one[lane], other, rtol=1e-5, atol=1e-6)
