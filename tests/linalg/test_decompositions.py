import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow
from rodflow.linalg import decompositions as linalg

CASES = {
    "eigh": (linalg.eigh, jnp.linalg.eigh, 1),
    "eigvalsh": (linalg.eigvalsh, jnp.linalg.eigvalsh, 1),
    "solve": (linalg.solve, jnp.linalg.solve, 2),
}


def arguments(count):
    keys = jax.random.split(jax.random.key(0), count)
    drawn = [jax.random.normal(key, (2, 5, 4, 4)) for key in keys]
    return [x + jnp.swapaxes(x, -1, -2) for x in drawn]


@pytest.mark.parametrize("name", CASES)
def test_it_is_that_of_jax_for_one_matrix_and_for_batches_of_batches(name):
    ours, known, count = CASES[name]
    args = arguments(count)
    batched = jax.tree.leaves(jax.jit(jax.vmap(jax.vmap(ours)))(*args))
    np.testing.assert_allclose(batched[0], jax.tree.leaves(known(*args))[0], atol=1e-4)
    single = jax.tree.leaves(ours(*(x[1, 2] for x in args)))
    for many, one in zip(batched, single, strict=True):
        np.testing.assert_allclose(many[1, 2], one, atol=1e-5)


def test_an_argument_without_the_batch_is_shared():
    matrix, right = (x[0] for x in arguments(2))
    found = jax.vmap(linalg.solve, in_axes=(None, 0))(matrix[0], right)
    np.testing.assert_allclose(found, jnp.linalg.solve(matrix[0], right), atol=1e-5)


def test_derivatives_are_those_of_jax_also_of_a_batch():
    (matrices,) = arguments(1)
    tangents = jnp.ones_like(matrices)
    ours = jax.jvp(jax.vmap(jax.vmap(linalg.eigvalsh)), (matrices,), (tangents,))
    known = jax.jvp(jnp.linalg.eigvalsh, (matrices,), (tangents,))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), ours, known)


@pytest.mark.parametrize("name", CASES)
def test_reverse_mode_is_that_of_jax_also_of_a_batch(name):
    ours, known, count = CASES[name]
    args = arguments(count)

    def symmetric(x):
        return (x + jnp.swapaxes(x, -1, -2)) / 2

    def total(function):
        def of(first, *rest):
            found = function(symmetric(first), *rest)
            return jax.tree.reduce(jnp.add, jax.tree.map(lambda x: jnp.sum(jnp.sin(x) ** 2), found))

        return of

    found = jax.jit(jax.grad(total(jax.vmap(jax.vmap(ours)))))(*args)
    np.testing.assert_allclose(found, jax.grad(total(known))(*args), rtol=1e-2, atol=1e-3)


def lapack_batches(compiled) -> list[int]:
    """The number of matrices in each call of LAPACK of a program for the CPU."""
    calls = re.findall(r"= \(?\w+\[([\d,]*)\].* custom-call\(.*lapack_", compiled.as_text())
    shapes = [[int(n) for n in call.split(",")] for call in calls]
    return [int(np.prod(shape[:-2])) for shape in shapes]


@pytest.mark.parametrize(
    "flow",
    [
        pytest.param(rodflow.RodFlow(), id="signed", marks=pytest.mark.slow),
        pytest.param(
            rodflow.RodFlow(rodflow.CovarianceRod(rank=2)),
            id="covariance",
        ),
        *(
            pytest.param(flow, id=name, marks=pytest.mark.slow)
            for name, flow in {
                "central": rodflow.CentralFlow(),
                "edge": rodflow.EdgeFlow(),
                "free_energy": rodflow.FreeEnergyFlow(),
            }.items()
        ),
    ],
)
def test_no_lane_of_a_batch_waits_for_threads_that_other_devices_hold(flow):
    def loss(w):
        return jnp.sum(w**4) / 4

    def observe(state):
        return rodflow.effective_sharpness(loss, optax.sgd(0.1), state)

    def lane(lr):
        return rodflow.track(
            loss,
            optax.sgd(lr),
            jnp.linspace(1.0, 2.0, 6),
            num_steps=4,
            warmup=0,
            every=2,
            flows={"flow": flow},
            observe=observe,
            observe_flows=observe,
        )

    rates = jnp.array([0.1, 0.2, 0.3])
    with jax.default_device(jax.devices("cpu")[0]):
        batches = lapack_batches(jax.jit(jax.vmap(lane)).lower(rates).compile())
    assert batches and max(batches) == 1
