import jax
import numpy as np
import pytest

from experiments.problems.models.lstm import lstm


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def recur(layer, inputs):
    """The equations of the module, step by step in float64."""
    kernel, bias = (np.asarray(layer["inputs"][name], np.float64) for name in ("kernel", "bias"))
    recurrent = np.asarray(layer["recurrent"], np.float64)
    hidden = cell = np.zeros((inputs.shape[0], recurrent.shape[0]))
    outputs = []
    for t in range(inputs.shape[1]):
        gates = inputs[:, t] @ kernel + hidden @ recurrent + bias
        i, f, g, o = np.split(gates, 4, axis=-1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        outputs.append(hidden)
    return np.stack(outputs, axis=1)


@pytest.mark.parametrize("depth", [1, 2])
def test_outputs(depth):
    model = lstm((6, 3), (4, 2), width=5, depth=depth)
    params = model.init(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (7, 6, 3))
    hidden = np.asarray(inputs, np.float64)
    for layer in range(depth):
        hidden = recur(params["layers"][layer], hidden)
    head = params["head"]["linear"]
    expected = hidden[:, -4:] @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(model.apply(params, inputs), expected, atol=1e-6)


def test_only_the_forget_gate_starts_with_a_bias():
    params = lstm((6, 3), (2,), width=5, depth=1).init(jax.random.key(0))
    bias = params["layers"][0]["inputs"]["bias"].reshape(4, 5)
    np.testing.assert_array_equal(bias, np.array([0, 1, 0, 0])[:, None] * np.ones(5))
