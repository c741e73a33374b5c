import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow
from experiments.benchmarks import controllers
from experiments.benchmarks.networks import Network
from experiments.problems.data.dataset import Dataset


@pytest.fixture
def quadratic():
    """A quadratic of curvatures 1 and 4 that is the same for all samples."""
    curvatures = jnp.array([1.0, 4.0])

    def loss(params, samples):
        return params @ (curvatures * params) / 2 + 0 * jnp.sum(samples.inputs)

    return Network(lambda key: jnp.ones(2), loss, Dataset(jnp.zeros((8, 1)), jnp.zeros((8, 1))))


@pytest.mark.parametrize("batch", [None, 4])
def test_lanes_are_constant_rates_and_controllers(quadratic, batch):
    def chain(value):
        return optax.chain(optax.sgd(1.0), controllers.scaled(value))

    values = np.array([0.1, 0.4, -1.5])
    found = controllers.trained(quadratic, chain, values, batch, 20, seeds=2)
    assert found.shape == (3, 2, 20)
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    t = np.arange(20)
    for curve, rate in zip(found[:2, 0], (0.1, 0.4), strict=True):
        exact = sum(k / 2 * (1 - rate * k) ** (2 * t) for k in (1.0, 4.0))
        np.testing.assert_allclose(curve, exact, rtol=1e-4)
    tx = optax.chain(optax.sgd(1.0), rodflow.scale_to_edge(1.5))
    value_fn = lambda w: quadratic.whole(w)  # noqa: E731
    params = jnp.ones(2)
    state = tx.init(params)
    for seen in found[2, 0]:
        np.testing.assert_allclose(seen, value_fn(params), rtol=1e-3, atol=1e-12)
        grads = jax.grad(value_fn)(params)
        updates, state = tx.update(grads, state, params, value_fn=value_fn)
        params = optax.apply_updates(params, updates)


def test_a_row_compares_with_the_best_constant(quadratic):
    row, ratios = controllers.compared(quadratic, "sgd", 0.8, None, 30)
    # Of .8, .4, .2, .1 and less the rate .4 shrinks the slower mode by .6 a step, the other too.
    assert row[0] == pytest.approx(0.4)
    assert row[2] == pytest.approx(28)  # the mean of the last three is between the last two
    assert row[3:6] == ratios and len(row) == 9
    for ratio, reached in zip(ratios, row[6:], strict=True):
        assert (reached is None) or ratio < 30


def test_ends_are_infinite_for_a_run_that_is_lost():
    curves = np.ones((3, 2, 20))
    curves[1, 0, -1] = np.nan
    curves[2, :, -2:] = [3.0, 5.0]
    np.testing.assert_array_equal(controllers.ends(curves), [1, np.inf, 4])


def test_the_first_step_at_a_loss_is_that_of_the_mean_of_seeds():
    curves = np.array([[4.0, 3.0, 1.0, 0.0], [4.0, 1.0, 2.0, 0.0]])
    assert controllers.first_at(curves, 2.0) == 1
    assert controllers.first_at(curves, 1.6) == 2
    assert controllers.first_at(curves, -1.0) is None
    assert controllers.first_at(np.full((1, 3), np.nan), 1.0) is None


def test_sentences_count_cases():
    ratios = np.array([[0.5, 1.0, 3.0], [0.9, 2.0, np.inf]])
    said = list(controllers.sentences("full batch", ratios))
    assert "in 2 of 2 cases, lost in 0; median ratio 0.70" in said[0]
    assert "in 1 of 2 cases" in said[1]
    assert "in 0 of 2 cases, lost in 1" in said[2]


def test_the_first_step_of_gi_adam_is_short(quadratic):
    rows = {row[0]: row for row in controllers.started("two", quadratic, steps=20)}
    adam, warm, start = (rows[f"two, {label}"] for label in controllers.STARTS)
    # sqrt(1 - b2) with b2 = .999, and one of 50 steps.
    assert start[4] / adam[4] == pytest.approx(0.001**0.5, rel=0.02)
    assert warm[4] / adam[4] == pytest.approx(1 / controllers.WARMUP, rel=0.02)
