import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

from experiments.problems.data.dataset import Dataset
from experiments.problems.models.mlp import mlp
from experiments.studies.root_free import edge, measures, training, tuning
from experiments.studies.root_free.methods import METHODS, Hyperparameters


def parameters(*values):
    return Hyperparameters(*(np.atleast_1d(np.float32(value)) for value in values))


def test_batches_take_every_sample_once_in_an_epoch():
    drawn = np.asarray(training.batches(jax.random.key(0), 7, 3, 5))
    assert drawn.shape == (5, 3)
    for epoch in (drawn[:2], drawn[2:4]):
        assert len(set(epoch.ravel())) == 6
    assert not np.array_equal(drawn[0], drawn[2])
    with pytest.raises(ValueError, match="batch_size=8"):
        training.batches(jax.random.key(0), 7, 8, 5)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.normal(size=(24, 2)), jnp.float32)
    targets = jax.nn.one_hot((inputs[:, 0] > 0).astype(int), 2)
    return training.split(Dataset(inputs, targets), 12, 6)


@pytest.fixture(scope="module")
def network():
    return mlp((2,), (2,), width=3, depth=1, activation=jnp.tanh, gain=1.0)


def test_a_split_leaves_samples_to_test_on(data):
    assert [len(part.inputs) for part in data] == [12, 6, 6]
    with pytest.raises(ValueError, match="no test set"):
        training.split(data.train, 6, 6)


def test_a_lane_is_the_run_that_optax_does(data, network):
    h = parameters(0.2, 0.01, 0.3, 0.1)
    train = training.trainer(data, network, METHODS["rf_adamw"], 4, 5)
    outcome = train(h, np.array([3]))
    weights, order = jax.random.split(jax.random.key(3))
    schedule = optax.cosine_decay_schedule(0.2, 5)
    tx = METHODS["rf_adamw"](Hyperparameters(0.2, 0.01, 0.3, 0.1), schedule, 4)
    params = network.init(weights)
    state = tx.init(params)
    for picks in training.batches(order, 12, 4, 5):
        batch = Dataset(data.train.inputs[picks], data.train.targets[picks])
        gradient = jax.grad(training.objective, 1)(network, params, batch)
        updates, state = tx.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    expected = training.objective(network, params, data.train)
    np.testing.assert_allclose(outcome.train_loss, [expected], rtol=1e-5)


def test_a_run_that_diverges_is_the_worst_there_is(data, network):
    train = training.trainer(data, network, METHODS["sgd"], 4, 5)
    outcome = train(parameters([np.inf, 0.1], [0, 0], [1, 1], [1, 1]), np.array([0, 0]))
    assert outcome.train_loss[0] == np.inf and outcome.test_accuracy[0] == 0
    assert np.isfinite(outcome.train_loss[1])


def test_configurations_are_at_the_same_places_of_the_ranges_of_every_method():
    ranges = {name: (1e-4, 1e-2) for name in Hyperparameters._fields}
    first = tuning.drawn(ranges, 50, 0)
    second = tuning.drawn(ranges | {"learning_rate": (1.0, 100.0)}, 50, 0)
    np.testing.assert_allclose(second.learning_rate, 1e4 * first.learning_rate)
    assert first.learning_rate.min() >= 1e-4 and first.learning_rate.max() <= 1e-2
    # Log-uniform: half of them below the geometric mean.
    assert 15 < (first.learning_rate < 1e-3).sum() < 35


def test_the_best_configuration_is_the_most_accurate_one_and_then_the_one_of_lowest_loss():
    def train(h, seeds):
        loss = h.weight_decay + 0.0 * seeds
        return training.Outcome(loss, loss, h.learning_rate, loss, loss)

    accuracies = np.array([0.5, 0.9, 0.9, 0.1])
    losses = np.array([0.0, 2.0, 1.0, 0.0])
    found = tuning.search(train, Hyperparameters(accuracies, losses, losses, losses), [7, 8])
    assert found.best == 2 and found.outcome.train_loss.shape == (4, 2)


def test_the_interval_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(size=400)
    mean, low, high = tuning.interval(values)
    assert mean == values.mean()
    np.testing.assert_allclose([mean - low, high - mean], 1.96 * values.std() / 20, rtol=0.1)


@pytest.mark.parametrize("method", ["rmsprop", "rf_rmsprop"])
def test_every_coordinate_of_a_quadratic_ends_at_the_edge(method):
    curvatures = jnp.array([0.1, 1.0, 10.0])
    late = edge.on_quadratic(method, jnp.float32(0.05), curvatures, 2000)
    np.testing.assert_allclose(late.sharpness, 1, atol=0.03)
    if method == "rmsprop":
        np.testing.assert_allclose(late.loss, curvatures * 0.05**2 / 8, rtol=0.1)
    else:
        np.testing.assert_allclose(late.loss, (0.05 / 2 - 1e-4 / curvatures) / 2, rtol=0.1)


def test_the_rate_at_the_edge_is_the_smallest_that_gets_there_early():
    sharpness = np.array([[0.1, 0.2, 1.2, 1.0], [0.5, 1.1, 1.0, 1.0], [2.0, 1.0, 1.0, 1.0]])
    nothing = np.zeros((3, 4))
    tracked = edge.Tracked(sharpness, nothing, nothing, np.array([False] * 3), nothing)
    assert edge.first_at_edge(tracked) == 1
    diverged = tracked._replace(diverged=np.array([False, True, True]))
    assert edge.first_at_edge(diverged) == 0


def test_the_exponent_of_the_best_rate_is_that_of_the_law():
    rates = np.geomspace(1e-3, 1, 16)
    sizes = np.array([4, 16, 64])
    losses = [
        np.exp((np.log(rates) - np.log(3e-3 * size**power)) ** 2)[:, None]
        for power in (0.5, 1.0)
        for size in sizes
    ]
    results = xr.Dataset(
        {
            "scaling_loss": (
                ("scaled", "batch_size", "rung", "scaling_seed"),
                np.reshape(losses, (2, 3, 16, 1)),
            ),
            "scaling_rate": (("scaled", "rung"), [rates, rates]),
        },
        {"scaled": ["rmsprop", "rf_rmsprop"], "batch_size": sizes, "scaling_seed": [0]},
    )
    for method, power in measures.EXPONENTS.items():
        assert measures.exponent(results, method) == pytest.approx(power, abs=1e-3)
        assert measures.best_rates(results, method)[1].all()
