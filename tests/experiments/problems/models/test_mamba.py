import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.problems.models.mamba import CausalConvolution, mamba, selective_scan


def test_scan_equals_the_recurrence_step_by_step():
    keys = jax.random.split(jax.random.key(0), 5)
    x, dt = (jax.random.normal(key, (2, 7, 3)) for key in keys[:2])
    b, c = (jax.random.normal(key, (2, 7, 4)) for key in keys[2:4])
    rates, dt = -jnp.exp(jax.random.normal(keys[4], (3, 4))), jax.nn.softplus(dt)
    x, dt, b, c, rates = map(np.asarray, (x, dt, b, c, rates))
    state = np.zeros((2, 3, 4))
    expected = np.zeros((2, 7, 3))
    for t in range(7):
        for s in range(2):
            for i in range(3):
                decay = np.exp(dt[s, t, i] * rates[i])
                state[s, i] = decay * state[s, i] + dt[s, t, i] * b[s, t] * x[s, t, i]
                expected[s, t, i] = c[s, t] @ state[s, i]
    np.testing.assert_allclose(jax.jit(selective_scan)(x, dt, rates, b, c), expected, atol=1e-5)


def test_convolution_is_causal_and_of_each_channel_alone():
    layer = CausalConvolution(3, 4, rngs=nnx.Rngs(0))
    inputs = np.asarray(jax.random.normal(jax.random.key(1), (2, 6, 3)))
    kernel = np.asarray(layer.kernel[...])
    expected = [
        np.convolve(sequence[:, channel], kernel[::-1, channel])[:6]
        for sequence in inputs
        for channel in range(3)
    ]
    outputs = np.moveaxis(layer(jnp.asarray(inputs)), 1, 2).reshape(6, 6)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)


def test_no_position_sees_later_inputs():
    model = mamba((6, 3), (6, 2), width=8, depth=2, expansion=2, state=3, kernel=2)
    params = jax.jit(model.init)(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (1, 6, 3))
    slopes = jax.jit(jax.jacobian(lambda inputs: model.apply(params, inputs)[0]))(inputs)
    seen = np.abs(slopes[:, :, 0]).max((1, 3))  # (position of an output, position of an input)
    assert (seen[np.tril_indices(6)] > 0).all()
    assert (seen[np.triu_indices(6, 1)] == 0).all()


def test_initial_values_are_those_of_the_paper():
    model = mamba((6, 3), (2,), width=40, depth=1, expansion=2, state=3, kernel=2)
    block = jax.jit(model.init)(jax.random.key(0))["blocks"][0]
    rates = np.exp(block["log_rate"])
    np.testing.assert_allclose(rates, np.tile([1, 2, 3], (80, 1)), rtol=1e-6)
    dt = jax.nn.softplus(block["step_size"]["bias"])
    assert 1e-3 <= dt.min() < 2e-3 and 5e-2 < dt.max() <= 1e-1
    assert block["step_size"]["kernel"].shape == (3, 80)  # width / 16, rounded up
