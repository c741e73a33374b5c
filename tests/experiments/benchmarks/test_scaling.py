import io
from functools import partial

import numpy as np
import pytest
from rich.console import Console

from experiments.benchmarks import scaling


def made_up(part, devices=1, accelerators=()):
    assert devices <= (len(accelerators) or 8)
    lanes = np.array(scaling.LANES)
    sizes = np.array([1e3, 1e4, 1e5, 1e6, 1e7])
    steps = np.array(scaling.STEPS)
    discrete, rod = 1e-4 + 2e-8 * sizes, 1e-3 + 2e-7 * sizes
    return {
        "lanes": {"seconds": (0.02 + 0.05 * lanes / devices).tolist(), "bytes": 1e6 * lanes},
        "cost": {
            "parameters": sizes.astype(int).tolist(),
            "by_size": {"discrete": discrete.tolist(), "rod": rod.tolist()},
            "by_steps": {"discrete": (3e-4 * steps).tolist(), "rod": (3e-3 * steps).tolist()},
        },
        "program": {key: [3.0, 2.0] for key in ("one", "loop", "all", "single")}
        | {"gradients": 1000.0, "arithmetic": [1e11, 1e9], "fastest": [2e11, 2e9]},
        "products": {"seconds": None if accelerators else 1e-3 * scaling.cores()},
        "accelerators": {"kinds": list(accelerators)},
    }[part]


def test_an_exponent_is_that_of_the_larger_half():
    sizes = np.array([1.0, 10.0, 100.0, 1000.0])
    assert scaling.exponent(sizes, 3 * sizes**1.5) == pytest.approx(1.5)
    assert scaling.exponent(sizes, [7.0, 7.0, 1.0, 10.0]) == pytest.approx(1.0)


def test_tables_name_the_machine_and_the_figure_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "measured", made_up)
    said, path = io.StringIO(), tmp_path / "scaling.png"
    scaling.scaling(Console(file=said, width=120), ["lanes", "cost", "program"], path)
    first, *lines = said.getvalue().splitlines()
    assert "cores, jax" in first
    (row,) = [line.split() for line in lines if line.split()[1:2] == ["256"]]
    assert float(row[3]) == pytest.approx(256 / (0.02 + 0.05 * 256), rel=5e-3)
    assert "no program of these gradients is more than 2.0 times faster" in " ".join(lines)
    # A thousand gradients of a millisecond on all cores, and half a second of tanh.
    assert "nothing else, a program would be 1.3 times faster" in " ".join(lines)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_an_accelerator_is_measured_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "measured", partial(made_up, accelerators=["H100"]))
    said = io.StringIO()
    scaling.scaling(Console(file=said, width=120), ["lanes", "program"], tmp_path / "none.png")
    assert said.getvalue().startswith("1 x H100, ")
    assert "1 device" in said.getvalue()
    assert "2 devices" not in said.getvalue() and "on one core" not in said.getvalue()


def test_processes_need_a_core_each(monkeypatch):
    monkeypatch.setattr(scaling.os, "sched_getaffinity", lambda process: {0}, raising=False)
    said = io.StringIO()
    scaling.processes(Console(file=said, width=120), [], [])
    assert said.getvalue() == "processes: left out, there are no two cores to give them\n"


def test_where_there_is_no_accelerator_none_is_found(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert scaling.accelerators() == []
