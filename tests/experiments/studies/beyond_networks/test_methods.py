import jax
import jax.numpy as jnp
import optax
import pytest

from experiments.studies.beyond_networks.methods import METHODS


def test_accepted_steps_of_the_line_search_decrease_a_quadratic_sufficiently():
    curvatures = jnp.array([30.0, 1.0])

    def loss(x):
        return jnp.sum(curvatures * x**2) / 2

    tx = METHODS["armijo"].chain(1.0, 1.0)
    params = jnp.array([1.0, 1.0])
    state = tx.init(params)
    step = jax.jit(
        lambda params, state: tx.update(
            jax.grad(loss)(params), state, params,
            value=loss(params), grad=jax.grad(loss)(params), value_fn=loss,
        )
    )  # fmt: skip
    tried = 1.0
    for _ in range(8):
        updates, state = step(params, state)
        slope = jnp.sum(jax.grad(loss)(params) ** 2)
        size = float(optax.tree.get(state, "learning_rate"))
        count = int(METHODS["armijo"].losses(state))
        # c = .1, from twice the last step size (B = n) down by factors of .9: all tries counted.
        assert loss(params + updates) <= loss(params) - 0.1 * size * slope + 1e-6
        assert size == pytest.approx(min(2 * tried, 10) * 0.9 ** (count - 1), rel=1e-5)
        longer = params - size / 0.9 * jax.grad(loss)(params)
        if count > 1:
            assert loss(longer) > loss(params) - 0.1 * size / 0.9 * slope - 1e-6
        params, tried = params + updates, size
