"""The edge of chains with trust ratios, against the eigenvalues of their step itself.

A trust ratio is a ratio of norms of a whole array, which an oscillation at a right angle to the
parameters and to the update leaves as it is, to first order. Here it is computed by hand, and the
step with that number held is a matrix: at the edge one of its eigenvalues is -1.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import rodflow

STEPS, RATE, B1, B2, EPS = 600, 1e-2, 0.9, 0.999, 1e-6
CHAINS = {
    "lars": optax.lars(RATE, weight_decay=0.0, trust_coefficient=1.0, momentum=0.0),
    "lamb": optax.lamb(RATE),
}


def loss(params):
    """Regression by a tanh network of four hidden neurons."""
    x = np.random.default_rng(0).normal(size=(20, 3))
    y = np.random.default_rng(1).normal(size=20)
    return jnp.mean((jnp.tanh(x @ params["a"]) @ params["b"] - y) ** 2)


@functools.cache
def trained(name):
    """Return the state after all steps, and the loss at each step."""
    tx = CHAINS[name]
    with jax.enable_x64(True):
        random = np.random.default_rng(2)
        params = {"a": jnp.array(random.normal(size=(3, 4))), "b": jnp.array(random.normal(size=4))}

        def step(carry, _):
            params, opt_state = carry
            value, grads = jax.value_and_grad(loss)(params)
            updates, opt_state = tx.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), value

        run = jax.jit(lambda start: jax.lax.scan(step, start, length=STEPS))
        state, losses = run((params, tx.init(params)))
        return state, np.asarray(losses)


def multipliers(name, state, curvature):
    """Return the eigenvalues of the step with its trust ratios held.

    The curvature of the loss is multiplied by a number.
    """
    params, opt_state = state
    flat, unravel = ravel_pytree(params)
    hessian = curvature * np.asarray(jax.hessian(lambda w: loss(unravel(w)))(flat))
    grads, one = jax.grad(loss)(params), np.eye(flat.size)
    if name == "lars":
        size = jax.tree.map(
            lambda w, g: jnp.full_like(w, RATE * jnp.linalg.norm(w) / jnp.linalg.norm(g)),
            params,
            grads,
        )
        return np.linalg.eigvals(one - np.asarray(ravel_pytree(size)[0])[:, None] * hessian)
    adam = opt_state[0]
    count = int(adam.count)
    scale = jax.tree.map(
        lambda v: 1 / ((1 - B1**count) * (jnp.sqrt(v / (1 - B2**count)) + EPS)), adam.nu
    )
    coming = jax.tree.map(lambda m, g, s: s * (B1 * m + (1 - B1) * g), adam.mu, grads, scale)
    size = jax.tree.map(
        lambda w, u, s: RATE * jnp.linalg.norm(w) / jnp.linalg.norm(u) * s, params, coming, scale
    )
    by = np.asarray(ravel_pytree(size)[0])[:, None]
    learned = (1 - B1) * hessian  # the momentum of the gradient at w, and then the step
    return np.linalg.eigvals(np.block([[one - by * learned, -by * B1 * one], [learned, B1 * one]]))


@pytest.mark.parametrize("name", CHAINS)
def test_the_number_is_the_distance_to_a_multiplier_of_minus_one(name, x64):
    state, _ = trained(name)
    (found,) = rodflow.effective_sharpness(loss, CHAINS[name], state)
    assert np.min(np.abs(multipliers(name, state, 1 / found) + 1)) < 1e-6
    for factor in (0.999, 1.001):
        least = np.min(multipliers(name, state, factor / found).real)
        assert (least < -1) == (factor > 1)


def test_lars_trains_at_the_edge_where_its_loss_alternates(x64):
    """Its step is always as long, a part of the parameters: it stays where it overshoots."""
    state, losses = trained("lars")
    rises = np.diff(losses[-100:]) > 0
    assert np.all(rises[1:] != rises[:-1])
    found = rodflow.effective_sharpness(loss, CHAINS["lars"], state)[0]
    assert found == pytest.approx(1, abs=0.03)
