"""The edge of published filters, and of networks along a run, against dense eigenvalues."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.sparse.linalg
from jax.flatten_util import ravel_pytree

import rodflow
from tests.chains import PARTS, START, averages, hessian, quasi_hyperbolic


def one_mode(tx, curvature=1.0, params=1.0):
    loss = lambda w: curvature * jnp.sum(w**2) / 2  # noqa: E731
    params = jnp.asarray(params)
    return rodflow.edge(loss, tx, (params, tx.init(params)))


# Lee & Lee 2026, arXiv 2608.18415: critical curvature at rate 1, and frequency over pi.
PUBLISHED = {
    "averages .4 .7": (averages(0.4, 0.7), 2.5714, 0.263),
    "averages .7 .85": (averages(0.7, 0.85), 0.6807, 0.088),
    "quasi-hyperbolic": (quasi_hyperbolic(0.9, 0.7), 5.9375, 1.0),
    "heavy ball": (rodflow.heavy_ball(1.0, b1=0.9), 38.0, 1.0),
    "nesterov, as in nadam": (rodflow.nesterov(1.0, b1=0.9), 13.571, 1.0),
    "nesterov trace": (optax.sgd(1.0, momentum=0.9, nesterov=True), 1.3571, 1.0),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_edges(name, x64):
    tx, curvature, frequency = PUBLISHED[name]
    edge = one_mode(tx)
    digit = 10.0 ** -len(str(curvature).partition(".")[2])
    assert 1 / edge.sharpness[0] == pytest.approx(curvature, abs=digit)
    assert edge.scale == pytest.approx(float(1 / edge.sharpness[0]), rel=1e-9)
    assert 2 / edge.period == pytest.approx(frequency, abs=5e-4)


def test_filters_that_differ_and_rotate_have_no_edge_but_each_part_has(x64):
    rules = {"fast": averages(0.4, 0.7), "slow": optax.sgd(1.0)}
    tx, matrix = optax.partition(rules, PARTS), hessian()
    loss = lambda p: ravel_pytree(p)[0] @ matrix @ ravel_pytree(p)[0] / 2  # noqa: E731
    params = jax.tree.map(jnp.asarray, START)
    state = (params, tx.init(params))
    assert np.isnan(rodflow.edge(loss, tx, state).sharpness[0])
    parts = rodflow.edge(loss, tx, state, by="leaf")
    tops = [np.linalg.eigvalsh(block)[-1] for block in (matrix[:3, :3], matrix[3:, 3:])]
    assert parts["a"].sharpness[0] == pytest.approx(tops[0] / (18 / 7), rel=1e-9)
    assert parts["b"].sharpness[0] == pytest.approx(tops[1] / 2, rel=1e-9)
    assert parts["a"].period == pytest.approx(7.616, rel=1e-3)
    assert parts["b"].period == 2
    numbers = rodflow.effective_sharpness(loss, tx, state, by=lambda path: path[0].key)
    np.testing.assert_allclose(numbers["a"], parts["a"].sharpness, rtol=1e-9)


@pytest.mark.parametrize("tx", [optax.lion(0.1), optax.sgd(-0.1), averages(0.5, rate=-1.0)])
def test_what_has_no_edge_is_not_a_number(tx):
    edge = one_mode(tx, params=np.ones(3, np.float32))
    assert np.isnan(edge.sharpness[0])
    assert np.isnan(edge.scale)
    assert np.isnan(edge.period)


def test_a_learning_rate_in_the_state_is_brought_to_the_edge():
    edge = one_mode(optax.inject_hyperparams(optax.sgd)(0.25), curvature=6.0)
    np.testing.assert_allclose(edge.learning_rate, 2 / 6, rtol=1e-6)
    assert one_mode(optax.sgd(0.25)).learning_rate is None


def test_parts_are_refused_by_name():
    params = {"a": jnp.ones(3), "b": jnp.ones(1)}
    loss, tx = (lambda p: jnp.sum(p["a"] ** 2) + jnp.sum(p["b"] ** 2)), optax.sgd(0.1)
    state = (params, tx.init(params))
    with pytest.raises(ValueError, match="part 'b', 1"):
        rodflow.edge(loss, tx, state, k=2, by="leaf")
    with pytest.raises(ValueError, match="`by` is 'layer'"):
        rodflow.effective_sharpness(loss, tx, state, by="layer")


def network(sizes=(10, 12, 12), samples=100):
    """A regression with hidden layers of tanh, and its parameters."""
    random = np.random.default_rng(0)
    x = random.normal(size=(samples, sizes[0]))
    y = np.sin(1.5 * x[:, :3].sum(1)) + x[:, 3] * x[:, 4]
    shapes = [*itertools.pairwise(sizes), sizes[-1:]]
    params = [jnp.asarray(random.normal(size=shape) / shape[0] ** 0.5) for shape in shapes]

    def loss(params):
        hidden = jnp.asarray(x)
        for weight in params[:-1]:
            hidden = jnp.tanh(hidden @ weight)
        return jnp.mean((hidden @ params[-1] - y) ** 2)

    return loss, params


def counted(loss):
    """Return the same loss, and a list with an entry for each Hessian-vector product that ran."""
    products = []
    gradient, value = jax.custom_jvp(jax.grad(loss)), jax.custom_jvp(loss)

    @gradient.defjvp
    def _(primals, tangents):
        jax.debug.callback(lambda _: products.append(1), tangents[0][-1])
        return jax.jvp(jax.grad(loss), primals, tangents)

    @value.defjvp
    def _(primals, tangents):
        each = jax.tree.map(jnp.vdot, gradient(*primals), tangents[0])
        return value(*primals), jax.tree.reduce(jnp.add, each)

    return value, products


def adam_run(loss, tx, steps):
    def step(state, _):
        params, memory = state
        updates, memory = tx.update(jax.grad(loss)(params), memory, params)
        return (optax.apply_updates(params, updates), memory), None

    return jax.jit(lambda state: jax.lax.scan(step, state, length=steps)[0])


def root_response(memory, rate):
    """Return diag(r)^1/2 of Adam, by hand."""
    corrected = [1 - b**memory.count for b in (0.9, 0.999)]
    nu = ravel_pytree(memory.nu)[0] / corrected[1]
    return jnp.sqrt(rate / corrected[0] * (0.1 / 1.9) / (jnp.sqrt(nu) + 1e-8))


def test_a_run_is_followed_from_the_last_vectors_with_an_honest_error(x64):
    """Adam in its first hundreds of steps, against dense eigenvalues."""
    plain, params = network()
    loss, products = counted(plain)
    tx = optax.adam(0.01)
    state, run = (params, tx.init(params)), adam_run(plain, tx, 10)

    @jax.jit
    def dense(state):
        flat, unravel = ravel_pytree(state[0])
        root = root_response(state[1][0], 0.01)
        hessian = jax.hessian(lambda w: plain(unravel(w)))(flat)
        return jnp.linalg.eigvalsh(root[:, None] * hessian * root)[-1] / 2

    edge, counts = None, []
    for call in range(20):
        state = run(state)
        edge = rodflow.edge(loss, tx, state, start=edge)
        jax.effects_barrier()
        counts.append(len(products) - sum(counts))
        exact = float(dense(state))
        off = abs(float(edge.sharpness[0]) - exact)
        assert off <= (1e-6 if call == 0 else 0.04) * exact
        assert off <= 3 * float(edge.error[0]) + 1e-9
    assert counts == [30] + 19 * [3]


@pytest.mark.slow
def test_a_hundred_thousand_parameters_against_arpack(x64):
    loss, params = network((20, 300, 300), samples=64)
    tx = optax.adam(0.001)
    state = adam_run(loss, tx, 5)((params, tx.init(params)))
    flat, unravel = ravel_pytree(state[0])
    root = root_response(state[1][0], 0.001)

    @jax.jit
    def product(v):
        return root * jax.jvp(jax.grad(lambda w: loss(unravel(w))), (flat,), (root * v,))[1]

    operator = scipy.sparse.linalg.LinearOperator((flat.size,) * 2, product, dtype=float)
    exact = scipy.sparse.linalg.eigsh(operator, 3, which="LA", return_eigenvectors=False)[::-1] / 2
    edge = rodflow.edge(loss, tx, state, k=3)
    assert flat.size > 9e4
    np.testing.assert_allclose(edge.sharpness[0], exact[0], rtol=1e-6)
    assert np.all(np.abs(edge.sharpness - exact) <= 3 * edge.error + 1e-9)


@pytest.mark.parametrize("power", [1, 3])
def test_the_errors_of_later_modes_of_a_dense_spectrum_are_flagged(power, x64):
    spectrum = jnp.linspace(0, 1, 1000) ** power
    loss, tx, params = (lambda w: jnp.sum(spectrum * w**2) / 2), optax.sgd(1.0), jnp.ones(1000)
    edge = rodflow.edge(loss, tx, (params, tx.init(params)), k=5)
    off = np.abs(edge.sharpness - spectrum[::-1][:5] / 2)
    assert off[-1] > 0.01 * edge.sharpness[-1]
    assert np.all(off <= edge.error)
