"""The promises that Optax's own contrib tests check, made by every transform and optimizer here.

The list is that of ``optax/contrib/_common_test.py``, and what rodflow asks for beyond it: counters
carried as float clocks, hyperparameters traced under ``vmap``.
"""

import inspect
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

from rodflow.transforms import (
    OPTIMIZERS,
    adam_2k,
    gi_adam,
    if_shampoo,
    monitored,
    rf_adamw,
    rf_rmsprop,
    scale_by_if_shampoo,
    scale_by_rf_adam,
    scale_by_rf_rms,
    scale_by_scalar_adam,
    scale_by_scalar_nadam,
    scale_by_scalar_rms,
    scale_to_edge,
)


def monitored_adam(learning_rate, b1=0.9, b2=0.999, eps=1e-8):
    return monitored(optax.adam(learning_rate, b1, b2, eps))


# name -> factory and the hyperparameters it is given. Learning rates are small enough for the stiff
# direction of Rosenbrock's valley (curvature 1000, edge of GD at 2e-3), and for root-free methods
# to end near the minimum, at a distance of about sqrt(learning rate / batch size / curvature). The
# damping bounds what Shampoo magnifies a vanishing gradient by.
SCALAR: dict[str, tuple[Callable, dict[str, Any]]] = {
    "scale_by_scalar_rms": (scale_by_scalar_rms, {}),
    "scale_by_scalar_adam": (scale_by_scalar_adam, {}),
    "scale_by_scalar_nadam": (scale_by_scalar_nadam, {}),
}
TRANSFORMS = SCALAR | {
    "scale_by_rf_rms": (scale_by_rf_rms, {"batch_size": 4}),
    "scale_by_rf_adam": (scale_by_rf_adam, {"batch_size": 4}),
    "scale_by_if_shampoo": (scale_by_if_shampoo, {"batch_size": 4}),
}
ALIASES = {
    name: (factory, {"learning_rate": 1e-3 if name in ("gd", "heavy_ball", "nesterov") else 1e-2})
    for name, factory in OPTIMIZERS.items()
} | {
    "adam_2k": (adam_2k, {"learning_rate": 1e-2, "num_steps": 2}),
    "gi_adam": (gi_adam, {"learning_rate": 1e-2}),
    "rf_rmsprop": (rf_rmsprop, {"learning_rate": 5e-3, "batch_size": 1}),
    "rf_adamw": (rf_adamw, {"learning_rate": 5e-3, "batch_size": 1, "weight_decay": 1e-4}),
    "if_shampoo": (if_shampoo, {"learning_rate": 1e-3, "batch_size": 1, "damping": 0.1}),
    "monitored": (monitored_adam, {"learning_rate": 1e-2}),
}


def sgd_at_edge(sigma, decay=0.9):
    """Gradient descent with its learning rate from the curvature along its step."""
    return optax.chain(optax.sgd(1.0), scale_to_edge(sigma, decay))


CONTROLLED: dict[str, tuple[Callable, dict[str, Any]]] = {
    "sgd_at_edge": (sgd_at_edge, {"sigma": 1.0})
}
ALL = ALIASES | TRANSFORMS | CONTROLLED
DTYPES = ["bfloat16", "float16", "float32", "float64"]

each_alias = pytest.mark.parametrize("name", ALIASES)
each_optimizer = pytest.mark.parametrize("name", ALIASES | CONTROLLED)
each_member = pytest.mark.parametrize("name", ALL)
each_transform = pytest.mark.parametrize("name", TRANSFORMS)


def build(name, **others):
    factory, hyperparameters = ALL[name]
    return factory(**hyperparameters | others)


def parabola():
    target = jnp.array([1.0, -1.0, 1.0])
    return jnp.array([-1.0, 10.0, 1.0]), target, lambda x: jnp.sum((x - target) ** 2)


