"""Trackers that one process begins and another continues from files.

`python tests/restored.py FOLDER FORMAT TRACKER` makes the tracker anew, restores its state, and
leaves in the folder what it came to. The process never had the state that it restores.
"""

import pathlib
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint

import rodflow

RECORDS = 2


def loss(params):
    """Return the error of a network of two neurons on six points."""
    draw = np.random.default_rng(1).normal
    x, y = draw(size=(6, 4)).astype(np.float32), draw(size=6).astype(np.float32)
    return jnp.mean((jnp.tanh(x @ params["hidden"]) @ params["out"] - y) ** 2) / 2


def start():
    draw = np.random.default_rng(13).normal
    return {"hidden": jnp.asarray(draw(size=(4, 2))), "out": jnp.asarray(draw(size=2))}


def tracker(name):
    """Return a tracker whose flows all know the parity of the chain in their fields."""
    tx, twins, flows = {
        "momentum": (
            optax.adam(1 / 16),
            2,
            {
                "stable": rodflow.StableFlow(),
                "rod": rodflow.RodFlow(),
                "covariance": rodflow.RodFlow(rodflow.CovarianceRod(rank=2)),
                "central": rodflow.CentralFlow(modes=2),
                "edge": rodflow.EdgeFlow(),
            },
        ),
        "free_energy": (
            optax.rmsprop(1 / 16),
            0,
            {"free_energy": rodflow.FreeEnergyFlow(rank=2)},
        ),
    }[name]
    return rodflow.Tracker(loss, tx, flows, every=3, twins=twins)


def save(path, kind, state):
    """Write a tracker's state as leaves of Equinox, or as a checkpoint of Orbax."""
    if kind == "equinox":
        eqx.tree_serialise_leaves(path, state)
        return
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, state)


def restore(path, kind, like):
    """Read a state of the structure, shapes and dtypes of `like`."""
    if kind == "equinox":
        return eqx.tree_deserialise_leaves(path, like)
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(path, like)


def main(folder, kind, name):
    made_anew = tracker(name)
    like = jax.eval_shape(made_anew.init, start())
    state = restore(pathlib.Path(folder) / "saved", kind, like)
    result = made_anew.run(state, RECORDS)
    eqx.tree_serialise_leaves(pathlib.Path(folder) / "continued", result)


if __name__ == "__main__":
    main(*sys.argv[1:])
