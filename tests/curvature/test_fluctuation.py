"""The fluctuation meter on linear chains, whose effective sharpness is known exactly."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow

STEPS = 6000
CHAINS = {
    "sgd": (optax.sgd(0.5), 0.5),
    "heavy_ball": (rodflow.heavy_ball(0.5, b1=0.9), 0.5 / 19),
    "nesterov": (rodflow.nesterov(0.5, b1=0.9), 0.5 * 2.8 / 19),
    "trace": (optax.sgd(0.5, momentum=0.5), 0.5 / 1.5),
    "weight_decay": (optax.chain(optax.trace(0.9), optax.scale(-0.05)), 0.05 / 1.9),
}


@functools.partial(jax.jit, static_argnames=("tx", "meter", "steps"))
def followed(tx, meter, curvature, response, drift=0.0, seed=0, steps=STEPS):
    """Train on a quadratic with independent noise in each gradient, whose minimum drifts."""
    noise = jax.random.normal(jax.random.key(seed), (steps, len(curvature)))
    # The gradient noise of a network is strongest where its curvature is.
    noise = noise * jnp.sqrt(curvature)
    scale = jnp.sqrt(response) * jnp.ones(len(curvature))

    def step(carry, n):
        w, opt_state, state, minimum = carry
        g = curvature * (w - minimum) + n
        u, opt_state = tx.update(g, opt_state, w)
        return (w + u, opt_state, meter.update(state, g, u, scale), minimum + drift), state.reading

    w = jnp.zeros(len(curvature))
    start = w, tx.init(w), meter.init(w), w
    (_, _, state, _), readings = jax.lax.scan(step, start, noise)
    return state, readings


@pytest.mark.parametrize("sharpness", [0.4, 0.7, 0.95])
@pytest.mark.parametrize("name", CHAINS)
def test_it_reads_the_effective_sharpness_of_one_mode(name, sharpness):
    tx, response = CHAINS[name]
    meter = rodflow.FluctuationMeter(vectors=1, window=STEPS)
    curvature = jnp.array([2 * sharpness / response])
    state, _ = followed(tx, meter, curvature, response)
    # Twice the standard error of 6000 steps of SGD, and the bias of the short memory.
    np.testing.assert_allclose(state.reading[0], sharpness, atol=0.04)


@pytest.mark.parametrize("name", CHAINS)
def test_it_finds_the_leading_mode_among_many(name):
    tx, response = CHAINS[name]
    spectrum = jnp.concatenate([jnp.array([0.8, 0.5]), jnp.geomspace(0.3, 1e-3, 60)])
    meter = rodflow.FluctuationMeter(vectors=2, window=300)
    state, readings = followed(tx, meter, 2 * spectrum / response, response)
    np.testing.assert_allclose(np.nanmean(readings[-1500:, 0]), 0.8, rtol=0.1)
    overlap = jnp.linalg.norm(state.directions[:, 0])
    assert overlap > 0.85
    gram = state.directions @ state.directions.T
    np.testing.assert_allclose(gram, np.eye(2), atol=1e-4)


def test_a_drift_of_the_minimum_is_taken_off():
    tx, response = CHAINS["heavy_ball"]
    meter = rodflow.FluctuationMeter(vectors=1, window=STEPS)
    curvature = jnp.array([2 * 0.5 / response])
    still = followed(tx, meter, curvature, response)[0].reading[0]
    moved = followed(tx, meter, curvature, response, drift=0.01)[0].reading[0]
    np.testing.assert_allclose(moved, still, atol=1e-3)


@functools.cache
def layers(steps=12_000):
    """SGD on a random convex quadratic of two layers, with a meter on all and one on the first."""
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    hessian = basis @ np.diag([1.6, *np.geomspace(0.3, 0.02, 7)]) @ basis.T
    root = jnp.asarray(np.linalg.cholesky(hessian), jnp.float32)
    matrix = jnp.asarray(hessian, jnp.float32)
    meter = rodflow.FluctuationMeter(vectors=1, window=steps)

    def split(vector):
        return {"first": vector[:3], "second": vector[3:].reshape(5, 1)}

    @jax.jit
    def train(noise):
        def step(carry, n):
            w, whole, alone = carry
            g = matrix @ w + root @ n
            parts, ones = split(g), split(jnp.ones(8))
            whole = meter.update(whole, parts, split(-g), ones)
            alone = meter.update(alone, parts["first"], -parts["first"], ones["first"])
            return (w - g, whole, alone), None

        start = jnp.zeros(8), meter.init(split(jnp.zeros(8))), meter.init(jnp.zeros(3))
        return jax.lax.scan(step, start, noise)[0][1:]

    whole, alone = train(jax.random.normal(jax.random.key(1), (steps, 8)))
    return hessian, basis[:, 0], meter, whole, alone


def test_parts_are_those_of_the_leading_mode_and_below_those_of_the_hessian():
    hessian, mode, meter, state, _ = layers()
    parts = meter.parts(state)
    assert list(parts) == ["first", "second"]
    exact = {"first": 0.8 * np.sum(mode[:3] ** 2), "second": 0.8 * np.sum(mode[3:] ** 2)}
    blocks = {"first": hessian[:3, :3], "second": hessian[3:, 3:]}
    for name, part in parts.items():
        np.testing.assert_allclose(part, exact[name], atol=0.04)
        assert exact[name] < np.linalg.eigvalsh(blocks[name])[-1] / 2
    np.testing.assert_allclose(sum(parts.values()), state.reading[0], rtol=1e-5)
    one = meter.parts(state, lambda path: "all")
    np.testing.assert_allclose(one["all"], state.reading[0], rtol=1e-5)


def test_a_meter_on_one_layer_alone_reads_the_mode_that_moves_all():
    hessian, _, _, _, alone = layers()
    held = np.linalg.eigvalsh(hessian[:3, :3])[-1] / 2  # the first layer with the second held
    np.testing.assert_allclose(alone.reading[0], 0.8, atol=0.05)
    assert held < 0.7


def test_parts_are_nan_before_the_first_renewal_and_must_be_of_a_kind():
    meter = rodflow.FluctuationMeter()
    state = meter.init({"a": jnp.zeros(3)})
    assert np.isnan(meter.parts(state)["a"])
    with pytest.raises(ValueError, match="`by` is 'layer'; it must be"):
        meter.parts(state, "layer")


def test_a_tree_of_bf16_parameters_reads_what_one_vector_does():
    meter = rodflow.FluctuationMeter()
    params = {"w": jnp.zeros((2, 3), jnp.bfloat16), "b": jnp.zeros((), jnp.bfloat16)}
    state = meter.init(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {
        jnp.dtype("float32"),
        jnp.dtype("int32"),
    }
    ones = jax.tree.map(lambda p: jnp.ones(p.shape), params)
    flat = meter.init(jnp.zeros(7))
    flat = flat._replace(
        directions=jnp.concatenate(
            [state.directions["b"][:, None], state.directions["w"].reshape(2, 6)], 1
        )
    )
    rng = np.random.default_rng(0)
    update = jax.jit(meter.update)
    for _ in range(60):
        vector = jnp.asarray(rng.normal(size=7), jnp.bfloat16)
        grads = {"b": vector[0], "w": vector[1:].reshape(2, 3)}
        state = update(state, grads, jax.tree.map(jnp.negative, grads), ones)
        flat = update(flat, vector, -vector, jnp.ones(7))
    np.testing.assert_allclose(state.reading, flat.reading, rtol=1e-3)
    assert update._cache_size() == 2


def test_a_chain_without_response_has_no_reading():
    meter = rodflow.FluctuationMeter(renewal=2)
    state = meter.init(jnp.zeros(3))
    for _ in range(4):
        state = meter.update(state, jnp.ones(3), -jnp.ones(3), jnp.zeros(3))
    assert np.all(np.isnan(state.reading))


@pytest.mark.parametrize("name", ["vectors", "memory", "window", "renewal"])
def test_a_count_below_one_is_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` is 0; it must be at least 1."):
        rodflow.FluctuationMeter(**{name: 0})


def read_exactly(sharpness, momentum, memory=5):
    """The reading of one mode with EMA momentum, by quadrature over the spectrum of its noise."""
    curvature = 2 * sharpness * (1 + momentum) / (1 - momentum)  # at learning rate 1
    z = np.exp(1j * np.pi * (np.arange(100_000) + 0.5) / 100_000)
    chain = (1 - momentum) / (1 - momentum / z)
    position = -chain / (z - 1 + curvature * chain)
    off = (1 - 1 / z) / (1 - (1 - 1 / memory) / z)
    last = off * (z - 1) * position / z
    gradient = off * (curvature * position + 1)
    slope = np.mean((gradient * np.conj(last)).real) / np.mean(np.abs(last) ** 2)
    return slope * (1 - momentum) / (1 + momentum)


@pytest.mark.parametrize(
    ("row", "momentum"), [("SGD", 0.0), ("EMA momentum .5", 0.5), ("EMA momentum .9", 0.9)]
)
def test_the_bias_of_the_short_memory_is_as_documented(row, momentum):
    page = (Path(__file__).parents[2] / "docs" / "theory" / "meters.md").read_text()

    def numbers(name):
        line = next(x for x in page.splitlines() if x.startswith(f"| {name} |"))
        return [float(x) for x in line.split("|")[2:-1]]

    found = [read_exactly(true, momentum) for true in numbers("true value")]
    np.testing.assert_allclose(numbers(row), found, atol=6e-4)
