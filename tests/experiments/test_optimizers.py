import jax.numpy as jnp
import numpy as np
import pytest

from experiments import optimizers
from experiments.config import OptimizerConfig


def test_the_chain_gets_the_configured_hyperparameters():
    tx = optimizers.configured(OptimizerConfig("heavy_ball", 0.5, {"b1": 0.8}))
    params = jnp.array(1.0)
    state = tx.init(params)
    first, state = tx.update(jnp.array(1.0), state, params)
    second, _ = tx.update(jnp.array(0.0), state, params)
    np.testing.assert_allclose(
        np.asarray([first, second]), [-0.5 * 0.2, -0.5 * 0.2 * 0.8], rtol=1e-6
    )


def test_another_learning_rate_takes_the_place_of_the_configured_one():
    tx = optimizers.configured(OptimizerConfig("gd", 0.5, {}), jnp.array(0.25))
    update, _ = tx.update(jnp.array(1.0), tx.init(jnp.array(1.0)))
    assert update == -0.25


def test_an_unknown_optimizer_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"optimizer\.name=lion: .* gd, heavy_ball, nesterov"):
        optimizers.configured(OptimizerConfig("lion", 0.1, {}))


def test_an_unknown_hyperparameter_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"hyperparameters\.decay: heavy_ball .* it has b1"):
        optimizers.configured(OptimizerConfig("heavy_ball", 0.1, {"decay": 0.9}))
