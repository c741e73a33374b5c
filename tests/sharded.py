"""A run on eight simulated devices: `python tests/sharded.py MODEL FLOW ...` prints a report.

Devices are simulated once for a process, before JAX starts, so the tests run this program.
"""

import json
import os
import re
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import rodflow

MESH = jax.make_mesh((8,), ("shards",), axis_types=(AxisType.Auto,))
SHARDED, WHOLE = (NamedSharding(MESH, PartitionSpec(*axes)) for axes in (("shards",), ()))
FLOWS = {
    "stable": rodflow.StableFlow(),
    "rod": rodflow.RodFlow(),
    "covariance": rodflow.RodFlow(rodflow.CovarianceRod(rank=2)),
    "edge": rodflow.EdgeFlow(),
    "free_energy": rodflow.FreeEnergyFlow(rank=2),
    "central": rodflow.CentralFlow(modes=2),
}


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def elementwise():
    """A loss that needs no parameter in two places."""
    shapes = {"a": (64, 32), "b": (512,)}
    params = {name: normal(i, *shape) for i, (name, shape) in enumerate(shapes.items())}
    return params, lambda p: sum(jnp.sum(jnp.cosh(leaf)) for leaf in jax.tree.leaves(p))


def fsdp():
    """Four layers, each gathered where it is used; samples are split over the devices."""
    params = {f"layer {i}": normal(i, 64, 64) / 8 for i in range(4)}
    x, y = (jax.device_put(normal(9 + i, 128, 64), SHARDED) for i in range(2))

    def loss(p):
        hidden = x
        for weights in p.values():
            weights = jax.lax.with_sharding_constraint(weights, WHOLE)
            hidden = jnp.tanh(hidden @ weights)
        return jnp.mean((hidden - y) ** 2)

    return params, loss


def moved_between_devices(compiled):
    """Return the numbers of elements that collectives other than sums put on each device."""
    found = []
    pattern = r"= (.*?) (?:all-gather|all-to-all|collective-permute)(?:-start)?\("
    for result in re.findall(pattern, compiled.as_text()):
        for shape in re.findall(r"\w+\[([\d,]*)\]", result):
            found.append(int(np.prod([int(n) for n in shape.split(",") if n])))
    return sorted(set(found))


def allotted(analysis):
    """Return the bytes of each device for the arguments of a program and its temporaries."""
    return analysis.argument_size_in_bytes + analysis.temp_size_in_bytes


def main(model, *names):
    start, loss = {"elementwise": elementwise, "fsdp": fsdp}[model]()
    flows = {name: FLOWS[name] for name in names}
    # The free-energy flow has no momentum.
    optimizer = optax.rmsprop(0.01) if "free_energy" in names else optax.adam(0.01)
    size = sum(leaf.size for leaf in jax.tree.leaves(start))

    def run(params):
        tracker = rodflow.Tracker(loss, optimizer, flows, every=2, twins=2)
        state = tracker.init(params, warmup=20)
        placed = tracker.placed(params)
        compiled = jax.jit(lambda s: placed.run(s, 2)).lower(state).compile()
        return state, *compiled(state), compiled

    state, end, tracking, compiled = run(jax.device_put(start, SHARDED))
    whole = run(jax.tree.map(jnp.asarray, start))
    split = [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path((state, end))
        if leaf.size >= 512 and np.prod(leaf.sharding.shard_shape(leaf.shape)) * 8 != leaf.size
    ]
    batch_axes = {
        leaf.sharding.shard_shape(leaf.shape)[0]
        for leaf in jax.tree.leaves(end.twins)
        if leaf.size >= 512
    }
    differences = [
        float(jnp.max(jnp.abs(a.distance - b.distance) / b.distance))
        for a, b in zip(tracking.flows.values(), whole[2].flows.values(), strict=True)
    ]
    report = {
        "size": size,
        "largest": max(leaf.size for leaf in jax.tree.leaves(start)),
        "not_sharded": split,
        "twins_per_device": sorted(batch_axes),
        "moved": moved_between_devices(compiled),
        "difference": max(differences),
        "bytes": [allotted(compiled.memory_analysis()) for compiled in (compiled, whole[3])],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
