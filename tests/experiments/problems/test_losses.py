import jax
import jax.numpy as jnp
import numpy as np

from experiments.problems.losses import cross_entropy, squared_error

OUTPUTS = jnp.array([[1.0, 2.0], [3.0, -1.0]])
TARGETS = jnp.array([[0.0, 1.0], [1.0, 0.0]])


def test_squared_error_is_the_mean_of_half_the_squared_norms():
    np.testing.assert_allclose(squared_error(OUTPUTS, TARGETS), (1 + 1 + 4 + 1) / 2 / 2)


def test_cross_entropy_against_its_definition():
    probabilities = np.exp(OUTPUTS) / np.exp(OUTPUTS).sum(1, keepdims=True)
    expected = -np.log([probabilities[0, 1], probabilities[1, 0]]).mean()
    np.testing.assert_allclose(cross_entropy(OUTPUTS, TARGETS), expected, rtol=1e-6)


def test_gradient_of_cross_entropy_is_probabilities_minus_targets():
    gradient = jax.grad(cross_entropy)(OUTPUTS, TARGETS)
    np.testing.assert_allclose(gradient, (jax.nn.softmax(OUTPUTS) - TARGETS) / 2, rtol=1e-5)
