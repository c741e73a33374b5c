"""The promises of every architecture, near the defaults of its configuration."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hydra.utils import instantiate

from experiments.configuration.config import load
from experiments.problems.losses import squared_error

NAMES = ["cnn", "resnet", "vit", "transformer", "lstm", "mamba"]
PARAMETERS = {
    "cnn": 12430,
    "resnet": 11170,
    "vit": 10402,
    "transformer": 10306,
    "lstm": 11434,
    "mamba": 12450,
}


# A second block promises nothing new, and is compiled many times here.
SHALLOW = {"vit": ("model.depth=1",), "transformer": ("model.depth=1",)}


@functools.cache
def model(name, shape=(8, 8, 1), outputs=(10,), *overrides):
    config = load([f"model={name}", *(overrides or SHALLOW.get(name, ()))]).model
    return instantiate(config, input_shape=shape, output_shape=outputs)


def data(dtype, shape=(8, 8, 1), outputs=(10,), samples=6):
    draw = np.random.default_rng(1).normal
    inputs = jnp.asarray(draw(size=(samples, *shape)), dtype)
    return inputs, jnp.asarray(draw(size=(samples, *outputs)), dtype)


def loss_of(model, inputs, targets):
    return lambda params: squared_error(model.apply(params, inputs), targets)


def initial(name, key=None):
    return jax.jit(model(name).init)(jax.random.key(0) if key is None else key)


@functools.cache
def gradient(name):
    loss = loss_of(model(name), *data(jnp.float32))
    return jax.jit(jax.value_and_grad(loss))


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def test_parameters_are_plain_dictionaries_of_arrays(name):
    params = initial(name)
    assert type(params) is dict
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))


def test_number_of_parameters(name):
    config = load([f"model={name}"]).model
    default = instantiate(config, input_shape=(8, 8, 1), output_shape=(10,))
    params = jax.eval_shape(default.init, jax.random.key(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == PARAMETERS[name] and 10_000 <= count <= 100_000


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 12, 3), (40, 1)])
def test_shapes(name, shape):
    chosen = model(name, shape)
    params = jax.eval_shape(chosen.init, jax.random.key(0))
    inputs = jax.ShapeDtypeStruct((5, *shape), jnp.float32)
    outputs = jax.eval_shape(chosen.apply, params, inputs)
    assert (outputs.shape, outputs.dtype) == ((5, 10), jnp.float32)


def test_outputs_are_moderate_at_first(name):
    outputs = jax.jit(model(name).apply)(initial(name), data(jnp.float32)[0])
    assert 0.01 < np.sqrt(np.mean(outputs**2)) < 1


def test_every_parameter_matters(name):
    value, slopes = gradient(name)(initial(name))
    assert np.isfinite(value)
    for path, slope in jax.tree.leaves_with_path(slopes):
        # A scale of exactly zero would be a parameter without effect.
        assert np.isfinite(slope).all() and np.abs(slope).max() > 1e-7, jax.tree_util.keystr(path)
        assert slope.dtype == jnp.float32


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.slow) if n in ("resnet", "vit", "mamba") else n
        for n in NAMES
    ],
)
def test_bfloat16_stays_bfloat16(name):
    chosen = model(name)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), initial(name))
    inputs, targets = data(jnp.bfloat16)

    @jax.jit
    def run(params):
        loss = loss_of(chosen, inputs, targets)
        return chosen.apply(params, inputs), *jax.value_and_grad(loss)(params)

    outputs, value, slopes = run(params)
    assert outputs.dtype == value.dtype == jnp.bfloat16
    assert np.isfinite(value)
    for leaf in jax.tree.leaves(slopes):
        assert leaf.dtype == jnp.bfloat16 and bool(jnp.isfinite(leaf).all())
    exact = jax.jit(chosen.apply)(initial(name), data(jnp.float32)[0])
    # Eight bits of mantissa, rounded some tens of times.
    np.testing.assert_allclose(outputs.astype(jnp.float32), exact, atol=0.05)


@pytest.mark.parametrize(
    "name",
    ["cnn", "lstm", *(pytest.param(n, marks=pytest.mark.slow) for n in NAMES[1:] if n != "lstm")],
)
def test_lanes_of_parameters_equal_one_after_the_other(name):
    chosen = model(name)
    loss = loss_of(chosen, *data(jnp.float32))
    keys = jax.random.split(jax.random.key(3), 2)
    together = jax.jit(jax.vmap(lambda key: jax.grad(loss)(chosen.init(key))))(keys)
    for lane, key in enumerate(keys):
        _, slopes = gradient(name)(initial(name, key))
        for one, other in zip(jax.tree.leaves(together), jax.tree.leaves(slopes), strict=True):
            np.testing.assert_allclose(one[lane], other, rtol=1e-3, atol=1e-5)


def unexplained(chosen, params):
    """Relative difference of the third derivative along a line and what the second one does."""
    loss = loss_of(chosen, *data(jnp.float64))
    draw = np.random.default_rng(2).normal
    direction = jax.tree.map(lambda leaf: draw(size=leaf.shape), params)

    def second(t):
        # Forward over reverse, as the Hessian-vector products of the rods and the curvature.
        moved = jax.tree.map(lambda leaf, d: leaf + t * d, params, direction)
        _, product = jax.jvp(jax.grad(loss), (moved,), (direction,))
        products = jax.tree.map(jnp.vdot, product, direction)
        return jax.tree.reduce(jnp.add, products)

    h = 3e-4
    second_and_third = jax.jit(lambda t: jax.jvp(second, (t,), (1.0,)))
    (there, _), (here, third), (back, _) = map(second_and_third, (h, 0.0, -h))
    assert np.isfinite([there, here, back, third]).all()
    return float(abs((there - back) / (2 * h) - third) / (abs(third) + abs(here)))


@pytest.mark.parametrize(
    ("name", "overrides", "smooth"),
    [
        *(("cnn", (f"model.activation={name}",), name == "gelu") for name in ("gelu", "relu")),
        *(pytest.param(name, (), True, marks=pytest.mark.slow) for name in NAMES[1:]),
    ],
)
def test_the_third_derivative_explains_the_change_of_the_second(name, overrides, smooth):
    chosen = model(name, (8, 8, 1), (10,), *overrides)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), initial(name))
        error = unexplained(chosen, params)
    # Differences err by h^2 where there is a fifth derivative, and by 1 / h at a kink.
    assert (error < 1e-2) == smooth, error
