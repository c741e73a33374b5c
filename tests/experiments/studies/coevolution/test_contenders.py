from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.studies.coevolution import contenders
from experiments.studies.coevolution.genome import applied, encoded, initialized
from experiments.studies.coevolution.rotation import orthogonal, rotated

WIDTH, DEPTH = 8, 2
GENOME = jax.tree.map(
    lambda x: x[0],
    encoded(
        {
            "depth": np.array([DEPTH]),
            "width": np.array([WIDTH]),
            "activation": np.array(["sigmoid"]),
            "norm": np.array(["LayerNorm"]),
            "residual": np.array([1]),
            "gain": np.array([1.0]),
            "multiplier": np.array([1.0]),
        }
    ),
)
RNG = np.random.default_rng(0)
INPUTS, TARGETS = (jnp.asarray(RNG.normal(size=(6, size)), jnp.float32) for size in (16, 3))

FAST = {"adam", "lion", "muon"}  # one that divides, one that takes signs, one of matrices


@jax.jit
def value_and_grad(params):
    return jax.value_and_grad(lambda p: jnp.mean((applied(p, GENOME, INPUTS) - TARGETS) ** 2))(
        params
    )


@pytest.fixture
def start(x64):
    """In double precision, since Adam makes much of the rounding of a gradient that is about 0."""
    del x64
    params = initialized(GENOME, jax.random.key(0), 16, 3, depth=3, width=16)
    return jax.tree.map(lambda x: x.astype(float), params)


def without_padding(params):
    """Of the structure of a network that has none; the third layer does not exist."""
    hidden = [
        {"kernel": layer["kernel"][:size, :WIDTH], "bias": layer["bias"][:WIDTH]}
        for layer, size in zip(params["hidden"][:DEPTH], (16, WIDTH), strict=True)
    ]
    head = params["head"]
    return {"hidden": hidden, "head": {"kernel": head["kernel"][:WIDTH], "bias": head["bias"]}}


def run(build, params, steps=3) -> Any:
    tx = optax.with_extra_args_support(build(params))
    update, state = jax.jit(tx.update), tx.init(params)
    for _ in range(steps):
        value, grads = value_and_grad(params)
        updates, state = update(grads, state, params, value=value)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize(
    "name",
    [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in contenders.CONTENDERS],
)
def test_the_padding_changes_no_optimizer(name, start):
    def build(params):
        return contenders.CONTENDERS[name](0.01, params, GENOME, len(INPUTS))

    padded, small = run(build, start), run(build, without_padding(start))
    for moved, alone in zip(
        jax.tree.leaves(without_padding(padded)), jax.tree.leaves(small), strict=True
    ):
        np.testing.assert_allclose(moved, alone, atol=1e-6)
    moved = jax.tree.map(lambda after, before: abs(after - before).sum(), padded, start)
    inside = jax.tree.map(
        lambda after, before: abs(after - before).sum(),
        without_padding(padded),
        without_padding(start),
    )
    assert sum(jax.tree.leaves(inside)) > 0
    assert float(sum(jax.tree.leaves(moved))) == pytest.approx(
        float(sum(jax.tree.leaves(inside))), rel=1e-6
    )
    # Exactly, where nothing may move: beyond the units, and in the layer that does not exist.
    assert not padded["hidden"][0]["kernel"][:, WIDTH:].any()
    assert not padded["hidden"][1]["kernel"][WIDTH:].any()
    assert not any(leaf.any() for leaf in jax.tree.leaves(padded["hidden"][2]))


@pytest.mark.parametrize("inner", [optax.sgd, lambda rate: optax.sgd(rate, momentum=0.9)])
def test_gradient_descent_does_not_see_the_basis(inner, start):
    plain = run(lambda _: inner(0.1), start)
    turned = run(lambda params: rotated(inner(0.1), contenders.rotations(params, GENOME)), start)
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(turned), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


def test_adam_sees_the_basis(start):
    plain = run(lambda _: optax.adam(0.01), start)
    turned = run(
        lambda params: rotated(optax.adam(0.01), contenders.rotations(params, GENOME)), start
    )
    kernels = (tree["hidden"][1]["kernel"][:WIDTH, :WIDTH] for tree in (plain, turned))
    assert abs(jnp.subtract(*kernels)).max() > 0.005


def test_rotations_are_orthogonal():
    q = orthogonal(8, (0, 1))
    np.testing.assert_allclose(q @ q.T, np.eye(8), atol=1e-12)
    assert not np.allclose(q, orthogonal(8, (0, 2)))
