import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

import rodflow

# Loops until the number is small: lanes end after 0 to hundreds of turns, a NaN at once.
GRID = {
    "start": np.array([3.0, 1e-3, np.nan, 1e4]),
    "shrink": np.array([0.5, 0.99]),
    "seed": np.array([0, 2**32 - 1, 7], np.uint32),
}


def member(h):
    def turn(carry):
        x, turns = carry
        return x * h["shrink"], turns + 1

    noise = jax.random.normal(jax.random.key(h["seed"]), (2,))
    x, turns = jax.lax.while_loop(lambda carry: carry[0] > 1.0, turn, (h["start"], 0))
    return {"end": x, "turns": turns, "noise": noise}


def looped(member, grid):
    """The oracle: a Python loop over the product of the axes."""
    shape = tuple(len(axis) for axis in grid.values())
    one = jax.jit(member)
    lanes = [
        one({name: axis[i] for (name, axis), i in zip(grid.items(), place, strict=True)})
        for place in np.ndindex(shape)
    ]
    return jax.tree.map(lambda *x: np.stack(x).reshape(*shape, *x[0].shape), *lanes)


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("chunk", [None, 1, 5, 100])
def test_a_product_equals_a_loop_whatever_the_chunk(chunk):
    assert_same(rodflow.sweep(member, GRID, chunk=chunk), looped(member, GRID))


def test_zipped_axes_are_taken_together():
    grid = {"start": [3.0, 9.0, 2.0], "shrink": [0.5, 0.9, 0.7], "seed": [2, 1, 0]}
    found = rodflow.sweep(member, grid, zipped=True, chunk=2)
    every = looped(member, {name: np.asarray(axis) for name, axis in grid.items()})
    assert_same(found, jax.tree.map(lambda x: x[(np.arange(3),) * 3], every))


def test_tracking_equals_a_loop():
    def lane(h):
        params = {"w": jax.random.normal(jax.random.key(h["seed"]), (3,))}

        def loss(p):
            return jnp.mean((p["w"] ** 2 - 1) ** 2)

        return rodflow.track(loss, optax.sgd(h["lr"]), params, 6, 0, 3, flows={})

    grid = {"lr": np.array([0.1, 1e3], np.float32), "seed": np.arange(2)}
    found, expected = rodflow.sweep(lane, grid), looped(lane, grid)
    assert found.loss.shape == (2, 2, 2)
    # The second learning rate diverges; its lanes say so, and the others do not notice.
    assert (found.diverged_at[0] == -1).all() and (found.diverged_at[1] > 0).all()
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 1e-4, 1e-6), found, expected)


def test_other_values_do_not_recompile_and_may_be_traced():
    traces = []

    def counted(h):
        traces.append(None)
        return h["a"] * h["b"]

    grid = {"a": np.arange(3.0), "b": np.arange(2.0)}
    rodflow.sweep(counted, grid)
    count = len(traces)
    found = rodflow.sweep(counted, {"a": np.arange(3.0) + 1, "b": np.arange(2.0)})
    assert len(traces) == count
    assert_same(found, np.outer(np.arange(3.0) + 1, np.arange(2.0)))
    traced = jax.jit(lambda a: rodflow.sweep(counted, grid | {"a": a}))(jnp.ones(3))
    assert_same(traced, np.outer(np.ones(3), np.arange(2.0)))


