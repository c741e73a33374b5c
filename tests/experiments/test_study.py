import jax.numpy as jnp
import numpy as np
import pytest

from experiments import study
from experiments.config import OptimizerConfig, load


def test_the_chain_gets_the_configured_hyperparameters():
    tx = study.optimizer(OptimizerConfig("heavy_ball", 0.5, {"b1": 0.8}))
    params = jnp.array(1.0)
    state = tx.init(params)
    first, state = tx.update(jnp.array(1.0), state, params)
    second, _ = tx.update(jnp.array(0.0), state, params)
    np.testing.assert_allclose(
        np.asarray([first, second]), [-0.5 * 0.2, -0.5 * 0.2 * 0.8], rtol=1e-6
    )


def test_an_unknown_optimizer_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"optimizer\.name=lion: .* gd, heavy_ball, nesterov"):
        study.optimizer(OptimizerConfig("lion", 0.1, {}))


def test_an_unknown_hyperparameter_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"hyperparameters\.decay: heavy_ball .* it has b1"):
        study.optimizer(OptimizerConfig("heavy_ball", 0.1, {"decay": 0.9}))


@pytest.mark.parametrize("records", [1, 7, 40, 60, 61])
def test_pieces_are_equal_and_many(records):
    config = load([f"num_steps={10 * records}"])
    chunk = study._chunk(config)
    assert records % chunk == 0
    assert records // chunk >= min(records, study.CHUNKS)
