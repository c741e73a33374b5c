import jax
import jax.numpy as jnp
import optax
import pytest

import rodflow
from rodflow import Parity
from rodflow.maps import as_clock, probe_parity

# The parity of the leaves below each field of Optax's states.
PARITIES = {
    "mu": Parity.OSCILLATING,
    "trace": Parity.OSCILLATING,
    "nu": Parity.AUXILIARY,
    "factors": Parity.AUXILIARY,
    "count": Parity.CLOCK,
    "hyperparams": Parity.CONSTANT,
}


def expected(state):
    def by_field(path, leaf):
        names = [getattr(key, "name", None) for key in path]
        return next(PARITIES[name] for name in reversed(names) if name in PARITIES)

    return jax.tree_util.tree_map_with_path(by_field, state)


def found(tx, params=None):
    return jax.tree.leaves(probe_parity(tx, jnp.ones(3) if params is None else params))


@pytest.mark.usefixtures("x64")
def test_parity_of_every_leaf(network, params):
    state = network.init(params)
    parity = network.parity(params)
    assert parity.params == jax.tree.map(lambda _: Parity.OSCILLATING, params)
    assert parity.opt_state == expected(state.opt_state)


@pytest.mark.parametrize(
    "chain",
    ["heavy_ball", "l2_adam", "injected_adam", "partition"],
    indirect=True,
)
def test_parity_is_the_same_for_traced_hyperparameters(chain, params):
    parities = []

    def member(learning_rate):
        iteration = rodflow.Iteration(lambda p: optax.tree.sum(p) ** 2, chain(learning_rate))
        state = iteration.init(params)
        parities.append((iteration.parity(params).opt_state, expected(state.opt_state)))
        return state.params["out"]

    jax.jit(jax.vmap(member))(jnp.array([0.01, 0.1]))
    jax.eval_shape(jax.grad(lambda lr: member(lr).sum()), 0.1)
    for parity, wanted in parities:
        assert parity == wanted
    assert len(parities) == 2


def test_every_hyperparameter_may_be_traced():
    def member(lr, b1, b2, eps, wd):
        tx = optax.adamw(lr, b1, b2, eps, weight_decay=wd)
        parity = probe_parity(tx, jnp.ones(3))
        assert parity == expected(tx.init(jnp.ones(3)))
        return lr

    jax.jit(member)(0.1, 0.9, 0.99, 1e-8, 0.1)


def test_decay_in_the_gradient_leaves_the_second_moment_auxiliary():
    """Because the probe flips the weights too: g + wd w changes its sign as a whole."""
    tx = optax.chain(optax.add_decayed_weights(10.0), optax.scale_by_rms())
    assert found(tx) == [Parity.AUXILIARY]


def test_a_copy_of_the_weights_oscillates():
    assert found(optax.ema(0.9)) == [Parity.CLOCK, Parity.OSCILLATING]
    tx = optax.GradientTransformation(lambda params: params, lambda u, state, params: (u, params))
    assert found(tx) == [Parity.CONSTANT]  # it is the weights from the start, and stays so
    tx = optax.GradientTransformation(
        lambda params: 0 * params, lambda u, state, params: (u, (state + params) / 2)
    )
    assert found(tx) == [Parity.OSCILLATING]


def test_a_schedule_among_the_hyperparameters_is_smooth():
    tx = optax.inject_hyperparams(optax.sgd)(learning_rate=optax.linear_schedule(0.1, 0.0, 10))
    state = tx.init(jnp.ones(3))
    parity = probe_parity(tx, jnp.ones(3))
    assert parity.hyperparams == {"learning_rate": Parity.AUXILIARY}
    assert parity.count is Parity.CLOCK
    assert jax.tree.structure(parity) == jax.tree.structure(state)


def test_flags_and_counts_of_errors_are_constant():
    parity = probe_parity(optax.apply_if_finite(optax.sgd(0.1), 3), jnp.ones(3))
    assert jax.tree.leaves(parity) == [Parity.CONSTANT] * 3


def test_a_mean_of_gradients_with_an_even_part_oscillates():
    """Only a memory that is equal under both signs is auxiliary: near equality is not enough."""
    tx = optax.GradientTransformation(
        jnp.zeros_like, lambda u, state, params=None: (u, 0.9 * state + u**2 + 0.01 * u)
    )
    assert found(tx) == [Parity.OSCILLATING]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_parity_in_every_precision(dtype):
    params = {"w": jnp.ones((2, 2), dtype)}
    tx = optax.nadam(0.1)
    assert probe_parity(tx, params) == expected(tx.init(params))


def test_parity_does_not_depend_on_the_values_of_the_parameters(params):
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.1))
    zeros = jax.tree.map(jnp.zeros_like, params)
    assert probe_parity(tx, zeros) == probe_parity(tx, params) == expected(tx.init(params))


def test_clocks_are_floats_and_floats_stay_as_they_are():
    assert as_clock(jnp.array(3)).dtype == jnp.float32
    assert as_clock(jnp.array(True)) == 1.0
    half = jnp.ones(2, jnp.bfloat16)
    assert as_clock(half) is half


def test_transformations_that_share_an_update_are_told_apart():
    def update(updates, state, params=None):
        return updates, jax.tree.map(lambda m: m + 1, state)

    counting = optax.GradientTransformation(lambda p: jnp.zeros((), jnp.int32), update)
    double = optax.GradientTransformation(lambda p: (jnp.zeros(()), jnp.zeros(())), update)
    assert found(counting) == [Parity.CLOCK]
    assert found(double) == [Parity.AUXILIARY] * 2
    assert found(counting) == [Parity.CLOCK]
