"""The table of the rectification, and that it is what `optax.radam(threshold=4)` does."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rodflow.transforms import rectification

# b2 -> rho_inf, the first step beyond 4, r at the steps 5, 10, 100, 1000, the first with r > .99.
TABLE = {
    0.9: (19, 5, (0.1561, 0.4927, 0.9998, 1.0), 58),
    0.99: (199, 5, (0.0545, 0.1552, 0.6341, 0.9998), 567),
    0.999: (1999, 5, (0.0173, 0.0490, 0.2153, 0.6453), 5654),
}
each_b2 = pytest.mark.parametrize("b2", TABLE)


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
@each_b2
def test_table(b2, x64):
    rho_inf, first, factors, nearly_one = TABLE[b2]
    with jax.enable_x64(x64):
        rho, r = rectification(jnp.arange(1, 6001), b2)
        assert rho.dtype == r.dtype == (jnp.float64 if x64 else jnp.float32)
    rho, r = np.asarray(rho), np.asarray(r)
    np.testing.assert_allclose(rho[-1], rho_inf, rtol=0.03)  # for .999 the average still grows
    assert np.argmax(rho > 4) + 1 == first
    np.testing.assert_array_equal(np.isnan(r), rho <= 4)
    np.testing.assert_allclose(r[np.array([5, 10, 100, 1000]) - 1], factors, atol=6e-5)
    assert np.argmax(r > 0.99) + 1 == nearly_one


@each_b2
def test_optax_radam_takes_these_steps(b2):
    """On a constant gradient of 1 both moments are 1: the update is the factor itself."""
    with jax.enable_x64(True):
        tx = optax.radam(1.0, b2=b2, eps=0.0, threshold=4)

        def step(state, _):
            updates, state = tx.update(jnp.ones(()), state)
            return state, -updates

        _, taken = jax.lax.scan(step, tx.init(jnp.zeros(())), length=1000)
        _, r = rectification(jnp.arange(1, 1001), b2)
        np.testing.assert_allclose(taken[:4], 1, rtol=1e-12)  # not adapted
        np.testing.assert_allclose(taken[4:], r[4:], rtol=1e-6)


def test_steps_and_decays_may_be_traced_and_have_slopes():
    @jax.jit
    def factor(t, b2):
        return rectification(t, b2).r

    slope = jax.grad(factor)(100.0, 0.99)
    difference = (factor(101.0, 0.99) - factor(99.0, 0.99)) / 2
    np.testing.assert_allclose(slope, difference, rtol=1e-2)
    assert factor(jnp.arange(3.0)[:, None], jnp.array([0.9, 0.99])).shape == (3, 2)


@pytest.mark.parametrize("b2", [0.6, 1.0, np.array([0.9, 0.5])])
def test_decays_out_of_range_are_refused(b2):
    with pytest.raises(ValueError, match=r"`b2` is .*between 0.6 and 1"):
        rectification(1, b2)
