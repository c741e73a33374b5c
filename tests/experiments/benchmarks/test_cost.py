import pytest

from experiments.benchmarks import cost as benchmark


def test_a_flow_costs_what_it_adds_to_the_iterates():
    seconds = {"discrete": 0.25, "rod": 1.5, "stable": 1.0}
    assert benchmark.entries(seconds) == [0.25, 1.25, 5.0, 3.0]


@pytest.mark.slow
def test_the_programs_that_are_timed_differ_by_their_flows(quadratic, monkeypatch):
    def once(runs):
        flows = {name: list(run()[1].flows) for name, run in runs.items()}
        assert flows == {"discrete": [], "rod": ["rod"], "stable": ["stable"]}
        (steps,) = {int(run()[1].steps[-1]) for run in runs.values()}
        assert steps == 600
        return {"discrete": 1.0, "rod": 5.0, "stable": 3.0}

    monkeypatch.setattr(benchmark, "best_seconds", once)
    (table,) = benchmark.cost()
    assert table.texts() == [[name, "1.00", "4.00", "4.0", "2.0"] for name in ("gd", "adam")]
