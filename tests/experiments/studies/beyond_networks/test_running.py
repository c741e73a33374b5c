import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.beyond_networks.methods import METHODS
from experiments.studies.beyond_networks.problems import (
    Problem,
    Samples,
    factorization,
    squared_error,
)
from experiments.studies.beyond_networks.running import Run, runner, tune

CONDITION = 1e4  # of the Hessian of the least squares below


@pytest.fixture(scope="module")
def least_squares():
    """Interpolation by an ill-conditioned linear model."""
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(40, 6)))[0]
    inputs = jnp.asarray(np.sqrt(40) * rotation * np.geomspace(1, CONDITION**-0.5, 6), jnp.float32)
    samples = Samples(inputs, inputs @ jnp.ones((6, 1)))
    return Problem(samples, squared_error, lambda _: [jnp.zeros((1, 6))], 0.0, None)


def run(problem, name, passes, learning_rate=None, batch_size=40):
    method = METHODS[name]
    rate = learning_rate or method.learning_rate
    return runner(problem, method, batch_size, passes, records=2)([rate], [0])


@pytest.mark.slow
def test_polyak_with_infimum_zero_converges_where_the_model_interpolates():
    problem = factorization(40, None, 0)
    assert problem.infimum == 0
    losses = run(problem, "polyak", 60, batch_size=10).loss[0]
    assert losses[-1] < 1e-6 * losses[0]


@pytest.mark.slow
def test_lbfgs_solves_what_is_ill_conditioned_by_orders_of_magnitude_better(least_squares):
    # Gradient descent at any stable rate leaves the flat direction nearly where it was.
    slow = run(least_squares, "sgd", 60, learning_rate=1.9).loss[0, -1]
    fast = run(least_squares, "lbfgs", 60).loss[0, -1]
    assert fast < 1e-3 * slow


def test_no_run_spends_more_than_its_budget_and_all_is_counted(least_squares):
    spent = run(least_squares, "armijo", 60)
    assert spent.passes[0, 0] == 0 and spent.passes[0, -1] <= 60
    assert spent.losses[0] >= spent.gradients[0] > 1
    assert spent.passes[0, -1] == spent.losses[0] + spent.gradients[0]


def test_a_search_goes_on_until_the_best_rate_has_worse_ones_on_both_sides():
    def parabola(rates, seeds):
        losses = 1 + (np.log(rates) - np.log(3e-6)) ** 2
        return Run(None, np.stack([losses, losses], axis=1), None, None, None)

    found = tune(parabola, [0, 1])
    assert found.interior and 1e-6 < found.learning_rate < 1e-5
    forever = tune(lambda r, s: Run(None, np.stack([r, r], 1), None, None, None), [0])
    assert not forever.interior
