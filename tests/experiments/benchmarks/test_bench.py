"""The loose half of what the benchmark prints."""

import jax
import numpy as np
import pytest

import rodflow
from experiments import problems
from experiments.benchmarks import __main__ as bench
from experiments.configuration import config

CHAINS = bench.chains()


@pytest.mark.slow  # the example of the README has a chain at the edge
@pytest.mark.parametrize("name", CHAINS)
def test_rod_flow_reaches_half_of_its_target(name):
    tx, target = CHAINS[name]
    problem = problems.configured(config.load())
    tracking = rodflow.track(problem.loss, tx, problem.init(jax.random.key(0)))
    assert tracking.improvement()["rod"] > max(1.0, target / 2)
    np.testing.assert_allclose(tracking.flows["rod"].gradients, 4)


@pytest.mark.slow
def test_rank_four_follows_gradient_descent_closer_than_rank_one():
    def rod(rank):
        return lambda it: rodflow.RodFlow(it, rodflow.CovarianceRod(rank=rank))

    problem = problems.configured(config.load())
    flows = {"stable": rodflow.StableFlow, "one": rod(1), "four": rod(4)}
    params = problem.init(jax.random.key(0))
    improvement = rodflow.track(problem.loss, CHAINS["gd"][0], params, flows=flows).improvement()
    assert improvement["four"] > improvement["one"] > 1.5
