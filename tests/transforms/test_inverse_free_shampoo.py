"""Inverse-free Shampoo against NumPy, its fixed point, its arithmetic, and what it remembers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr

import rodflow
from rodflow import Parity
from rodflow.transforms import if_shampoo, scale_by_if_shampoo

B = 8
SHAPES = [(3, 2), (2, 3, 4), (3,), ()]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def gradients(shape, num_steps=6, seed=0):
    return np.random.default_rng(seed).normal(size=(num_steps, *shape))


def numpy_factors(grads, c, a, damping, interval=1):
    """The equations as they stand, with Kronecker products and for any number of axes."""
    sizes = grads.shape[1:] or (1,)
    factors = [np.eye(n) for n in sizes]
    momenta = [np.zeros((n, n)) for n in sizes]
    for t, g in enumerate(grads.reshape(len(grads), *sizes)):
        if t % interval:
            continue
        tangents = []
        for axis, (n, factor) in enumerate(zip(sizes, factors, strict=True)):
            others = np.ones((1, 1))
            for k in factors[:axis] + factors[axis + 1 :]:
                others = np.kron(others, k @ k.T)
            rows = np.moveaxis(g, axis, 0).reshape(n, -1)
            count = rows.shape[1]
            moment = B / count * factor.T @ rows @ others @ rows.T @ factor
            damped = damping * np.trace(others) / count * factor.T @ factor
            tangents.append((moment + damped - np.eye(n)) / 2)
        momenta = [a * m + (1 - a) * t for m, t in zip(momenta, tangents, strict=True)]
        factors = [
            k - c * k @ m / max(1, np.linalg.norm(m)) for k, m in zip(factors, momenta, strict=True)
        ]
    return factors


def run(tx, grads):
    """The updates and the state at the end."""
    state, updates = tx.init(jnp.asarray(grads[0])), jnp.zeros(())
    update = jax.jit(tx.update)
    for g in grads:
        updates, state = update(jnp.asarray(g), state, jnp.asarray(g))
    return updates, state


@pytest.mark.parametrize("interval", [1, 3])
@each_shape
def test_numpy(shape, interval):
    grads = gradients(shape)
    with jax.enable_x64(True):
        tx = scale_by_if_shampoo(B, 0.3, 0.6, 0.1, interval)
        updates, state = jax.tree.map(np.asarray, run(tx, grads))
    factors = numpy_factors(grads, 0.3, 0.6, 0.1, interval)
    inverse = np.ones((1, 1))
    for found, expected in zip(state.factors, factors, strict=True):
        np.testing.assert_allclose(found.matrix, expected, rtol=1e-10, atol=1e-12)
        inverse = np.kron(inverse, expected @ expected.T)
    np.testing.assert_allclose(updates.ravel(), inverse @ grads[-1].ravel(), rtol=1e-10, atol=1e-12)


def test_the_alias_has_momentum_and_decay():
    grads = gradients((3, 2))
    lr, momentum, decay = 0.1, 0.7, 0.01
    with jax.enable_x64(True):
        tx = if_shampoo(lr, B, momentum, decay, factor_learning_rate=0.3, update_interval=2)
        updates, _ = run(tx, grads)
        inner = scale_by_if_shampoo(B, factor_learning_rate=0.3, update_interval=2)
        state, buf = inner.init(jnp.asarray(grads[0])), 0.0
        for g in grads:
            direction, state = inner.update(jnp.asarray(g), state)
            buf = momentum * buf + np.asarray(direction) + decay * g
    np.testing.assert_allclose(updates, -lr * buf, rtol=1e-10)


def covariance(n, seed):
    root = np.random.default_rng(seed).normal(size=(n, n))
    return root @ root.T / n + np.eye(n) / 2


def test_factors_find_the_inverse_covariance():
    """For independent G of covariance A (x) B / batch: mean CC' (x) KK' = (A (x) B)^-1."""
    rows, columns = covariance(3, 0), covariance(2, 1)
    left, right = (jnp.asarray(np.linalg.cholesky(s), jnp.float32) for s in (rows, columns))
    tx = scale_by_if_shampoo(B, damping=0.0)

    def step(state, key):
        g = left @ jax.random.normal(key, (3, 2)) @ right.T / B**0.5
        _, state = tx.update(g, state)
        c, k = (factor.matrix for factor in state.factors)
        return state, jnp.kron(c @ c.T, k @ k.T)

    keys = jax.random.split(jax.random.key(0), 20_000)
    _, seen = jax.jit(lambda s: jax.lax.scan(step, s, keys))(tx.init(jnp.zeros((3, 2))))
    truth = np.linalg.inv(np.kron(rows, columns))
    error = np.linalg.norm(seen[4000:].mean(0) - truth) / np.linalg.norm(truth)
    assert error < 0.03  # 20 000 correlated samples: 1 % are seen
    assert np.linalg.norm(np.eye(6) - truth) / np.linalg.norm(truth) > 0.5


def test_diagonal_factors_find_the_inverse_variances():
    """On axes longer than `max_size`; they stay in a group, hence the same fixed point."""
    scales = jnp.array([0.5, 1.0, 2.0])[:, None] * jnp.array([1.0, 3.0])
    tx = scale_by_if_shampoo(1, damping=0.0, max_size=1)

    def step(state, key):
        _, state = tx.update(scales * jax.random.normal(key, (3, 2)), state)
        c, k = (factor.matrix for factor in state.factors)
        return state, jnp.outer(c, k) ** 2

    keys = jax.random.split(jax.random.key(0), 20_000)
    _, seen = jax.jit(lambda s: jax.lax.scan(step, s, keys))(tx.init(scales))
    np.testing.assert_allclose(seen[4000:].mean(0), scales**-2.0, rtol=0.1)


@each_shape
def test_a_diagonal_factor_is_the_matrix_where_all_is_diagonal(shape):
    """With a single entry that is not zero, A is diagonal and both kinds of factor agree."""
    grads = np.zeros((6, *shape))
    grads[(slice(None), *[-1] * len(shape))] = np.cos(np.arange(6.0))
    with jax.enable_x64(True):
        (dense, full), (diagonal, vectors) = jax.tree.map(
            np.asarray, [run(scale_by_if_shampoo(B, 0.3, max_size=size), grads) for size in (10, 1)]
        )
    np.testing.assert_allclose(diagonal, dense, rtol=1e-12)
    for (matrix, *_), (vector, *_) in zip(full.factors, vectors.factors, strict=True):
        np.testing.assert_allclose(np.diag(np.reshape(matrix, (len(matrix), -1))), vector.ravel())


def test_memory_is_that_of_the_factors():
    params = {"w": jnp.zeros((5, 1, 2, 9)), "b": jnp.zeros(7), "s": jnp.zeros(())}
    wanted = {
        "w": ((5, 5), (2, 2), (9,)),  # an axis of length 1 has none, a long one its diagonal
        "b": ((7, 7),),
        "s": ((1, 1),),
    }
    for dtype, leaves in ((jnp.float32, 2), (jnp.bfloat16, 3)):  # narrow ones have a remainder
        factors = scale_by_if_shampoo(B, max_size=7, factor_dtype=dtype).init(params).factors
        shapes = jax.tree.map(lambda k: k.shape, factors)
        for name, shapes in wanted.items():
            found = [leaf.shape for leaf in jax.tree.leaves(factors[name])]
            assert found == [shape for shape in shapes for _ in range(leaves)]


def equations(jaxpr):
    """Every equation of a program, those of its parts included."""
    for equation in jaxpr.eqns:
        yield equation
        for parameter in jax.tree.leaves(
            equation.params, is_leaf=lambda x: isinstance(x, (Jaxpr, ClosedJaxpr))
        ):
            if isinstance(parameter, (Jaxpr, ClosedJaxpr)):
                yield from equations(getattr(parameter, "jaxpr", parameter))


def test_matrix_products_in_bfloat16_are_all_there_is():
    """No inverse, root or decomposition of a matrix, and no array in a wider type."""
    params = {"w": jnp.ones((4, 3), jnp.bfloat16), "t": jnp.ones((2, 3, 9), jnp.bfloat16)}
    tx = if_shampoo(1e-3, B, max_size=4)
    state = tx.init(params)
    program = jax.make_jaxpr(tx.update)(params, state, params)
    arithmetic = {"add", "add_any", "sub", "mul", "neg", "dot_general", "integer_pow"}
    layout = {"reshape", "transpose", "broadcast_in_dim", "squeeze", "convert_element_type"}
    rounding = {"reduce_precision"}
    identity = {"iota", "eq", "select_n"}
    seen = set()
    for equation in equations(program.jaxpr):
        seen.add(equation.primitive.name)
        for out in equation.outvars:
            if out.aval.shape and jnp.issubdtype(out.aval.dtype, jnp.floating):
                assert out.aval.dtype == jnp.bfloat16
                assert equation.primitive.name in arithmetic | layout | identity | rounding | {
                    "pjit",
                    "jit",
                    "cond",
                    "div",
                }
    assert "dot_general" in seen
    assert "sqrt" in seen  # of a scalar, the norm in max(1, ||m||_F)


def test_steps_below_the_rounding_of_bfloat16_are_not_lost():
    """c = 0.001 is an eighth of the distance from 1 to the next bfloat16."""
    grads = 0.1 * gradients((4, 3), num_steps=400).astype("float32")

    def after_all(dtype):
        tx = scale_by_if_shampoo(B, factor_learning_rate=1e-3, factor_dtype=dtype)
        updates, state = run(tx, grads)
        return updates, [np.asarray(factor.matrix, "float32") for factor in state.factors]

    (narrow, narrow_factors), (wide, wide_factors) = after_all(jnp.bfloat16), after_all(None)
    np.testing.assert_allclose(narrow, wide, atol=0.03 * np.max(np.abs(wide)))
    for found, expected in zip(narrow_factors, wide_factors, strict=True):
        np.testing.assert_allclose(found, expected, atol=0.01)
        assert np.max(np.abs(expected - np.eye(len(expected)))) > 0.1


def test_factors_have_the_dtype_asked_for():
    params = jnp.ones((2, 2), jnp.bfloat16)
    updates, state = run(scale_by_if_shampoo(B, factor_dtype=jnp.float32), [params])
    assert updates.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(state.factors)} == {jnp.dtype("float32")}


def test_a_tensor_without_elements_learns_nothing():
    tx = rodflow.if_shampoo(0.1, batch_size=2)
    params = jnp.zeros((0, 3))
    updates, state = tx.update(params, tx.init(params), params)
    assert updates.shape == (0, 3)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))


def test_parity():
    """Factors and their momenta are blind to the sign of the gradient, also if updated rarely."""
    params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
    for interval in (1, 10):
        iteration = rodflow.Iteration(
            lambda p: optax.tree.norm(p, squared=True),
            if_shampoo(1e-3, B, update_interval=interval),
        )
        (count, factors), _, direction, _ = iteration.parity(params).opt_state
        assert count is Parity.CLOCK
        assert set(jax.tree.leaves(factors)) == {Parity.AUXILIARY}
        assert set(jax.tree.leaves(direction)) == {Parity.OSCILLATING}


def test_between_the_steps_factors_are_updated_as_often():
    """A flow has its clock at fractions of a step: one in `update_interval` of them learns."""
    tx = scale_by_if_shampoo(B, update_interval=4)
    grads = jnp.ones((2, 2))
    state = tx.init(grads)
    learned = [
        np.any(tx.update(grads, state._replace(count=count))[1].factors[0].momentum)
        for count in jnp.arange(0.0, 8.0, 0.5)
    ]
    assert learned == [True, True, *[False] * 6] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, r"`batch_size` is 0; it must be at least 1"),
        ({"update_interval": 0}, r"`update_interval` is 0; it must be at least 1"),
        ({"max_size": 0}, r"`max_size` is 0; it must be at least 1"),
        ({"factor_dtype": jnp.int32}, r"would be .*int32.*takes real floats"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        scale_by_if_shampoo(**({"batch_size": B} | arguments)).init(jnp.ones(2))


def test_shapes_depend_on_no_traced_number():
    inject = optax.inject_hyperparams(scale_by_if_shampoo)
    # The type checker that watches over the tests comes before the error itself.
    with pytest.raises((ValueError, TypeError), match="max_size"):
        inject(B).init(jnp.ones(2))
    state = optax.inject_hyperparams(scale_by_if_shampoo, "max_size")(B).init(jnp.ones(2))
    assert state.hyperparams["batch_size"] == B


def test_complex_parameters_are_refused():
    with pytest.raises(ValueError, match=r"would be complex64"):
        scale_by_if_shampoo(B).init(jnp.ones(2, jnp.complex64))


@pytest.mark.slow
def test_flows_follow_parameters_in_bfloat16():
    """A flow widens the parameters, but the factors keep the rounding errors of narrow ones."""
    params = {"w": jnp.array([[0.5, -0.25], [0.25, 1.0]], jnp.bfloat16)}
    tx = rodflow.if_shampoo(0.01, batch_size=4)
    tracking = rodflow.track(
        lambda p: jnp.sum(p["w"] ** 2), tx, params, num_steps=10, warmup=2, every=5
    )
    assert all(bool(flow.diverged_at[-1] < 0) for flow in tracking.flows.values())
    assert bool(tracking.improvement()["rod"] > 1)