def rosenbrock():
    def loss(x):
        return (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2

    return jnp.zeros(2), jnp.ones(2), loss


def nested_parabola():
    target = {"layer": {"w": jnp.array([[1.0, 0.0], [-1.0, 1.0]]), "b": jnp.array(2.0)}}

    def loss(x):
        return optax.tree.norm(optax.tree.sub(x, target), squared=True)

    return optax.tree.zeros_like(target), target, loss


def gradient_tree(dtype="float32") -> tuple[dict[str, Any], dict[str, Any]]:
    params = {"w": -jnp.ones((2, 3), dtype), "b": (jnp.ones(2, dtype), jnp.ones((), dtype))}
    grads = {"w": jnp.full((2, 3), 0.5, dtype), "b": (-jnp.ones(2, dtype), jnp.ones((), dtype))}
    return params, grads


def parabola_of(params, grads):
    """The loss, as an extra argument, of which ``grads`` is the gradient at ``params``."""

    def loss(w):
        rest = jax.tree.map(lambda w, p, g: jnp.asarray(w - p + g, jnp.float32), w, params, grads)
        return optax.tree.norm(rest, squared=True) / 2

    return {"value_fn": loss}


def update_of(tx):
    """The update with the loss as an extra argument, for those that ask for it."""
    accepts = isinstance(tx, optax.MultiSteps)
    update = (tx if accepts else optax.with_extra_args_support(tx)).update
    return lambda grads, state, params: update(grads, state, params, **parabola_of(params, grads))


def run(tx, params, state, grads, num_steps=5) -> Any:
    """The updates of ``num_steps`` steps on gradients that change from step to step, stacked."""
    update = update_of(tx)

    def step(state, t):
        updates, state = update(optax.tree.scale(jnp.cos(t), grads), state, params)
        return state, updates

    return jax.lax.scan(step, state, jnp.arange(num_steps, dtype=jnp.float32))[1]


@pytest.mark.parametrize("target", [parabola, rosenbrock, nested_parabola])
@each_optimizer
def test_converges(name, target):
    tx = optax.with_extra_args_support(build(name))
    params, minimum, loss = target()
    # A no-op that finds the parameter-shaped leaves of the state.
    state = optax.tree.map_params(tx, lambda leaf: leaf, tx.init(params))

    @jax.jit
    def optimize(params, state):
        def step(carry, _):
            params, state = carry
            grads = jax.grad(loss)(params)
            updates, state = tx.update(grads, state, params, value_fn=loss)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, state), length=30_000)[0][0]

    # The tolerance of Optax's test: it allows for adaptive methods that orbit the minimum at
    # about half a learning rate.
    chex.assert_trees_all_close(optimize(params, state), minimum, rtol=3e-2, atol=3e-2)


@each_member
def test_extra_args_are_accepted_and_the_second_call_does_not_recompile(name):
    chex.clear_trace_counter()  # it counts by name, over all tests
    tx = build(name)
    params, grads = gradient_tree()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(params, state):
        updates, state = tx.update(
            grads, state, params, unexpected=jnp.array(1.0), **parabola_of(params, grads)
        )
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(3):
        params, state = step(params, state)


@each_member
def test_equals_itself_under_inject_hyperparams(name):
    factory, hyperparameters = ALL[name]
    tx = factory(**hyperparameters)
    static = {"max_size"} & inspect.signature(factory).parameters.keys()  # shapes depend on it
    injected = optax.inject_hyperparams(factory, static)(**hyperparameters)
    params, grads = gradient_tree()
    chex.assert_trees_all_close(
        run(injected, params, injected.init(params), grads),
        run(tx, params, tx.init(params), grads),
        rtol=2e-5,  # 1 - b2 is 1.3e-5 off when b2 = 0.999 is a float32; the root halves it
    )


@pytest.mark.parametrize("dtype", DTYPES)
@each_member
def test_dtypes_of_updates_and_state_are_kept(name, dtype):
    with jax.enable_x64(dtype == "float64"):
        tx = build(name)
        params, grads = gradient_tree(dtype)
        state = jax.eval_shape(tx.init, params)
        updates, new_state = jax.eval_shape(update_of(tx), grads, state, params)
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
        chex.assert_trees_all_equal_shapes_and_dtypes(new_state, state)


@each_member
def test_gradient_accumulation(name):
    tx = optax.MultiSteps(build(name), every_k_schedule=2)
    params, grads = gradient_tree("bfloat16")
    update = jax.jit(update_of(tx))
    first, state = update(grads, tx.init(params), params)
    second, _ = update(grads, state, params)
    chex.assert_trees_all_equal(first, optax.tree.zeros_like(grads))
    reference = build(name)
    expected, _ = jax.jit(update_of(reference))(grads, reference.init(params), params)
    chex.assert_trees_all_close(second, expected, rtol=2**-7)  # one unit of bfloat16's last place


@pytest.mark.parametrize("decay", [0.0, 1.0], ids=["constant", "decaying"])
@each_alias
def test_schedules_are_followed(name, decay):
    params, grads = gradient_tree()
    scheduled = build(name, learning_rate=lambda count: 0.1 / (1.0 + decay * count))
    constant = build(name, learning_rate=0.1)
    steady = run(constant, params, constant.init(params), grads, num_steps=3)
    factor = 1.0 / (1.0 + decay * jnp.arange(3.0))
    chex.assert_trees_all_close(
        run(scheduled, params, scheduled.init(params), grads, num_steps=3),
        jax.tree.map(lambda u: factor.reshape(-1, *[1] * (u.ndim - 1)) * u, steady),
        rtol=1e-6,
    )


