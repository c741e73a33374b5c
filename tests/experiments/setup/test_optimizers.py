import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow
from experiments.configuration.config import OptimizerConfig, load, with_values
from experiments.setup import optimizers


def test_the_chain_gets_the_configured_hyperparameters():
    tx = optimizers.configured(OptimizerConfig("heavy_ball", 0.5, {"b1": 0.8}))
    params = jnp.array(1.0)
    state = tx.init(params)
    first, state = tx.update(jnp.array(1.0), state, params)
    second, _ = tx.update(jnp.array(0.0), state, params)
    np.testing.assert_allclose(
        np.asarray([first, second]), [-0.5 * 0.2, -0.5 * 0.2 * 0.8], rtol=1e-6
    )


def test_all_numbers_of_a_configuration_may_be_traced():
    base = load(["optimizer=heavy_ball"])

    def two_updates(learning_rate, b1):
        values = {"optimizer.learning_rate": learning_rate, "optimizer.hyperparameters.b1": b1}
        tx = optimizers.configured(with_values(base, values).optimizer)
        first, state = tx.update(jnp.array(1.0), tx.init(jnp.array(1.0)))
        return first, tx.update(jnp.array(0.0), state)[0]

    rates, b1 = jnp.array([0.5, 0.25]), jnp.array([0.8, 0.5])
    first, second = jax.jit(jax.vmap(two_updates))(rates, b1)
    np.testing.assert_allclose(first, -rates * (1 - b1), rtol=1e-6)
    np.testing.assert_allclose(second, -rates * (1 - b1) * b1, rtol=1e-6)
    assert base.optimizer.learning_rate == 0.8


def updates_of(tx, gradients):
    params = jnp.zeros(())
    state, updates = tx.init(params), []
    for gradient in gradients:
        update, state = tx.update(jnp.asarray(gradient), state, params)
        updates.append(float(update))
    return updates


@pytest.mark.parametrize("name", ["gd", "adam", "rf_rmsprop"])
def test_warmup_steps_scale_the_updates_of_any_optimizer(name):
    """By t / T up to step T; all updates here are proportional to the learning rate."""
    hyperparameters = {"rf_rmsprop": {"batch_size": 4.0}}.get(name, {})
    gradients = [1.0, -2.0, 0.5, 3.0, 1.0]
    plain, warm = (
        updates_of(
            optimizers.configured(OptimizerConfig(name, 0.1, hyperparameters | h)), gradients
        )
        for h in ({}, {"warmup_steps": 4.0})
    )
    factors = np.array([0.25, 0.5, 0.75, 1, 1])
    np.testing.assert_allclose(warm, factors * plain, rtol=1e-5)


def test_the_ramp_begins_when_parameters_begin_to_move():
    hyperparameters = {"b1": 0.0, "b2": 0.0, "num_steps": 2.0, "warmup_steps": 2.0}
    tx = optimizers.configured(OptimizerConfig("adam_2k", 0.1, hyperparameters))
    np.testing.assert_allclose(updates_of(tx, [1.0] * 5), [0, 0, -0.05, -0.1, -0.1], rtol=1e-5)


def test_integers_are_passed_on_as_such():
    hyperparameters = {"batch_size": 4.0, "max_size": 2.0}
    tx = optimizers.configured(OptimizerConfig("if_shampoo", 0.1, hyperparameters))
    (factors,) = optax.tree.get(tx.init({"w": jnp.ones((2, 3))}), "factors").values()
    assert [factor.matrix.ndim for factor in factors] == [2, 1]
    with pytest.raises(ValueError, match=r"max_size=2\.5 is out of range: it must be an integer"):
        optimizers.configured(
            OptimizerConfig("if_shampoo", 0.1, hyperparameters | {"max_size": 2.5})
        )


def test_flags_are_passed_on_as_such():
    nadam, flagged = (
        optimizers.configured(OptimizerConfig(name, 0.1, hyperparameters))
        for name, hyperparameters in (("nadam", {}), ("adam", {"nesterov": 1.0}))
    )
    assert updates_of(flagged, [1.0, -2.0, 0.5]) == updates_of(nadam, [1.0, -2.0, 0.5])
    with pytest.raises(ValueError, match=r"nesterov=0\.5 is out of range: it must be 0 or 1"):
        optimizers.configured(OptimizerConfig("adam", 0.1, {"nesterov": 0.5}))


@pytest.mark.parametrize("name", optimizers.CONSTRUCTORS)
def test_every_hyperparameter_on_offer_takes_a_number(name):
    """Those that are refused are named together with what there is instead."""
    with pytest.raises(ValueError, match=r"no such hyperparameter; it has") as refused:
        optimizers.configured(OptimizerConfig(name, 0.1, {"mu_dtype": 16.0}))
    offered = str(refused.value).rpartition("it has ")[2].split(", ")
    required = {"batch_size": 4.0} if "batch_size" in offered else {}
    params = {"w": jnp.ones((2, 3))}
    for each in offered:
        value = 0.0 if each in ("b1", "b2") else 1.0
        tx = optimizers.configured(OptimizerConfig(name, 0.1, required | {each: value}))
        jax.eval_shape(lambda tx=tx: tx.update(params, tx.init(params), params))


def test_a_warmup_takes_a_traced_learning_rate():
    def first(learning_rate):
        base = load(["optimizer=gd", "+optimizer.hyperparameters.warmup_steps=2"])
        values = {"optimizer.learning_rate": learning_rate}
        tx = optimizers.configured(with_values(base, values).optimizer)
        return tx.update(jnp.array(1.0), tx.init(jnp.array(0.0)))[0]

    np.testing.assert_allclose(jax.vmap(first)(jnp.array([0.5, 1.0])), [-0.25, -0.5])


def test_radam_has_the_threshold_of_the_paper():
    """Steps 1 to 4 (rho of 4 or less for b2 = .99) are those of momentum, step 5 is rectified."""
    chosen = load(["optimizer=radam", "optimizer.learning_rate=1"]).optimizer
    rectified = updates_of(optimizers.configured(chosen), [2.0] * 5)
    r = rodflow.rectification(5, chosen.hyperparameters["b2"]).r
    np.testing.assert_allclose(rectified, [-2, -2, -2, -2, -r], rtol=1e-3)


def test_a_hyperparameter_without_default_is_asked_for():
    with pytest.raises(ValueError, match=r"hyperparameters\.batch_size: rf_adamw needs a value"):
        optimizers.configured(OptimizerConfig("rf_adamw", 0.1, {}))


def test_an_unknown_optimizer_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"optimizer\.name=lion: .* gd, heavy_ball, nesterov"):
        optimizers.configured(OptimizerConfig("lion", 0.1, {}))


def test_an_unknown_hyperparameter_is_refused_with_those_there_are():
    with pytest.raises(
        ValueError, match=r"hyperparameters\.decay: heavy_ball .* it has b1, warmup_steps"
    ):
        optimizers.configured(OptimizerConfig("heavy_ball", 0.1, {"decay": 0.9}))
