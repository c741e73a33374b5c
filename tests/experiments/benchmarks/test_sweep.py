from experiments.benchmarks import sweep as benchmark
from experiments.setup.roofline import Arithmetic


def test_compilation_is_counted_once_or_for_each_run(quadratic, monkeypatch):
    seen = {}

    def best(runs):
        assert len(runs["loop"]()) == 4 and runs["vmap"]().loss.shape == (4, 2)
        return {"loop": 4.0, "vmap": 0.5}

    first = iter([7.0, 12.0])
    monkeypatch.setattr(benchmark, "LANES", 4)
    monkeypatch.setattr(benchmark, "STEPS", 20)
    monkeypatch.setattr(benchmark, "best_seconds", best)
    monkeypatch.setattr(benchmark, "timed", lambda run: (run(), next(first)))
    monkeypatch.setattr(benchmark, "fastest", lambda: Arithmetic(1.0, 1.0))
    monkeypatch.setattr(benchmark, "bounds", lambda *given: seen.update(given=given) or ["bound"])
    table, said = benchmark.sweep()
    assert said == "bound"
    assert [row[1:] for row in table.rows] == [
        ["4.0", "0.5", "8.0"],
        ["10.0", "12.0", "0.8"],  # 7 + 4 * 3 / 4
        ["28.0", "12.0", "2.3"],
    ]
    # The rod flow takes 4 gradients a step, beside that of the iterates.
    gradients, _, seconds, _ = seen["given"]
    assert (gradients, seconds) == (4 * 20 * 5, 4.0)