@each_member
def test_counters_may_be_float_clocks(name):
    tx = build(name)
    params, grads = gradient_tree()
    state = tx.init(params)

    def to_clock(leaf):
        return leaf.astype(jnp.float32) if jnp.issubdtype(leaf.dtype, jnp.integer) else leaf

    clocked = jax.tree.map(to_clock, state)
    chex.assert_trees_all_equal(run(tx, params, clocked, grads), run(tx, params, state, grads))
    _, stepped = update_of(tx)(grads, clocked, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(stepped, clocked)
    for like, leaf in zip(jax.tree.leaves(state), jax.tree.leaves(stepped), strict=True):
        if jnp.issubdtype(like.dtype, jnp.integer):
            assert leaf == 1.0


@each_member
def test_vmap_over_traced_hyperparameters(name):
    factory, hyperparameters = ALL[name]
    grid = {key: jnp.array([1.0, 2.0]) * value for key, value in hyperparameters.items()}
    decays = dict.fromkeys(("b1", "momentum", "factor_momentum"), jnp.array([0.5, 0.9]))
    decays["b2"] = jnp.array([0.9, 0.999])
    # inject_hyperparams reads the same signature: named arguments are part of the contract.
    accepted = inspect.signature(factory).parameters
    grid |= {key: value for key, value in decays.items() if key in accepted}
    params, grads = gradient_tree()

    def member(hyperparameters):
        tx = factory(**hyperparameters)
        return run(tx, params, tx.init(params), grads, num_steps=3)

    lanes = jax.jit(jax.vmap(member))(grid)
    for lane in range(2):
        chex.assert_trees_all_close(
            jax.tree.map(lambda u, lane=lane: u[lane], lanes),
            member({key: float(value[lane]) for key, value in grid.items()}),
            rtol=2e-5,  # as under inject_hyperparams: 1 - b2 in float32
        )


@pytest.mark.parametrize(("narrow", "wide"), [("bfloat16", "float32"), ("float32", "float64")])
@each_transform
def test_wide_hyperparameters_widen_neither_updates_nor_state(name, narrow, wide):
    with jax.enable_x64(wide == "float64"):
        params, grads = gradient_tree(narrow)

        memory = "b2" if "b2" in inspect.signature(ALL[name][0]).parameters else "factor_momentum"

        def step(decay):
            tx = build(name, **{memory: decay})
            state = tx.init(params)
            return state, tx.update(grads, state, params)

        state, (updates, new_state) = jax.eval_shape(step, jnp.array(0.999, wide))
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
        chex.assert_trees_all_equal_shapes_and_dtypes(new_state, state)
        assert name not in SCALAR or new_state.nu.dtype == jnp.float32


@each_transform
def test_partition_gives_each_group_its_own_memory(name):
    params, grads = gradient_tree()
    grouped = optax.partition({"w": build(name), "b": build(name)}, {"w": "w", "b": "b"})
    together = run(grouped, params, grouped.init(params), grads)
    for key in params:
        alone = build(name)
        chex.assert_trees_all_close(
            together[key],
            run(alone, params[key], alone.init(params[key]), grads[key]),
            rtol=1e-6,
        )


@each_transform
def test_masked_leaves_pass_through_and_do_not_count(name):
    params, grads = gradient_tree()
    masked = optax.masked(build(name), {"w": True, "b": False})
    updates = run(masked, params, masked.init(params), grads, num_steps=1)
    alone = build(name)
    expected = run(alone, params["w"], alone.init(params["w"]), grads["w"], num_steps=1)
    chex.assert_trees_all_close(updates["w"], expected, rtol=1e-6)
    chex.assert_trees_all_equal(jax.tree.map(lambda u: u[0], updates["b"]), grads["b"])


@each_transform
def test_nothing_to_update_is_no_error(name):
    tx = optax.masked(build(name), False)
    params, grads = gradient_tree()
    updates, _ = tx.update(grads, tx.init(params), params)
    chex.assert_trees_all_equal(updates, grads)


@pytest.mark.parametrize("name", SCALAR)
def test_complex_gradients_act_as_pairs_of_real_ones(name):
    tx = build(name)
    real, imag = jnp.array([3.0, -1.0]), jnp.array([-4.0, 2.0])
    pair = run(tx, (real, imag), tx.init((real, imag)), (real, imag))
    whole = run(tx, real + 1j * imag, tx.init(real + 1j * imag), real + 1j * imag)
    assert tx.init(real + 1j * imag).nu.dtype == jnp.float32
    chex.assert_trees_all_close((whole.real, whole.imag), pair, rtol=1e-6)


@each_transform
def test_zero_gradient_gives_zero_update(name):
    params, grads = gradient_tree()
    tx = build(name)
    zeros = optax.tree.zeros_like(grads)
    chex.assert_trees_all_equal(tx.update(zeros, tx.init(params), params)[0], zeros)
