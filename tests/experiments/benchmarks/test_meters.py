"""Runs of training with and without meters, which are timed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow
from experiments.benchmarks import meters
from experiments.benchmarks.networks import Network
from experiments.problems.data.dataset import Dataset


@pytest.fixture
def quadratic():
    samples = jax.random.normal(jax.random.key(2), (meters.BATCH, 3))
    return Network(
        lambda key: jax.random.normal(key, (3,)),
        lambda w, batch: jnp.mean((w - batch.inputs) ** 2),
        Dataset(samples, samples),
    )


@pytest.mark.parametrize("name", meters.METERS)
def test_training_with_a_meter_is_the_same_training(quadratic, name):
    arguments, given = meters.METERS[name]
    tx = optax.adamw(0.1)
    (plain, _), losses = meters.run(quadratic, tx, False)()
    (params, state), seen = meters.run(quadratic, rodflow.monitored(tx, **arguments), given)()
    np.testing.assert_allclose(params, plain, rtol=1e-5)
    np.testing.assert_allclose(seen, losses, rtol=1e-5)
    measured = name.partition(",")[0].replace(" ", "_")
    assert np.isfinite(optax.tree.get(state, measured))
