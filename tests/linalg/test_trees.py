import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rodflow.linalg import trees

TREE = {"a": jnp.zeros((100, 30)), "b": (jnp.zeros(2000, jnp.bfloat16),)}


def test_norm_runs_over_all_leaves():
    assert trees.norm({"a": jnp.array([[3.0, 0.0]]), "b": (jnp.array(4.0),)}) == 5.0


def test_norm_of_narrow_types_neither_overflows_nor_stops_growing():
    assert trees.norm(jnp.full(4, 300.0, jnp.float16)) == 600.0
    assert trees.norm(jnp.ones(2**18, jnp.bfloat16)) == 512.0


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_finite_looks_at_every_number(bad):
    assert trees.finite({"a": jnp.ones(3), "b": jnp.zeros(())})
    assert not trees.finite({"a": jnp.array([1.0, bad]), "b": jnp.zeros(())})


def test_normal_numbers_have_the_shapes_dtypes_and_moments_of_their_kind():
    drawn = trees.normal_like(jax.random.key(0), TREE)
    for new, old in zip(*map(jax.tree.leaves, (drawn, TREE)), strict=True):
        assert (new.shape, new.dtype) == (old.shape, old.dtype)
        wide = np.asarray(new, np.float64)
        error = 4 / np.sqrt(new.size)  # four standard deviations of the mean
        assert abs(wide.mean()) < error and abs((wide**2).mean() - 1) < 1.5 * error
    first, second = drawn["a"].ravel()[:2000], np.asarray(drawn["b"][0], np.float32)
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(2000)  # leaves share no numbers


def test_coins_are_fair():
    coins = trees.coins_like(jax.random.key(0), TREE)
    for new, old in zip(*map(jax.tree.leaves, (coins, TREE)), strict=True):
        assert (new.shape, new.dtype) == (old.shape, bool)
        assert abs(np.mean(new) - 0.5) < 2 / np.sqrt(new.size)
