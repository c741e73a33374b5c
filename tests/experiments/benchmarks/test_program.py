import pytest

from experiments.benchmarks import program as benchmark
from experiments.benchmarks.scaling import accelerators
from experiments.setup.roofline import Arithmetic

COUNT, FASTEST = Arithmetic(1e11, 1e9), Arithmetic(2e11, 2e9)


def test_columns_are_times_of_the_loop(monkeypatch):
    def measured(function, *arguments, devices=1):
        if function is accelerators:
            return []
        assert function is benchmark.seconds_of and arguments == (devices,)
        ways = {"one": [2.5, 0.1], "loop": [9.0, 6.4], "all": [8.0, 3.2], "single": [7.0, 1.6]}
        return ways | {"gradients": 1000.0, "arithmetic": COUNT, "fastest": FASTEST}

    monkeypatch.setattr(benchmark, "measured", measured)
    monkeypatch.setattr(benchmark, "bounds", lambda *given: [str(given)])
    table, said = benchmark.program()
    each, loop, *lanes = table.rows
    assert each[3] == "160.0"  # 64 x 2.5
    assert loop[1:] == ["6.4", "1", "8.8", "1"]  # 2.5 + 6.4 x 63 / 64
    assert [row[0] for row in lanes[:2]] == ["1 device", "1 device, one lane at a time"]
    assert [row[0] for row in lanes[2:]] == ["2 devices", "2 devices, one lane at a time"]
    assert lanes[0][1:] == ["3.2", "2.00", "8.0", "1.10"]
    assert lanes[1][1:] == ["1.6", "4.00", "7.0", "1.26"]
    assert said == str((1000.0, COUNT, 6.4, FASTEST))


@pytest.mark.slow
def test_every_way_runs_all_lanes(quadratic, monkeypatch):
    monkeypatch.setattr(benchmark, "MANY", 3)
    monkeypatch.setattr(benchmark, "STEPS", 10)
    monkeypatch.setattr(benchmark, "fastest", lambda: (1.0, 1.0))
    found = benchmark.seconds_of(1)
    for way in ("one", "loop", "all", "single"):
        first, after = found[way]
        assert first > 0 and after > 0
    # Of each step: one of the iterates, four of the rod flow, and several of the stable flow.
    assert found["gradients"] > 3 * 10 * (1 + 4 + 1)
