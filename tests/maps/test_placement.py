import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from rodflow.maps import placement_of

PROGRAM = Path(__file__).parents[1] / "sharded.py"


def on_eight_devices(*arguments):
    root = PROGRAM.parent.parent
    done = subprocess.run(
        [sys.executable, PROGRAM, *arguments],
        capture_output=True,
        text=True,
        cwd=root,
        env={"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def stays_where_it_was(report):
    assert report["not_sharded"] == []
    assert report["twins_per_device"] == [2]  # the axis of the twins is not the one that is split
    assert report["difference"] < 1e-3
    sharded, whole = report["bytes"]
    return sharded / whole


@pytest.mark.slow
def test_what_needs_no_exchange_exchanges_nothing():
    """A loss that acts on each parameter by itself: only sums cross between devices."""
    report = on_eight_devices("elementwise", "rod")
    share = stays_where_it_was(report)
    assert report["moved"] == []
    assert share < 1.2 / 8


@pytest.mark.slow
@pytest.mark.parametrize(
    "flows", [("stable", "covariance"), ("edge", "free_energy"), ("central",)], ids="-".join
)
def test_the_other_flows_stay_sharded(flows):
    report = on_eight_devices("elementwise", *flows)
    stays_where_it_was(report)
    assert report["moved"] == []


@pytest.mark.slow
def test_one_layer_at_a_time_is_gathered():
    report = on_eight_devices("fsdp", "rod")
    stays_where_it_was(report)
    layer = report["largest"]
    assert report["moved"] == [layer, 2 * layer]  # of the run; of the pair of points, or of twins
    assert report["size"] == 4 * layer


def test_nothing_is_held_where_nothing_is_sharded():
    assert placement_of({"w": jnp.ones(3)}) is None
    seen = []
    jax.jit(lambda w: seen.append(placement_of(w)))(jnp.ones(3))
    assert seen == [None]
