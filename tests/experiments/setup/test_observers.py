import jax.numpy as jnp
import numpy as np

import rodflow
from experiments.problems import Problem
from experiments.setup.observers import observer


def test_what_is_observed_on_a_quadratic():
    scales = jnp.array([1.0, 2.0, 4.0])
    problem = Problem(lambda p: 0.5 * jnp.sum(scales * p**2), lambda key: jnp.ones(3))
    tx = rodflow.OPTIMIZERS["gd"](0.25)
    state = rodflow.Iteration(problem.loss, tx).init(jnp.ones(3))
    seen = observer(problem, tx)(state)
    # Gradient descent is at the edge where the sharpness is 2 / learning rate.
    np.testing.assert_allclose(seen["effective_sharpness"], [4 / 8, 2 / 8], rtol=1e-5)
    np.testing.assert_allclose(seen["gradient_norm"], np.sqrt(1 + 4 + 16), rtol=1e-6)
