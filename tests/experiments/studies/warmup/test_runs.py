"""The runs of the study of warmup, of a linear model on few samples."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow
from experiments.problems.data.dataset import Dataset
from experiments.problems.models.model import Model
from experiments.studies.warmup import runs

STEPS = 6
MEASURED = np.arange(STEPS) % 2 == 0
LEARNING_RATE = 0.5


@pytest.fixture(scope="module")
def task():
    random = np.random.default_rng(0)
    inputs = random.normal(size=(30, 2))
    inputs[-1] = inputs[0]  # a test sample that is trained on
    targets = np.eye(3)[random.integers(3, size=30)]
    model = Model(
        lambda key: {"w": jax.random.normal(key, (2, 3))}, lambda params, x: x @ params["w"]
    )
    dataset = Dataset(jnp.asarray(inputs, jnp.float32), jnp.asarray(targets, jnp.float32))
    return runs.task(model, dataset, 20)


def test_samples_that_are_trained_on_are_no_test(task):
    assert len(task.train.inputs) == 20
    assert len(task.test.inputs) == 9


def test_without_new_samples_there_is_no_test():
    model = Model(lambda key: jnp.zeros(2), lambda params, x: x @ params)
    dataset = Dataset(jnp.ones((6, 2)), jnp.ones((6, 1)))
    with pytest.raises(ValueError, match=r"train=4 leaves no sample .* 1 different ones"):
        runs.task(model, dataset, 4)


@pytest.mark.slow
def test_the_full_batch_against_a_loop(task):
    tx, key = optax.sgd(LEARNING_RATE), jax.random.key(3)
    found = jax.jit(
        lambda wait: runs.run(task, tx, key, wait, MEASURED, members=1, batch=None, most=0)
    )(jnp.array(False))
    params = task.init(jax.random.fold_in(key, 0))
    for step in range(STEPS):
        np.testing.assert_allclose(found.loss[step], task.loss(params), rtol=1e-5)
        if MEASURED[step]:
            top = jnp.linalg.eigvalsh(jax.hessian(task.loss)(params))[-1]
            np.testing.assert_allclose(found.sharpness[step], LEARNING_RATE * top / 2, rtol=1e-4)
        gradient = jax.grad(task.loss)(params)
        np.testing.assert_allclose(found.histogram[step], by_hand(gradient), atol=1e-6)
        params = params - LEARNING_RATE * gradient
    np.testing.assert_allclose(found.train_loss, [task.loss(params)], rtol=1e-5)
    right = np.argmax(task.test.inputs @ params.reshape(2, 3), -1)
    assert found.accuracy[0] == np.mean(right == np.argmax(task.test.targets, -1))
    assert np.isnan(found.sharpness[~MEASURED]).all()
    np.testing.assert_array_equal(found.variance[MEASURED], 0)


def by_hand(gradient):
    return np.histogram(np.log10(np.abs(gradient)), runs.EDGES)[0] / gradient.size


@pytest.mark.slow
def test_second_moments_that_wait_have_less_variance(task):
    """The parameters stay meanwhile; members begin together and go apart."""
    most = 40

    @jax.jit
    def run(wait):
        tx = rodflow.second_moments_first(optax.adam(0.01, b2=0.999), most * wait)
        key = jax.random.key(3)
        return runs.run(task, tx, key, wait, MEASURED, members=8, batch=2, most=most)

    waited, plain = run(jnp.array(True)), run(jnp.array(False))
    assert waited.loss[0] == plain.loss[0]
    assert len(set(waited.train_loss.tolist())) == 8
    # Of the relative variance of 1 / sqrt(nu_hat) a mean of 41 squares has about 1 / 80.
    assert 0 < waited.variance[0] < 0.05 < plain.variance[0]