def test_memory_bounds_what_the_program_takes():
    def large(h):
        return jnp.sum(jnp.sort(jnp.sin(h["a"] * jnp.arange(10_000.0))))

    grid = {"a": np.linspace(0.0, 1.0, 12, dtype=np.float32)}
    whole = rodflow.sweep(large, grid)

    def taken(memory):
        swept = jax.jit(lambda a: rodflow.sweep(large, {"a": a}, memory=memory))
        analysis = swept.lower(grid["a"]).compile().memory_analysis()
        return analysis.temp_size_in_bytes

    assert taken(10**9) > 400_000  # ten of the lanes
    assert 40_000 < taken(200_000) < 210_000  # between one and five
    np.testing.assert_allclose(rodflow.sweep(large, grid, memory=200_000), whole, rtol=1e-6)
    with pytest.raises(ValueError, match=r"`memory` is 1000; the sweep takes at least \d+ bytes"):
        rodflow.sweep(large, grid, memory=1000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grid": {}}, "`grid` has no axes"),
        ({"grid": {"a": []}}, r"grid\['a'\] has shape \(0,\); it must be one axis"),
        ({"grid": {"a": 1.0}}, r"grid\['a'\] has shape \(\)"),
        ({"grid": {"a": np.array(["x"])}}, r"grid\['a'\] has dtype <U1"),
        ({"grid": {"a": [2**32 - 1]}}, r"grid\['a'\] has values beyond int32; .* uint32"),
        ({"grid": {"a": [1, 2], "b": [1]}, "zipped": True}, r"lengths {'a': 2, 'b': 1}"),
        ({"chunk": 0}, "`chunk` is 0; it must be at least 1"),
        ({"chunk": 1, "memory": 10}, "only one can be given"),
        ({"mesh": Mesh(np.array(jax.devices()[0]), ())}, "`mesh` has no axis"),
    ],
)
def test_what_allows_no_sweep_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        rodflow.sweep(lambda h: h, **({"grid": {"a": [1.0]}} | arguments))


EIGHT_DEVICES = """
import re
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import rodflow
from tests.test_sweep import GRID, assert_same, looped, member

COLLECTIVE = r"(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)[\\w-]*\\("

def collectives(function, *arguments):
    text = jax.jit(function).lower(*arguments).compile().as_text()
    assert " while(" in text
    loops, entry = text.split("\\nENTRY ")
    return len(re.findall(COLLECTIVE, loops)), len(re.findall(COLLECTIVE, entry))

assert jax.device_count() == 8
meshes = [jax.make_mesh((8,), ("lanes",)), jax.make_mesh((2, 4), ("hosts", "devices"))]
expected = looped(member, GRID)
for mesh in meshes:
    for chunk in (None, 2):
        assert_same(rodflow.sweep(member, GRID, mesh, chunk=chunk), expected)

# Each lane is computed once; only the last one is repeated, to fill all devices.
evaluated = []

def counted(h):
    jax.debug.callback(lambda a: evaluated.append(int(a)), h["a"])
    return h["a"]

for lanes, padding in ((16, []), (13, [12, 12, 12])):
    evaluated.clear()
    jax.block_until_ready(rodflow.sweep(counted, {"a": np.arange(lanes)}, meshes[0]))
    jax.effects_barrier()
    assert sorted(evaluated) == [*range(lanes), *padding], evaluated

# What must not happen is what sharding the inputs alone would do.
lanes = {"start": np.ones(16, np.float32), "shrink": np.ones(16, np.float32), "seed": np.arange(16)}
auto = Mesh(np.array(jax.devices()), ("lanes",))
sharded = jax.device_put(lanes, NamedSharding(auto, PartitionSpec("lanes")))
assert collectives(jax.vmap(member), sharded)[0] > 0

def lane(h):
    loss = lambda w: jnp.mean((jnp.tanh(w) - 0.5) ** 2)
    flows = {"rod": rodflow.RodFlow()}
    return rodflow.track(loss, optax.sgd(h["lr"]), jnp.ones(3), 2, 0, 1, flows=flows)

def swept(member):
    return lambda grid: rodflow.sweep(member, grid, meshes[0], zipped=True, chunk=1)

# Sixteen lanes need no padding; of fourteen, two are cut off once all is computed.
assert collectives(swept(lane), {"lr": np.ones(16)}) == (0, 0)
assert collectives(swept(member), jax.tree.map(lambda x: x[:14], lanes))[0] == 0
"""


def test_eight_devices_equal_one_and_never_wait_for_each_other():
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", EIGHT_DEVICES],
        cwd=root,
        env=os.environ
        | {
            "PYTHONPATH": str(root),
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


CLUSTER_OF_ONE = """
import socket, jax, rodflow
with socket.socket() as free:
    free.bind(("localhost", 0))
    address = "localhost:%d" % free.getsockname()[1]
jax.distributed.initialize(address, num_processes=1, process_id=0)
"""


def test_a_cluster_can_be_joined_after_the_import():
    """JAX joins none once it has computed: the import must not make as much as one array."""
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", CLUSTER_OF_ONE],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
