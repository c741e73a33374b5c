import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import optimizers
from experiments.config import OptimizerConfig, load, with_values


def test_the_chain_gets_the_configured_hyperparameters():
    tx = optimizers.configured(OptimizerConfig("heavy_ball", 0.5, {"b1": 0.8}))
    params = jnp.array(1.0)
    state = tx.init(params)
    first, state = tx.update(jnp.array(1.0), state, params)
    second, _ = tx.update(jnp.array(0.0), state, params)
    np.testing.assert_allclose(
        np.asarray([first, second]), [-0.5 * 0.2, -0.5 * 0.2 * 0.8], rtol=1e-6
    )


def test_all_numbers_of_a_configuration_may_be_traced():
    base = load(["optimizer=heavy_ball"])

    def two_updates(learning_rate, b1):
        values = {"optimizer.learning_rate": learning_rate, "optimizer.hyperparameters.b1": b1}
        tx = optimizers.configured(with_values(base, values).optimizer)
        first, state = tx.update(jnp.array(1.0), tx.init(jnp.array(1.0)))
        return first, tx.update(jnp.array(0.0), state)[0]

    rates, b1 = jnp.array([0.5, 0.25]), jnp.array([0.8, 0.5])
    first, second = jax.jit(jax.vmap(two_updates))(rates, b1)
    np.testing.assert_allclose(first, -rates * (1 - b1), rtol=1e-6)
    np.testing.assert_allclose(second, -rates * (1 - b1) * b1, rtol=1e-6)
    assert base.optimizer.learning_rate == 0.8


def test_an_unknown_optimizer_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"optimizer\.name=lion: .* gd, heavy_ball, nesterov"):
        optimizers.configured(OptimizerConfig("lion", 0.1, {}))


def test_an_unknown_hyperparameter_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"hyperparameters\.decay: heavy_ball .* it has b1"):
        optimizers.configured(OptimizerConfig("heavy_ball", 0.1, {"decay": 0.9}))
