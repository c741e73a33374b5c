import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

from experiments.studies.beyond_networks import shown
from experiments.studies.beyond_networks.methods import METHODS
from experiments.studies.beyond_networks.problems import (
    Problem,
    Samples,
    factorization,
    separable,
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


def test_accepted_steps_of_the_line_search_decrease_a_quadratic_sufficiently():
    curvatures = jnp.array([30.0, 1.0])

    def loss(x):
        return jnp.sum(curvatures * x**2) / 2

    tx = METHODS["armijo"].chain(1.0, 1.0)
    params = jnp.array([1.0, 1.0])
    state = tx.init(params)
    step = jax.jit(
        lambda params, state: tx.update(
            jax.grad(loss)(params), state, params,
            value=loss(params), grad=jax.grad(loss)(params), value_fn=loss,
        )
    )  # fmt: skip
    tried = 1.0
    for _ in range(8):
        updates, state = step(params, state)
        slope = jnp.sum(jax.grad(loss)(params) ** 2)
        size = float(optax.tree.get(state, "learning_rate"))
        count = int(METHODS["armijo"].losses(state))
        # c = .1, from twice the last step size (B = n) down by factors of .9: all tries counted.
        assert loss(params + updates) <= loss(params) - 0.1 * size * slope + 1e-6
        assert size == pytest.approx(min(2 * tried, 10) * 0.9 ** (count - 1), rel=1e-5)
        longer = params - size / 0.9 * jax.grad(loss)(params)
        if count > 1:
            assert loss(longer) > loss(params) - 0.1 * size / 0.9 * slope - 1e-6
        params, tried = params + updates, size


def test_polyak_with_infimum_zero_converges_where_the_model_interpolates():
    problem = factorization(40, None, 0)
    assert problem.infimum == 0
    losses = run(problem, "polyak", 60, batch_size=10).loss[0]
    assert losses[-1] < 1e-6 * losses[0]


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


def test_the_infimum_of_a_factorization_is_what_the_singular_values_say():
    # Of a rank it can reach, an exact alternating least squares finds it.
    problem = factorization(30, 2, 3)
    x, y = (np.asarray(part, float) for part in problem.samples)
    left = np.random.default_rng(0).normal(size=(10, 2))
    for _ in range(200):
        right = np.linalg.lstsq(x, y @ np.linalg.pinv(left).T, rcond=None)[0].T
        left = np.linalg.lstsq(x @ right.T, y, rcond=None)[0].T
    loss = squared_error([jnp.asarray(right), jnp.asarray(left)], problem.samples)
    np.testing.assert_allclose(loss, problem.infimum, rtol=1e-4)


def test_points_keep_the_margin_of_one_hyperplane():
    problem = separable(100, 5, 0.2, 0)
    # The classes can be separated, and by no plane better than by about the one they were made of.
    x = np.concatenate([problem.samples.inputs, problem.held_out.inputs])
    y = np.concatenate([problem.samples.targets, problem.held_out.targets])
    direction = np.random.default_rng([0, 0]).normal(size=5)
    margins = y * (x @ direction) / np.linalg.norm(direction)
    assert 0.2 <= margins.min() < 0.25


def test_a_search_goes_on_until_the_best_rate_has_worse_ones_on_both_sides():
    def parabola(rates, seeds):
        losses = 1 + (np.log(rates) - np.log(3e-6)) ** 2
        return Run(None, np.stack([losses, losses], axis=1), None, None, None)

    found = tune(parabola, [0, 1])
    assert found.interior and 1e-6 < found.learning_rate < 1e-5
    forever = tune(lambda r, s: Run(None, np.stack([r, r], 1), None, None, None), [0])
    assert not forever.interior


def results_of(losses):
    """Made-up results of two methods on one problem: final losses -> results."""
    shape = (1, 1, 2, 1, 2)
    curves = np.ones(shape)
    curves[..., 1] = np.reshape(losses, (1, 1, 2, 1))
    dims = ("problem", "regime", "method", "seed", "record")
    return xr.Dataset(
        {
            "loss": (dims, curves),
            "passes": (dims, np.broadcast_to([0.0, 5.0], shape)),
            "gradients": (dims[:4], np.full(shape[:4], 5.0)),
            "losses": (dims[:4], np.zeros(shape[:4])),
            "accuracy": (dims[:4], np.full(shape[:4], 0.5)),
            "learning_rate": (dims[:3], [[[1e-3, 0.1]]]),
            "interior": (dims[:3], [[[1.0, 1.0]]]),
            "searched": (dims[:3], [[[0.0, 8.0]]]),
            "infimum": (dims[:2], [[0.0]]),
        },
        {
            "problem": ["linear"],
            "regime": ["minibatch"],
            "method": ["adam_default", "adam"],
            "seed": [0],
        },
    )


def test_losses_that_cannot_be_told_from_the_infimum_share_a_place():
    assert shown.ranks(results_of([1e-2, 1e-9])).values.ravel().tolist() == [2, 1]
    assert shown.ranks(results_of([1e-13, 0.0])).values.ravel().tolist() == [1.5, 1.5]
    assert shown.ranks(results_of([np.nan, 3.0])).values.ravel().tolist() == [2, 1]


def test_it_can_be_shown():
    results = results_of([1e-2, 1e-9])
    tables = shown.tables(results)
    assert tables[0].rows[0] == ["linear, minibatch", "0.0100", "**1e-9**"]
    findings = " ".join(shown.findings(results))
    assert "Adam, default: mean rank 2.00" in findings
    assert "100 to 100 times its default (0.00100); tuning divides" in findings
    assert set(shown.figures(results)) == {"losses-minibatch", "ranks"}
