import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import rodflow
from rodflow import CovarianceRod, Iteration, RodFlow

pytestmark = pytest.mark.usefixtures("x64")

LEARNING_RATE = 0.1


def dense_increment(g, zbar, sigma):
    """Return the field of the published rod flow with a dense Sigma, the low-rank one's oracle.

    It is (d zbar/dt, d Sigma/dt) of the map with increment `g`, without the BEA term; phase space
    is a flat vector, sampled at rank one, delta = sqrt(lambda_1) u_1.
    """
    values, vectors = jnp.linalg.eigh(sigma)
    delta = jnp.sqrt(jnp.maximum(values[-1], 0)) * vectors[:, -1]
    plus, minus = g(zbar + delta), g(zbar - delta)
    source = (jnp.outer(plus, plus) + jnp.outer(minus, minus)) / 4
    return (plus + minus) / 2, source - 2 * sigma


def dense_solve(g, zbar, sigma, steps, h):
    """Take Euler steps of size `h` of the field above."""

    def step(y, _):
        dz, ds = dense_increment(g, *y)
        y = y[0] + h * dz, y[1] + h * ds
        return y, y

    return jax.lax.scan(step, (zbar, sigma), length=steps)[1]


def sigma_of(y):
    basis = jnp.stack(
        [
            ravel_pytree(jax.tree.map(lambda x, k=k: x[k], y.basis))[0]
            for k in range(len(y.covariance))
        ]
    )
    return basis.T @ y.covariance @ basis


def with_rod(y, basis, covariance):
    return y._replace(
        basis=jax.tree.map(lambda _: jnp.asarray(basis), y.basis),
        covariance=jnp.asarray(covariance),
    )


def without_look_back(flow, iteration):
    """Return the term of the published equations, which have no look-back (BEA) term."""
    return diffrax.ODETerm(lambda t, y, args: flow.increment(iteration, y))


def test_only_the_centre_looks_back():
    """d zbar/dt = A - (dA/dzbar) A / 2 and d Sigma/dt without correction, as published."""
    iteration = Iteration(lambda w: jnp.sum(jnp.array([3.0, 5.0]) * jnp.cos(w)), optax.sgd(0.01))
    flow = RodFlow(CovarianceRod())
    y = flow.init(iteration, iteration.init(jnp.array([0.5, 1.0])))
    field = eqx.filter_jit(flow.increment)(iteration, y)
    found = eqx.filter_jit(flow.term(iteration).vf)(0.0, y, None)
    np.testing.assert_array_equal(found.covariance, field.covariance)
    np.testing.assert_array_equal(found.basis.params, field.basis.params)

    def centre(w):
        return flow.increment(iteration, y._replace(zbar=y.zbar._replace(params=w))).zbar.params

    w, drift = y.zbar.params, field.zbar.params
    _, bent = jax.jit(lambda w, v: jax.jvp(centre, (w,), (v,)))(w, drift)
    np.testing.assert_allclose(found.zbar.params, drift - bent / 2, rtol=1e-3)


def test_an_oscillation_that_decays_keeps_its_sign():
    """Sigma falls by exp(-2) a step, of which two steps of the midpoint rule keep a quarter."""
    flow = RodFlow(CovarianceRod(2))
    iteration = Iteration(lambda w: w @ w / 2, optax.sgd(1e-8))
    y = flow.init(iteration, iteration.init(jnp.array([1.0, 2.0])))
    y = y._replace(covariance=jnp.diag(jnp.array([1.0, 2.0])))
    integrator = flow.integrator
    ends = diffrax.diffeqsolve(
        flow.term(iteration),
        integrator.solver,
        0.0,
        3.0,
        integrator.dt0,
        y,
        saveat=diffrax.SaveAt(ts=jnp.array([0.5, 1.0, 2.0, 3.0])),
    ).ys
    for covariance, kept in zip(ends.covariance, [1 / 2, 1 / 4, 1 / 16, 1 / 64], strict=True):
        np.testing.assert_allclose(np.linalg.eigvalsh(covariance), [kept, 2 * kept], rtol=1e-6)


