import pytest

from experiments.benchmarks import first_minutes as benchmark

COLD = {
    "wall": 20.0,
    "cpu": 25.0,
    "imports": 3.0,
    "programs": {
        "tracing": {"_run": 2.0, "last": 0.5},
        "lowering": {"_run": 1.0},
        "XLA": {"_run": 8.0, "start": 3.0},
    },
}
WARM = COLD | {"wall": 7.0, "programs": COLD["programs"] | {"XLA": {"_run": 0.25}}}


def test_the_parts_of_a_run_add_up():
    table = benchmark.parts({"mlp, cold": COLD, "mlp, warm": WARM})
    assert table.rows[0] == ["mlp, cold", 20.0, 25.0, 3.0, 2.5, 1.0, 11.0, 2.5]
    assert table.rows[1][-2:] == [0.25, 0.25]


def test_programs_are_in_the_order_of_their_cost():
    table = benchmark.by_program("mlp", COLD, WARM)
    assert table.rows[0] == ["_run", 2.0, 1.0, 8.0, 0.25]
    assert [row[0] for row in table.rows] == ["_run", "start", "last"]


@pytest.mark.slow
def test_a_second_run_finds_all_programs_in_the_cache(tmp_path, monkeypatch):
    """Only what has to be loaded takes time in XLA, and nothing new is kept."""
    programs = tmp_path / "programs"

    def run(name):
        return benchmark.measured(benchmark.watched, "mlp", str(tmp_path / name), str(programs))

    cold = run("cold")
    kept = sorted(file.name for file in programs.iterdir())
    warm = run("warm")
    assert sorted(file.name for file in programs.iterdir()) == kept
    xla = [sum(found["programs"]["XLA"].values()) for found in (cold, warm)]
    assert xla[1] < xla[0] / 4
