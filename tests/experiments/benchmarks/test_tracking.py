import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rodflow
from experiments import problems
from experiments.benchmarks import tracking as benchmark
from experiments.configuration import config


def test_entries_are_ratios_of_means_over_the_run(tracking):
    result = tracking(
        floor=[[0.5, 1.5], [1.0, 3.0]],
        stable=[[10.0, 30.0], [40.0, 80.0]],
        rod=[[1.0, 3.0], [2.0, 4.0]],
    )
    # Improvements 20 / 2 and 60 / 3; over the floors 1 and 2: 20 and 30, 2 and 1.5.
    assert benchmark.entries(result, 7) == [10.0, 20.0, 15.0, 7, 25.0, 1.75]


def test_every_optimizer_of_the_papers_has_a_target_and_every_chain_is_built():
    assert list(benchmark.TARGETS)[:9] == list(rodflow.OPTIMIZERS)
    params = {"w": jnp.ones((2, 3))}
    for name in benchmark.targets():
        tx = benchmark.chain(name)
        (update,) = jax.tree.leaves(tx.update(params, tx.init(params), params)[0])
        assert np.all(update <= 0), name  # downhill, or at rest in the first step of a warmup


def test_seeds_are_lanes_of_the_problem(quadratic):
    result = benchmark.over_seeds(benchmark.chain("gd"), {"stable": rodflow.StableFlow()}, twins=1)
    assert result.loss.shape == (benchmark.SEEDS, 60) and result.floor.shape == result.loss.shape
    rate = config.load(["optimizer=gd"]).optimizer.learning_rate
    w = (1 - rate * np.array([1.0, 4.0])) ** (20 + 10)  # 20 steps of warmup, and the first record
    np.testing.assert_allclose(result.loss[:, 0], w**2 @ [0.5, 2.0], rtol=1e-4, atol=1e-30)


def test_ratios_are_of_means_and_of_ends_and_medians_over_seeds(tracking):
    result = tracking(
        stable=[[10.0, 30.0], [40.0, 80.0]],
        signed=[[1.0, 3.0], [2.0, 4.0]],
        one=[[20.0, 60.0], [40.0, 20.0]],
    )
    assert benchmark.distance_ratios(result) == {"signed": (15.0, 15.0), "one": (1.25, 2.25)}


@pytest.mark.slow  # the example of the README has a chain at the edge
@pytest.mark.parametrize("name", benchmark.targets())
def test_rod_flow_reaches_half_of_its_target(name):
    problem = problems.configured(config.load())
    found = rodflow.track(problem.loss, benchmark.chain(name), problem.init(jax.random.key(0)))
    assert found.improvement()["rod"] > max(1.0, benchmark.targets()[name] / 2)
    np.testing.assert_allclose(found.flows["rod"].gradients, 4)


@pytest.mark.slow
def test_rank_four_follows_gradient_descent_closer_than_rank_one():
    problem = problems.configured(config.load())
    params = problem.init(jax.random.key(0))
    found = rodflow.track(
        problem.loss, benchmark.chain("gd"), params, flows=benchmark.RODS
    ).improvement()
    assert found["rank 4"] > found["rank 1"] > 1.5