def test_variance_on_a_quadratic():
    """d Sigma/dt = (lr^2 S^2 / 2 - 2) Sigma at zbar = 0: it grows iff S > 2 / lr."""
    for sharpness in (0.5 / LEARNING_RATE, 2 / LEARNING_RATE, 2.5 / LEARNING_RATE):
        iteration = Iteration(lambda w, s=sharpness: 0.5 * s * w @ w, optax.sgd(LEARNING_RATE))
        flow = RodFlow(CovarianceRod(rank=1))
        y = with_rod(flow.init(iteration, iteration.init(jnp.zeros(1))), [[1.0]], [[0.3]])
        rate = (LEARNING_RATE * sharpness) ** 2 / 2 - 2
        change = flow.increment(iteration, y)
        np.testing.assert_allclose(change.covariance, [[rate * 0.3]], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(change.zbar.params, [0.0], atol=1e-15)


def test_fixed_point_on_a_quartic():
    """Sigma* = (S - 2/lr) / Q on L = S w^2/2 - Q w^4/4."""
    s, q = 2.2 / LEARNING_RATE, 5.0
    iteration = Iteration(lambda w: jnp.sum(s * w**2 / 2 - q * w**4 / 4), optax.sgd(LEARNING_RATE))
    flow = RodFlow(CovarianceRod(rank=1))
    y0 = with_rod(flow.init(iteration, iteration.init(jnp.zeros(1))), [[1.0]], [[0.01]])
    term = without_look_back(flow, iteration)
    solution = diffrax.diffeqsolve(term, diffrax.Tsit5(), 0.0, 200.0, 0.1, y0, max_steps=10_000)
    expected = (s - 2 / LEARNING_RATE) / q
    np.testing.assert_allclose(solution.ys.covariance[-1], [[expected]], rtol=1e-6)
    assert flow.extent(jax.tree.map(lambda x: x[-1], solution.ys)) == pytest.approx(expected**0.5)


def valley(w):
    """Two parameters, one of them sharp: its curvature grows along the other."""
    return 0.5 * (18.0 + 2 * w[1]) * w[0] ** 2 + 0.02 * jnp.sin(w[1]) - 4 * w[0] ** 4 - w[1] / 30


@pytest.mark.parametrize("tx", [optax.sgd(LEARNING_RATE), optax.sgd(0.05, momentum=0.3)])
def test_full_rank_is_the_dense_equation(tx):
    """With as many columns as dimensions nothing is projected: only the sampling points differ."""
    iteration = Iteration(valley, tx)
    state = iteration.init(jnp.array([0.2, 0.5]))
    size = sum(x.size for x in jax.tree.leaves(state))
    flow = RodFlow(CovarianceRod(rank=size))
    y = eqx.filter_jit(flow.init)(iteration, state)
    sigma = sigma_of(y)
    # At the start Sigma has rank one, but the cubature spreads it; so compare the equation itself.
    change = eqx.filter_jit(flow.increment)(iteration, y)
    offsets = jax.vmap(lambda *x: ravel_pytree(x)[0])(*jax.tree.leaves(flow.closure.offsets(y)))
    np.testing.assert_allclose(offsets.T @ offsets / size, sigma, atol=1e-12)
    flat, unravel = ravel_pytree(state)

    def g(z):
        return ravel_pytree(iteration.increment(unravel(z)))[0]

    ends = [g(flat + sign * d) for d in offsets for sign in (1, -1)]
    # sum_k (G+ G+' + G- G-') / 4 with odd parts over sqrt(r) and the even part averaged.
    even = sum(ends) / len(ends)
    odd = [(p - m) / 2 / size**0.5 for p, m in zip(ends[::2], ends[1::2], strict=True)]
    expected = (np.outer(even, even) + sum(np.outer(b, b) for b in odd)) / 2 - 2 * sigma
    step = 1e-6
    ahead = jax.tree.map(lambda a, b: a + step * b, y, change)
    floor = 2 * 1e-6 * np.dot(even, even)  # kappa^2 |A|^2, the most the floor can add
    np.testing.assert_allclose(
        (sigma_of(ahead) - sigma) / step, expected, atol=1e-4 * np.abs(expected).max() + 10 * floor
    )


def test_rank_one_against_dense_sigma():
    """While one direction dominates, the projection loses next to nothing."""
    iteration = Iteration(valley, optax.sgd(LEARNING_RATE))
    state = iteration.init(jnp.array([0.0, 1.4]))
    flow = RodFlow(CovarianceRod(rank=1))
    y = flow.init(iteration, state)
    y = y._replace(
        basis=y.basis._replace(params=jnp.array([[1.0, 0.0]])), covariance=jnp.array([[1e-3]])
    )
    h, steps = 0.05, 800

    def g(z):
        return iteration.increment(rodflow.PhaseState(z, state.opt_state)).params

    centers, sigmas = dense_solve(g, state.params, sigma_of(y), steps, h)
    term = without_look_back(flow, iteration)
    low = diffrax.diffeqsolve(term, diffrax.Euler(), 0.0, h * steps, h, y, max_steps=steps + 1).ys
    low = jax.tree.map(lambda x: x[-1], low)
    assert jnp.max(sigmas[-1]) > 0.01  # the rod has grown to where the landscape holds it
    np.testing.assert_allclose(low.zbar.params, centers[-1], atol=1e-3)
    np.testing.assert_allclose(sigma_of(low), sigmas[-1], atol=0.02 * float(jnp.max(sigmas[-1])))


@pytest.mark.parametrize(
    ("rank", "tx"),
    [
        (4, optax.adam(1 / 64)),
        pytest.param(8, optax.sgd(1 / 16), marks=pytest.mark.slow),
        pytest.param(8, optax.nadam(1 / 64), marks=pytest.mark.slow),
    ],
)
def test_any_rank_stays_finite_in_float32(rank, tx, network_loss, params):
    """The projection's inverse is regularised: columns that decay do no harm."""
    with jax.enable_x64(False):
        start = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), jnp.float32), params)
        tracking = rodflow.track(
            network_loss,
            tx,
            start,
            num_steps=100,
            every=100,
            warmup=5,
            flows={"rod": RodFlow(CovarianceRod(rank=rank))},
        )
        assert np.isfinite(tracking.flows["rod"].distance).all()
        assert tracking.flows["rod"].gradients[0] == 4 * 2 * rank


def test_momentum_is_measured_in_units_of_the_parameters():
    """Rescaling the momentum of the optimizer does not change the rod of the parameters."""
    ends = []
    for scale in (1.0, 1e4):
        tx = optax.chain(optax.scale(scale), optax.trace(0.5), optax.scale(-0.05 / scale))
        iteration = Iteration(valley, tx)
        state = iteration.step(iteration.init(jnp.array([0.2, 0.5])))
        flow = RodFlow(CovarianceRod(rank=1))
        term, y0 = without_look_back(flow, iteration), flow.init(iteration, state)
        y = diffrax.diffeqsolve(term, diffrax.Heun(), 0.0, 20.0, 0.1, y0).ys
        ends.append(flow.extent(jax.tree.map(lambda x: x[-1], y)))
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-6)


@pytest.mark.parametrize("rank", [0, 3])
def test_impossible_ranks_are_refused(rank):
    iteration = Iteration(valley, optax.sgd(LEARNING_RATE))
    with pytest.raises(ValueError, match=rf"`rank` is {rank}"):
        flow = RodFlow(CovarianceRod(rank=rank))
        flow.init(iteration, iteration.init(jnp.array([0.0, 1.0])))
