import numpy as np
import pytest

from experiments.benchmarks import scaling


def made_up(cards):
    """Measurements of a machine with some accelerators, all of them power laws."""

    def measured(function, *arguments, devices=1):
        assert devices <= (len(cards) or 8)
        lanes, steps = np.array(scaling.LANES), np.array(scaling.STEPS)
        sizes = 10.0 ** np.arange(3, 8)
        if function is scaling.accelerators:
            return list(cards)
        if function is scaling.lanes:
            assert arguments == (devices,)
            return {"seconds": (0.05 * lanes / devices).tolist(), "bytes": (1e6 * lanes).tolist()}
        assert function is scaling.costs
        return {
            "parameters": sizes.astype(int).tolist(),
            "by_size": {"discrete": (1e-7 * sizes).tolist(), "rod": (6e-7 * sizes).tolist()},
            "by_steps": {"discrete": (3e-4 * steps).tolist(), "rod": (1e-6 * steps**2).tolist()},
        }

    return measured


def test_an_exponent_is_that_of_the_larger_half():
    sizes = np.array([1.0, 10.0, 100.0, 1000.0])
    assert scaling.exponent(sizes, 3 * sizes**1.5) == pytest.approx(1.5)
    assert scaling.exponent(sizes, [7.0, 7.0, 1.0, 10.0]) == pytest.approx(1.0)


def test_tables_have_every_size_and_the_figure_is_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scaling, "measured", made_up(()))
    machine, lanes, by_size, by_steps, figure = scaling.scaling()
    assert "cores, jax" in machine
    devices = ["1 device", "2 devices", "4 devices", "8 devices"]
    assert lanes.columns == ["lanes", *devices, "MB, 1 device"]
    assert lanes.rows[3] == ["64", *map(pytest.approx, [20, 40, 80, 160, 64])]
    assert lanes.rows[-1][0] == "exponent"
    np.testing.assert_allclose(lanes.rows[-1][1:], [0, 0, 0, 0, 1], atol=1e-9)
    assert by_size.rows[0] == ["1000", *map(pytest.approx, [1e-4, 6e-4, 6.0])]
    assert by_steps.rows[-1] == ["exponent", pytest.approx(1), pytest.approx(2), None]
    assert figure == "figure: scaling.png"
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_an_accelerator_is_measured_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scaling, "measured", made_up(["H100"]))
    machine, lanes, *_ = scaling.scaling()
    assert machine.startswith("1 x H100, ")
    assert lanes.columns == ["lanes", "1 device", "MB, 1 device"]


@pytest.mark.slow
def test_lanes_and_costs_are_measured_on_every_size(quadratic, monkeypatch):
    monkeypatch.setattr(scaling, "LANES", (1, 8))
    monkeypatch.setattr(scaling, "STEPS", (2,))
    monkeypatch.setattr(scaling, "WIDTHS", (4,))
    found = scaling.lanes(1)
    assert len(found["seconds"]) == len(found["bytes"]) == 2
    assert 0 < found["bytes"][0] < found["bytes"][1] and min(found["seconds"]) > 0
    cost = scaling.costs()
    assert cost["parameters"] == [2]
    assert [len(cost["by_size"][name]) for name in ("discrete", "rod")] == [1, 1]
    assert [len(cost["by_steps"][name]) for name in ("discrete", "rod")] == [1, 1]
