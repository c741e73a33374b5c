import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chex import assert_trees_all_close

from rodflow import Minibatches

SAMPLES, WIDTH = 64, 32


def _normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def of(params, batch):
    x, y = batch
    hidden = jnp.tanh(jnp.tanh(x @ params["a"]) @ params["b"])
    return jnp.mean((hidden @ params["c"] - y) ** 2)


def split(data, count):
    return jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), data)


def setting():
    data = jnp.asarray(_normal(0, SAMPLES, 4)), jnp.asarray(_normal(1, SAMPLES))
    shapes = {"a": (4, WIDTH), "b": (WIDTH, WIDTH), "c": (WIDTH,)}
    params = {
        name: jnp.asarray(_normal(2, *shape)) / shape[0] ** 0.5 for name, shape in shapes.items()
    }
    return data, params


def derivatives(loss):
    """The gradient, HVPs of a shared linearization, and a third derivative: what flows take."""

    def product(w, v):
        return jax.jvp(jax.grad(loss), (w,), (v,))[1]

    def all_of_them(w):
        gradient, hessian = jax.linearize(jax.grad(loss), w)
        hvps = jax.vmap(hessian)(jax.tree.map(lambda x: jnp.stack([x, jnp.cos(x)]), w))
        third = jax.jvp(lambda at: product(at, w), (w,), (jax.tree.map(jnp.cos, w),))[1]
        return loss(w), gradient, hvps, third

    return all_of_them


@pytest.mark.usefixtures("x64")
def test_the_mean_has_the_derivatives_of_the_full_batch():
    data, params = setting()
    whole = jax.jit(derivatives(lambda w: of(w, data)))(params)
    accumulated = jax.jit(derivatives(Minibatches(of, split(data, 4))))(params)
    assert_trees_all_close(accumulated, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_derivatives_hold_the_activations_of_one_batch():
    data, params = setting()

    def temporary_bytes(loss):
        compiled = jax.jit(derivatives(loss)).lower(params).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    batches = split(data, 16)
    few = temporary_bytes(Minibatches(of, jax.tree.map(lambda x: x[:2], batches)))
    many = temporary_bytes(Minibatches(of, batches))
    assert many < 1.05 * few
    big = jax.tree.map(lambda x: jnp.tile(x, (64, *[1] * (x.ndim - 1))), data)
    whole = temporary_bytes(lambda w: of(w, big))
    assert temporary_bytes(Minibatches(of, split(big, 64))) < whole / 16


def test_sums_of_a_narrow_type_do_not_stall():
    """In bfloat16 256 + 1 is 256; losses and gradients are added up in single precision."""
    loss = Minibatches(lambda w, batch: jnp.sum(w * batch), jnp.ones((1024, 1), jnp.bfloat16))
    value, slope = jax.value_and_grad(loss)(jnp.ones(1, jnp.bfloat16))
    assert value.dtype == slope.dtype == jnp.bfloat16
    assert value == slope[0] == 1.0


def test_minibatches_are_compared_as_functions_are():
    """By identity, so that `jax.jit` takes them for a function; the arrays are leaves."""
    data = split(setting()[0], 4)
    loss, other = (Minibatches(of, data) for _ in range(2))
    assert loss == loss and loss != other and len({loss, other}) == 2
    assert_trees_all_close(loss.batches, data)
    assert len(jax.tree.leaves(loss)) == 3 and loss.batch_loss is of


@pytest.mark.parametrize(
    "of", [lambda w, x: (jnp.sum(w), x), lambda w, x: w], ids=["aux", "vector"]
)
def test_a_loss_that_is_no_scalar_is_refused(of):
    with pytest.raises(ValueError, match=r"The loss returned .*; it must return one real float"):
        Minibatches(of, np.ones((3, 2)))(jnp.ones(2))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (iter([1, 2]), "it must be arrays that hold all batches"),
        ((), "it must be arrays that hold all batches"),
        ((np.ones((3, 2)), np.ones((4, 2))), r"have \[3, 4\] batches; it must be one number"),
        (np.ones((0, 2)), r"have \[0\] batches"),
        (np.ones(()), r"have \[0\] batches"),
    ],
    ids=["loader", "nothing", "unequal", "none", "scalar"],
)
def test_batches_that_are_none_are_refused(batches, message):
    with pytest.raises(ValueError, match=message):
        Minibatches(of, batches)
