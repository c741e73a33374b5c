"""The comparison of the fluctuation meter with the Hessian, on a problem whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.benchmarks import fluctuation
from experiments.benchmarks.networks import Network
from experiments.problems.data.dataset import Dataset


@pytest.fixture
def quadratic():
    """One parameter that samples pull towards themselves, with curvature 1."""
    samples = jax.random.normal(jax.random.key(2), (fluctuation.SAMPLES, 1))
    return Network(
        lambda key: jnp.zeros(1),
        lambda w, batch: jnp.mean((w - batch.inputs) ** 2) / 2,
        Dataset(samples, samples),
    )


def test_both_read_half_of_rate_times_curvature(quadratic):
    batches = fluctuation.independent(jax.random.key(1), 2400, 8)
    found = fluctuation.compared(quadratic, optax.sgd(1.2), batches)
    np.testing.assert_allclose(found.hessian, 0.6, rtol=1e-5)
    # The standard error of a reading is .036, as docs/theory/meters.md has it.
    np.testing.assert_allclose(np.mean(found.meter), 0.6, atol=3 * 0.036 / 3**0.5)
    _, hessian, meter, error, within = found.row()
    np.testing.assert_allclose([hessian, meter], [0.6, np.mean(found.meter)], rtol=1e-5)
    np.testing.assert_allclose(error, np.mean(np.abs(found.meter / 0.6 - 1)), rtol=1e-3)
    assert within == np.mean(np.abs(found.meter / found.hessian - 1) <= fluctuation.TOLERANCE)


def test_an_epoch_without_replacement_takes_every_sample_once():
    drawn = fluctuation.shuffled(jax.random.key(0), 40, 32)
    epoch = fluctuation.SAMPLES // 32
    assert drawn.shape == (40, 32)
    assert sorted(drawn[:epoch].reshape(-1).tolist()) == list(range(fluctuation.SAMPLES))
    assert sorted(drawn[epoch : 2 * epoch].reshape(-1).tolist()) == list(range(fluctuation.SAMPLES))
