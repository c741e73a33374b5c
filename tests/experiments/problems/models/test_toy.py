import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import problems
from experiments.configuration.config import load
from experiments.problems.models.toy import toy as build


def toy(function, start, *overrides):
    chosen = ["model=toy", "data=nothing", "loss=mean_output", f"model.function={function}"]
    return load([*chosen, f"model.start={list(start)}", *overrides])


def sharpness(problem, w):
    return np.linalg.eigvalsh(jax.jit(jax.hessian(problem.loss))(jnp.asarray(w)))[-1]


@pytest.mark.parametrize(
    ("function", "at", "loss", "sharp"),
    [
        ("quartic", [0.5, 1.0], 0.125 - 0.015625 + 0.05, 0.25),
        ("square_root", [0.0, 3.0], 1.0, 9.0),
        ("rank_one", [1.0, 0, 0, 1.0, 0, 0], (0.25 + 0.0625) / 2, 2.0),
        ("valley", [0.0, 3.0], 0.005, 10.0),
    ],
)
def test_values_and_sharpness_by_hand(function, at, loss, sharp):
    problem = problems.configured(toy(function, at, "model.spread=0"))
    w = jax.jit(problem.init)(jax.random.key(0))
    np.testing.assert_array_equal(w, at)
    np.testing.assert_allclose(jax.jit(problem.loss)(w), loss, rtol=1e-6)
    np.testing.assert_allclose(sharpness(problem, w), sharp, rtol=1e-5)


def test_starts_differ_by_the_spread():
    problem = problems.configured(toy("valley", [0.01, 2.5], "model.spread=0.1"))
    starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(0), 1000))
    np.testing.assert_allclose(jnp.mean(starts, axis=0), [0.01, 2.5], atol=0.02)
    np.testing.assert_allclose(jnp.std(starts, axis=0), 0.1, rtol=0.1)


def test_a_start_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match=r"model.start=\[1.0\] has 1 numbers; .*valley has 2"):
        build((1,), (1,), start=[1.0])


def test_a_negative_spread_is_refused():
    with pytest.raises(ValueError, match=r"model.spread=-1.0 is out of range"):
        toy("valley", [0.0, 1.0], "model.spread=-1")
