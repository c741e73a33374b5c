import numpy as np
import pytest

import rodflow
from experiments.benchmarks import lanes as benchmark
from experiments.configuration import config
from experiments.setup.roofline import Arithmetic


def test_rates_lie_around_that_of_the_configuration():
    (rates,) = benchmark.rates(5).values()
    np.testing.assert_allclose(rates[[0, -1]], [2e-4, 2e-3], rtol=1e-6)
    assert rates[0] < config.load().optimizer.learning_rate < rates[-1]


def test_a_lane_is_a_run_after_one_step_of_warmup(quadratic):
    member = benchmark.tracked({"stable": rodflow.StableFlow()}, 40, *benchmark.default_problem())
    found = benchmark.whole(member({"learning_rate": 1e-3}))
    np.testing.assert_array_equal(found.steps, [10, 20, 30, 40])
    # Adam moves each parameter by the rate in each step, at first: 11 of them until the record.
    w = 1 - 11e-3
    np.testing.assert_allclose(found.loss[0], w**2 * 2.5, rtol=1e-3)


def test_a_flow_that_diverged_is_not_timed(tracking):
    result = tracking(stable=[[1.0, 2.0], [3.0, 4.0]])
    assert benchmark.whole(result) is result
    lost = result.flows["stable"]._replace(diverged_at=np.array([[-1, 15], [-1, -1]]))
    with pytest.raises(RuntimeError, match="diverged"):
        benchmark.whole(result._replace(flows={"stable": lost}))


@pytest.mark.parametrize("alone", [None, 1e-3])
def test_products_bound_a_loop_where_they_can_be_timed(alone, monkeypatch):
    monkeypatch.setattr(benchmark, "measured", lambda function: alone)
    monkeypatch.setattr(benchmark, "cores", lambda: 2)
    count, rate = Arithmetic(1e11, 1e9), Arithmetic(2e11, 2e9)
    first, *rest = benchmark.bounds(1000.0, count, 3.0, rate)
    assert "more than 3.0 times" in first
    if alone is None:
        assert rest == []
    else:  # half a second of products on two cores, and half a second of tanh
        assert "take 1 s on one core" in rest[0] and "3.0 times faster than the loop" in rest[0]
