import jax
import pytest

import rodflow
from experiments import problems
from experiments.benchmarks import covariance as benchmark
from experiments.benchmarks.tracking import chain
from experiments.configuration import config


def test_ratios_are_of_means_and_of_ends_and_medians_over_seeds(tracking):
    result = tracking(
        stable=[[10.0, 30.0], [40.0, 80.0]],
        signed=[[1.0, 3.0], [2.0, 4.0]],
        one=[[20.0, 60.0], [40.0, 20.0]],
    )
    assert benchmark.distance_ratios(result) == {"signed": (15.0, 15.0), "one": (1.25, 2.25)}


@pytest.mark.slow
def test_rank_four_follows_gradient_descent_closer_than_rank_one():
    problem = problems.configured(config.load())
    params = problem.init(jax.random.key(0))
    found = rodflow.track(problem.loss, chain("gd"), params, flows=benchmark.FLOWS).improvement()
    assert found["rank 4"] > found["rank 1"] > 1.5
