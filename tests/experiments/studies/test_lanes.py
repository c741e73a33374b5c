import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from experiments.studies import lanes


def test_lanes_are_independent_and_need_not_fill_the_program():
    traced = []

    def lane(table, h):
        traced.append(h)
        return {"sum": table[h["row"]] * h["rate"] + h["seed"]}

    table, rows = jnp.arange(3.0), np.arange(12) % 3
    grid = {"row": rows, "rate": np.linspace(1, 2, 12), "seed": list(range(12))}
    ran = lanes.run(Partial(lane, table), grid, 5)
    np.testing.assert_allclose(ran.results["sum"], rows * grid["rate"] + np.arange(12), rtol=1e-6)
    assert len(ran.seconds) == 3
    compiled = len(traced)
    # However many lanes are asked for, and whatever their values, it is the same program.
    lanes.run(Partial(lane, table + 1), {name: axis[:2] for name, axis in grid.items()}, 5)
    assert len(traced) == compiled


def test_lanes_are_spread_over_all_devices():
    mesh = jax.make_mesh((1,), ("lane",))
    member = Partial(lambda h: 2 * h["x"])
    spread = lanes.run(member, {"x": np.arange(5.0)}, 2, mesh)
    np.testing.assert_array_equal(spread.results, 2 * np.arange(5.0))
    assert (lanes.all_devices() is None) == (len(jax.devices()) == 1)


def test_compiling_is_what_the_first_turn_takes_longer():
    assert lanes.cost([5.0, 1.0, 2.0, 1.0]) == pytest.approx((4.0, 5.0))
    assert lanes.cost([5.0]) == (0.0, 5.0)
    assert lanes.cost([1.0, 2.0]) == (0.0, 3.0)
