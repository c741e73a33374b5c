import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from chex import assert_trees_all_close, assert_trees_all_equal

import rodflow
from rodflow import MinibatchIteration
from rodflow.maps import Batch

KEY = jax.random.key(3)


def loss(w, batch):
    x, y = batch
    return jnp.mean((x @ w - y) ** 2) / 2


def data(samples=10):
    x, y = np.random.default_rng(0).normal(size=(2, samples, 3))
    return jnp.asarray(x), jnp.asarray(y[:, 0])


def start():
    return jnp.array([0.3, -0.2, 0.5])


@pytest.mark.parametrize("size", [1, 4, 10])
def test_the_map_of_the_full_batch_is_that_of_all_data(x64, size):
    """Also where the batch size does not divide the data."""
    tx = optax.adam(0.1)
    iteration = MinibatchIteration(loss, data(), size, tx)
    whole = rodflow.Iteration(lambda w: loss(w, data()), tx)
    state = iteration.init(start())
    assert_trees_all_equal(state, whole.init(start()))
    assert_trees_all_close(iteration.advance(state), whole.advance(state), rtol=1e-12)
    assert_trees_all_close(iteration.increment(state), whole.increment(state), rtol=1e-12)
    assert_trees_all_equal(iteration.parity(start()), whole.parity(start()))
    assert iteration.updates == 1


def test_a_step_on_a_batch_is_that_of_its_loss(x64):
    tx = optax.sgd(0.1, momentum=0.9)
    iteration = MinibatchIteration(loss, data(), 4, tx)
    batch = iteration.batch(KEY, 5)
    of_batch = rodflow.Iteration(lambda w: loss(w, batch.data), tx)
    state = iteration.init(start())
    assert_trees_all_close(iteration.advance_on(state, batch), of_batch.advance(state))
    assert_trees_all_close(iteration.increment_on(state, batch), of_batch.increment(state))


@pytest.mark.parametrize("size", [2, 4, 10])
def test_the_mean_over_batches_is_the_full_batch_where_the_map_is_linear(x64, size):
    iteration = MinibatchIteration(loss, data(), size, optax.sgd(0.1, momentum=0.9))
    state = iteration.init(start())
    mean = iteration.mean_increment(state, KEY)
    assert_trees_all_close(mean, iteration.increment(state), rtol=1e-12)


def test_the_mean_over_batches_has_the_mean_square_of_their_gradients(x64):
    iteration = MinibatchIteration(loss, data(), 5, optax.rmsprop(0.1, decay=0.9))
    state = iteration.init(start())
    nu = iteration.mean_increment(state, KEY).opt_state[0].nu
    square = iteration.increment(state).opt_state[0].nu
    assert np.all(nu > 1.01 * square)


def test_noise_has_no_mean_and_the_covariance_of_a_step(x64):
    iteration = MinibatchIteration(loss, data(4), 2, optax.sgd(1.0))
    state = iteration.init(start())
    sets = [jnp.array([i, j]) for i in range(4) for j in range(i)]
    steps = [
        iteration.increment_on(state, Batch(jax.tree.map(lambda x, s=s: x[s], data(4)), KEY)).params
        for s in sets
    ]
    keys = jax.random.split(KEY, 20000)
    noise = jax.vmap(lambda key: iteration.noise(state, key))(keys).params
    exact = np.cov(np.stack(steps).T, bias=True)
    np.testing.assert_allclose(np.cov(noise.T), exact, atol=0.05 * exact.max())
    np.testing.assert_allclose(np.mean(noise, axis=0), 0, atol=5 * (exact.max() / 20000) ** 0.5)


def test_independent_batches_have_distinct_samples():
    iteration = MinibatchIteration(
        lambda w, b: w * jnp.mean(b), jnp.arange(10.0), 6, optax.sgd(0.1)
    )
    drawn = np.stack([iteration.batch(KEY, t).data for t in range(5)])
    assert all(len(set(row)) == 6 for row in drawn)
    assert len({tuple(row) for row in drawn}) == 5
    assert_trees_all_equal(iteration.batch(KEY, 2), iteration.batch(KEY, jnp.array(2)))


def test_epochs_without_replacement_see_every_sample_once():
    iteration = MinibatchIteration(
        lambda w, b: w * jnp.mean(b), jnp.arange(12.0), 4, optax.sgd(0.1), replacement=False
    )
    draw = jax.jit(lambda t: iteration.batch(KEY, t).data)
    epochs = np.stack([draw(t) for t in range(6)]).reshape(2, 12)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), [np.arange(12.0)] * 2)
    assert np.any(epochs[0] != epochs[1])


def test_data_that_a_function_draws_and_losses_with_a_key():
    def of(w, batch, key):
        return jnp.mean(batch * w) * (1 + jax.random.normal(key))

    iteration = MinibatchIteration(
        of, lambda key: jax.random.normal(key, (4,)), None, optax.sgd(1.0)
    )
    state = iteration.init(jnp.array(2.0))
    a, b = (iteration.batch(KEY, t) for t in (0, 1))
    expected = -jnp.mean(a.data) * (1 + jax.random.normal(a.key))
    assert_trees_all_close(iteration.increment_on(state, a).params, expected, rtol=1e-6)
    assert iteration.increment_on(state, b).params != expected
    with pytest.raises(ValueError, match="data are drawn by a function"):
        iteration.loss(jnp.array(2.0))


def test_a_map_moves_to_another_placement_with_all_it_has():
    iteration = MinibatchIteration(loss, data(), 5, optax.sgd(0.1), replacement=False)
    moved = iteration.at(None)
    assert not moved.replacement and moved.batch_loss.batch_size == 5
    assert moved.batch_loss.function is loss and moved.placement is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ((loss, data(), 11, optax.sgd(0.1)), "`batch_size` is 11; it must be at most .* 10"),
        ((loss, data(), 0, optax.sgd(0.1)), "`batch_size` is 0; it must be at least 1"),
        ((loss, data(), None, optax.sgd(0.1)), "`batch_size` is None; it must be an integer"),
        ((loss, (), 2, optax.sgd(0.1)), r"The arrays of `data` have \[\] samples"),
        ((loss, (jnp.ones(3), jnp.ones(2)), 2, optax.sgd(0.1)), r"have \[3, 2\] samples"),
        ((loss, lambda key: key, 4, optax.sgd(0.1)), "`batch_size` is 4 and `replacement` is True"),
        ((lambda w: w, data(), 2, optax.sgd(0.1)), "it must take parameters and a batch"),
        ((loss, data(), 2, None), "`tx` is None; it must be an Optax transformation"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        MinibatchIteration(*make)


def test_batches_without_replacement_divide_the_data():
    with pytest.raises(ValueError, match="`batch_size` is 4; without replacement it must divide"):
        MinibatchIteration(loss, data(), 4, optax.sgd(0.1), replacement=False)


def test_chains_that_ask_for_the_value_are_refused():
    iteration = MinibatchIteration(loss, data(), 4, optax.polyak_sgd())
    with pytest.raises(ValueError, match="asks for the value of the loss; with minibatches"):
        iteration.init(start())
    with pytest.raises(ValueError, match="asks for value, grad, value_fn"):
        MinibatchIteration(loss, data(), 4, optax.lbfgs()).init(start())
