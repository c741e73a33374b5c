import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.configuration.functions import Activation
from experiments.problems.data.dataset import Dataset
from experiments.problems.models.mlp import mlp
from experiments.studies.root_free import training
from experiments.studies.root_free.methods import METHODS, Hyperparameters


def parameters(*values):
    return Hyperparameters(*(np.atleast_1d(np.float32(value)) for value in values))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.normal(size=(24, 2)), jnp.float32)
    targets = jax.nn.one_hot((inputs[:, 0] > 0).astype(int), 2)
    return training.split(Dataset(inputs, targets), 12, 6)


@pytest.fixture(scope="module")
def network():
    return mlp((2,), (2,), width=3, depth=1, activation=Activation.tanh, gain=1.0)


def test_batches_take_every_sample_once_in_an_epoch():
    drawn = np.asarray(training.batches(jax.random.key(0), 7, 3, 5))
    assert drawn.shape == (5, 3)
    for epoch in (drawn[:2], drawn[2:4]):
        assert len(set(epoch.ravel())) == 6
    assert not np.array_equal(drawn[0], drawn[2])
    with pytest.raises(ValueError, match="batch_size=8"):
        training.batches(jax.random.key(0), 7, 8, 5)


@pytest.fixture(scope="module")
def train(data, network):
    return training.trainer(data, network, METHODS["rf_adamw"], 4, 5)


def test_a_split_leaves_samples_to_test_on(data):
    assert [len(part.inputs) for part in data] == [12, 6, 6]
    with pytest.raises(ValueError, match="no test set"):
        training.split(data.train, 6, 6)


@pytest.mark.slow
def test_a_lane_is_the_run_that_optax_does(train, data, network):
    h = parameters(0.2, 0.01, 0.3, 0.1)
    outcome = train(h, np.array([3]))
    weights, order = jax.random.split(jax.random.key(3))
    schedule = optax.cosine_decay_schedule(0.2, 5)
    tx = METHODS["rf_adamw"](Hyperparameters(0.2, 0.01, 0.3, 0.1), schedule, 4)

    @jax.jit
    def step(params, state, picks):
        batch = Dataset(data.train.inputs[picks], data.train.targets[picks])
        gradient = jax.grad(training.objective, 1)(network, params, batch)
        updates, state = tx.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    params = network.init(weights)
    state = tx.init(params)
    for picks in training.batches(order, 12, 4, 5):
        params, state = step(params, state, picks)
    expected = training.objective(network, params, data.train)
    np.testing.assert_allclose(outcome.train_loss, [expected], rtol=1e-5)


def test_a_run_that_diverges_is_the_worst_there_is(train):
    outcome = train(parameters([np.inf, 0.1], [0, 0], [1, 1], [1, 1]), np.array([0, 0]))
    assert outcome.train_loss[0] == np.inf and outcome.test_accuracy[0] == 0
    assert np.isfinite(outcome.train_loss[1])


@pytest.mark.slow
def test_in_a_narrow_type_no_update_is_lost_if_that_is_compensated(data, network):
    h, seeds = parameters(3e-3, 0.0, 0.9, 0.1), np.array([3])
    start, wide, narrow, bare = (
        training.trainer(data, network, METHODS["sgd"], 4, *kind)(h, seeds).train_loss
        for kind in (
            (1, jnp.float32),
            (240, jnp.float32),
            (240, jnp.bfloat16),
            (240, jnp.bfloat16, False),
        )
    )
    np.testing.assert_allclose(start - narrow, start - wide, rtol=0.1)
    assert abs(start - bare) < 0.5 * abs(start - wide)
