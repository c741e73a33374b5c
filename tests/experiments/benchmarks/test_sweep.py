import os
from pathlib import Path

import numpy as np
import pytest

import rodflow
from experiments.benchmarks import sweep as benchmark
from experiments.configuration import config
from experiments.setup.roofline import Arithmetic

COUNT, FASTEST = Arithmetic(1e11, 1e9), Arithmetic(2e11, 2e9)


def test_compilation_is_counted_once_or_for_each_run(quadratic, monkeypatch):
    seen = {}

    def best(runs):
        assert len(runs["loop"]()) == 4 and runs["vmap"]().loss.shape == (4, 2)
        return {"loop": 4.0, "vmap": 0.5}

    first = iter([7.0, 12.0])
    monkeypatch.setattr(benchmark, "FEW", 4)
    monkeypatch.setattr(benchmark, "FEW_STEPS", 20)
    monkeypatch.setattr(benchmark, "best_seconds", best)
    monkeypatch.setattr(benchmark, "timed", lambda run: (run(), next(first)))
    monkeypatch.setattr(benchmark, "fastest", lambda: Arithmetic(1.0, 1.0))
    monkeypatch.setattr(benchmark, "bounds", lambda *given: seen.update(given=given) or ["bound"])
    table, said = benchmark.sweep()
    assert said == "bound"
    assert [row[1:] for row in table.rows] == [
        [4.0, 0.5, 8.0],
        [10.0, 12.0, 10 / 12],  # 7 + 4 * 3 / 4
        [28.0, 12.0, 28 / 12],
    ]
    # The rod flow takes 4 gradients a step, beside that of the iterates.
    gradients, _, seconds, _ = seen["given"]
    assert (gradients, seconds) == (4 * 20 * 5, 4.0)


def test_columns_are_times_of_the_loop(monkeypatch):
    def measured(function, *arguments, devices=1):
        if function is benchmark.accelerators:
            return []
        assert function is benchmark.ways and arguments == (devices,)
        ways = {"one": [2.5, 0.1], "loop": [9.0, 6.4], "all": [8.0, 3.2], "single": [7.0, 1.6]}
        return ways | {"gradients": 1000.0, "arithmetic": COUNT, "fastest": FASTEST}

    monkeypatch.setattr(benchmark, "measured", measured)
    monkeypatch.setattr(benchmark, "bounds", lambda *given: [str(given)])
    table, said = benchmark.program()
    each, loop, *lanes = table.rows
    assert each[1:] == [None, None, 160.0, 8.8 / 160]  # 64 x 2.5
    assert loop[1:] == [6.4, 1.0, 8.8, 1.0]  # 2.5 + 6.4 x 63 / 64
    assert [row[0] for row in lanes[:2]] == ["1 device", "1 device, one lane at a time"]
    assert [row[0] for row in lanes[2:]] == ["2 devices", "2 devices, one lane at a time"]
    assert lanes[0][1:] == [3.2, 2.0, 8.0, 1.1]
    assert lanes[1][1:] == [1.6, 4.0, 7.0, 8.8 / 7]
    assert said == str((1000.0, COUNT, 6.4, FASTEST))


@pytest.mark.slow
def test_every_way_runs_all_lanes(quadratic, monkeypatch):
    monkeypatch.setattr(benchmark, "MANY", 3)
    monkeypatch.setattr(benchmark, "MANY_STEPS", 10)
    monkeypatch.setattr(benchmark, "fastest", lambda: (1.0, 1.0))
    found = benchmark.ways(1)
    for way in ("one", "loop", "all", "single"):
        first, after = found[way]
        assert first > 0 and after > 0
    # Of each step: one of the iterates, four of the rod flow, and several of the stable flow.
    assert found["gradients"] > 3 * 10 * (1 + 4 + 1)


def test_processes_need_a_core_each(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    assert list(benchmark.processes()) == [
        "processes: left out, there are no two cores to give them"
    ]


def test_one_process_is_compared_with_two_after_compiling(monkeypatch):
    calls = []

    def swept(folder, on, count):
        calls.append((on, count))
        assert not Path(folder).exists()
        return 10.0 * count / len(on), 9.0

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7}, raising=False)
    monkeypatch.setattr(benchmark, "swept", swept)
    (table,) = benchmark.processes()
    assert calls == [([3], 1), ([3], 48), ([3, 5], 48)]
    assert table.rows == [["1", 480.0, 9.0], ["2", 240.0, 9.0]]


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
