"""One matrix of optimizers and a few small problems, for the promises that hold for all of them."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow

# Most of the time is compilation, of which XLA's older emitters take a third less. An unknown flag
# ends the process, so that versions of JAX on which this was not tried out go without.
if jax.__version_info__[:2] == (0, 10):
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_use_fusion_emitters=false".strip()

# A power of two: lr * g is then exact, and fusing it into the next addition changes nothing.
LEARNING_RATE = 1 / 16


CHAINS = rodflow.OPTIMIZERS | {
    "adamw": lambda lr: optax.adamw(lr, weight_decay=0.1),
    "radam": optax.radam,
    "lion": optax.lion,
    "adabelief": optax.adabelief,
    "trace": lambda lr: optax.sgd(lr, momentum=0.5),
    "nesterov_trace": lambda lr: optax.sgd(lr, momentum=0.5, nesterov=True),
    "clipped_adam_cosine": lambda lr: optax.chain(
        optax.clip_by_global_norm(0.5), optax.adam(optax.cosine_decay_schedule(lr, 100))
    ),
    "injected_adam": lambda lr: optax.inject_hyperparams(optax.adam)(learning_rate=lr),
    "l2_adam": lambda lr: optax.chain(optax.add_decayed_weights(0.1), optax.adam(lr)),
    "masked_adam": lambda lr: optax.chain(
        optax.masked(optax.scale_by_adam(), {"hidden": True, "out": False}),
        optax.scale_by_learning_rate(lr),
    ),
    "partition": lambda lr: optax.partition(
        {"adam": optax.adam(lr), "trace": optax.sgd(lr, momentum=0.9)},
        {"hidden": "adam", "out": "trace"},
    ),
    "adam_2k": lambda lr: rodflow.adam_2k(lr, num_steps=5),
    "rf_rmsprop": lambda lr: rodflow.rf_rmsprop(lr, 6, momentum=0.5, weight_decay=0.1),
    "rf_adamw": lambda lr: rodflow.rf_adamw(lr, batch_size=6),
    "if_shampoo": lambda lr: rodflow.if_shampoo(lr / 8, batch_size=6, max_size=2),
}


# Programs that tests run in processes of their own.
collect_ignore = ["sharded.py", "restored.py", "refused.py"]


def pytest_configure(config):
    # Many tests build the same programs anew.
    jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("programs")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _normal(seed, *shape):
    # A fresh array each time: JAX remembers the type it gave to one.
    return np.random.default_rng(seed).normal(size=shape)


def _network_loss(params):
    """Regression on six points by a tanh network of two hidden neurons; the same at -params."""
    features = jnp.tanh(_normal(1, 6, 4) @ params["hidden"]["w"])
    return jnp.mean((features @ params["out"] - _normal(2, 6)) ** 2) / 2


def _quadratic_loss(params):
    """A positive definite form that couples all parameters: every gradient is linear."""
    flat = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(params)])
    return jnp.sum((_normal(4, 12, 10) @ flat) ** 2) / 24


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def params():
    """Ten parameters in a nested tree, in the default precision."""
    return {"hidden": {"w": jnp.asarray(_normal(13, 4, 2))}, "out": jnp.asarray(_normal(5, 2))}


@pytest.fixture(params=CHAINS)
def chain(request):
    """learning rate -> transformation; every test that asks for it runs once for each."""
    return CHAINS[request.param]


@pytest.fixture
def network_loss():
    return _network_loss


@pytest.fixture
def network(chain):
    """The iteration of `chain` on a tiny network."""
    return rodflow.Iteration(_network_loss, chain(LEARNING_RATE))


@pytest.fixture
def quadratic(chain):
    """The iteration of `chain` on a quadratic loss."""
    return rodflow.Iteration(_quadratic_loss, chain(LEARNING_RATE))


@functools.partial(jax.jit, static_argnames=("loss", "tx", "num_steps"))
def _optax_run(loss, tx, start, num_steps):
    def step(carry, _):
        params, opt_state = carry
        updates, opt_state = tx.update(jax.grad(loss)(params), opt_state, params)
        carry = optax.apply_updates(params, updates), opt_state
        return carry, carry

    return jax.lax.scan(step, start, length=num_steps)[1]


@pytest.fixture
def optax_run():
    """The oracle: what Optax itself computes, its counters integers; stacked over the steps."""

    def run(loss, tx, params, num_steps, opt_state=None):
        opt_state = tx.init(params) if opt_state is None else opt_state
        return _optax_run(loss, tx, (params, opt_state), num_steps)

    return run
