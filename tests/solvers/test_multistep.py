"""The linear recursion of the solver, read off its step, against the discrete Lyapunov equation."""

import functools
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.linalg import solve_discrete_lyapunov

import rodflow
from rodflow.solvers import AbstractNoisyField, NoisyTerm

pytestmark = pytest.mark.usefixtures("x64")


class Rod(NamedTuple):
    c: Any
    x: Any


class LinearField(AbstractNoisyField):
    """The rod of z -> M z + noise, whose noise is given rather than drawn."""

    matrix: Any
    noise: Any
    of_drift: Any
    variance: float = 0.0

    @property
    def drift_noise(self):
        return self.variance

    def sample(self, y, key):
        step = self.matrix - jnp.eye(len(self.matrix))
        drift = Rod(step @ y.c, -2 * y.x - step @ y.x)
        return jax.tree.map(jnp.add, drift, self.of_drift), self.noise


class Recursion(NamedTuple):
    """v -> step v + noise xi + of_drift n, where v begins with c and x."""

    step: np.ndarray
    noise: np.ndarray
    of_drift: np.ndarray


@functools.cache
def _linearized(substeps, size, variance):
    solver = rodflow.MultistepLookback(substeps)
    zero = Rod(jnp.zeros(size), jnp.zeros(size))
    term = NoisyTerm(LinearField(jnp.eye(size), zero, zero, variance), jax.random.key(0))
    memory = solver.init(term, 0.0, 1 / substeps, zero, None)
    flat, unravel = ravel_pytree((zero, memory.ahead))

    def moved(v, noise, of_drift, matrix):
        y, ahead = unravel(v)
        field = LinearField(
            matrix, Rod(*jnp.split(noise, 2)), Rod(*jnp.split(of_drift, 2)), variance
        )
        state = memory._replace(ahead=ahead, started=jnp.array(True))
        term = NoisyTerm(field, jax.random.key(0))
        y, _, _, state, _ = solver.step(term, 0.0, 1 / substeps, y, None, state, False)
        return ravel_pytree((y, state.ahead))[0]

    still = jnp.zeros(2 * size)
    return jax.jit(lambda m: jax.jacobian(moved, (0, 1, 2))(jnp.zeros_like(flat), still, still, m))


def recursion(matrix, substeps, variance=0.0):
    return Recursion(*map(np.asarray, _linearized(substeps, len(matrix), variance)(matrix)))


def law(matrix, covariance, substeps, drift_noise=0.0):
    """Return the stationary covariances of z = c + (-1)^t x at lags 0 and 1, and that of x."""
    step, noise, of_drift = recursion(matrix, substeps, drift_noise)
    d = len(matrix)
    both = np.kron(np.eye(2), covariance)
    unit = np.linalg.matrix_power(step, substeps)
    if drift_noise:  # the draws are held for a step of the map
        powers = sum(np.linalg.matrix_power(step, j) for j in range(substeps))
        inputs = [(powers @ noise, 1.0), (powers @ of_drift, drift_noise)]
        source = sum(v * g @ both @ g.T for g, v in inputs)
        stationary = solve_discrete_lyapunov(unit, source)
    else:
        stationary = solve_discrete_lyapunov(step, noise @ both @ noise.T)
    later = unit @ stationary
    c, x = slice(0, d), slice(d, 2 * d)
    return (
        stationary[c, c] + stationary[x, x],
        later[c, c] - later[x, x],
        stationary[x, x],
    )


def turning(size, angle):
    """A map of two dimensions whose multipliers are size exp(+- i angle)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return size * np.array([[cos, -sin], [sin, cos]])


def random_map(seed, radius):
    matrix = np.random.default_rng(seed).normal(size=(4, 4))
    return radius * matrix / np.abs(np.linalg.eigvals(matrix)).max()


def heavy_ball(b1, a):
    """(w, m) -> m' = b1 m + (1 - b1) w, w' = w - a m': `a` is lr times the curvature."""
    return np.array([[1 - a * (1 - b1), -a * b1], [1 - b1, b1]])


def nesterov(b1, a):
    """The same, but w' = w - a (b1 m' + (1 - b1) w)."""
    rate = b1 * (1 - b1) + 1 - b1
    return np.array([[1 - a * rate, -a * b1**2], [1 - b1, b1]])


def gradient_noise(b1, a, ahead=False):
    """The covariance of (w, m) for gradients of unit variance and unit curvature."""
    n = np.array([-a * (1 - b1) * (1 + b1 if ahead else 1), 1 - b1])
    return np.outer(n, n)


def exact(matrix, covariance):
    stationary = solve_discrete_lyapunov(matrix, covariance)
    return stationary, matrix @ stationary


MAPS = {
    **{f"random-{seed}": (random_map(seed, 0.99), np.eye(4)) for seed in range(4)},
    **{
        f"heavy ball {b1} {share}": (
            heavy_ball(b1, a := share * 2 * (1 + b1) / (1 - b1)),
            gradient_noise(b1, a),
        )
        for b1 in (0.0, 0.5, 0.9, 0.99)
        for share in (0.05, 0.5, 0.95)
    },
    **{
        f"nesterov {b1} {share}": (
            nesterov(b1, a := share * 2 * (1 + b1) / ((1 - b1) * (1 + 2 * b1))),
            gradient_noise(b1, a, ahead=True),
        )
        for b1 in (0.5, 0.9)
        for share in (0.05, 0.5, 0.95)
    },
}


@pytest.mark.parametrize("name", MAPS)
def test_the_split_map_has_the_law_of_the_iterates_exactly(name):
    matrix, covariance = MAPS[name]
    found, later, _ = law(matrix, covariance, 1)
    stationary, lagged = exact(matrix, covariance)
    scale = np.abs(stationary).max()
    np.testing.assert_allclose(found, stationary, atol=1e-9 * scale)
    np.testing.assert_allclose(later, lagged, atol=1e-9 * scale)


@pytest.mark.parametrize("noise", [1 / 4, 1 / 8])
def test_the_split_map_has_it_exactly_with_a_noisy_drift(noise):
    matrix, covariance = MAPS["random-0"]
    found, later, _ = law(matrix, covariance, 1, noise)
    stationary, lagged = exact(matrix, covariance)
    np.testing.assert_allclose(found, stationary, rtol=1e-8)
    np.testing.assert_allclose(later, lagged, rtol=1e-8)


ALL_ANGLES = [
    (size, angle) for size in (0.3, 0.7, 0.9, 0.97, 0.99) for angle in np.linspace(0, 1, 25)
]


def worst(substeps, drift_noise=0.0):
    """Return the largest errors over all modes of the variance and of the autocorrelation."""
    errors = []
    for size, angle in ALL_ANGLES:
        matrix = turning(size, np.pi * angle)
        found, later, _ = law(matrix, np.eye(2), substeps, drift_noise)
        variance = np.trace(found) / 2 * (1 - size**2)
        correlation = np.trace(later) / np.trace(found) - size * np.cos(np.pi * angle)
        errors.append((abs(variance - 1), abs(correlation)))
    return np.max(errors, axis=0)


@pytest.mark.parametrize(
    ("substeps", "noise", "variance", "correlation"),
    [
        (2, 0.0, 0.01, 0.006),
        (4, 0.0, 0.005, 0.003),
        (2, 1 / 4, 0.035, 0.02),
        (2, 1 / 8, 0.02, 0.01),
    ],
)
def test_the_solved_flow_has_the_variance_of_every_mode(substeps, noise, variance, correlation):
    """|mu| up to .99 at all angles, two and four steps for each of the map."""
    found = worst(substeps, noise)
    assert found[0] < variance and found[1] < correlation


@pytest.mark.parametrize("substeps", [2, 4])
@pytest.mark.parametrize("name", MAPS)
def test_the_solved_flow_has_the_law_of_the_iterates_to_a_few_percent(name, substeps):
    """Of each covariance in the coordinates in which that of the iterates is the identity."""
    matrix, covariance = MAPS[name]
    found, later, _ = law(matrix, covariance, substeps)
    stationary, lagged = exact(matrix, covariance)
    values, vectors = np.linalg.eigh(stationary)
    kept = values > 1e-12 * values.max()
    white = vectors[:, kept] / np.sqrt(values[kept])
    # For heavy ball without momentum m is g: no state of the flow, but a function of it.
    assert np.linalg.norm(white.T @ (found - stationary) @ white, 2) < 0.05
    assert np.linalg.norm(white.T @ (later - lagged) @ white, 2) < 0.05


@pytest.mark.parametrize("a", [0.1, 1.0, 1.5, 1.9, 1.95])
def test_the_variance_of_gradient_descent_and_that_of_the_usual_equation(a):
    """C / (a (2 - a)); the usual equation has C / (2 a), less by the factor 2 / (2 - a)."""
    matrix, covariance = np.array([[1 - a]]), np.ones((1, 1))
    for substeps, error in ((1, 1e-12), (2, 0.05), (4, 0.05)):
        found, _, _ = law(matrix, covariance, substeps)
        np.testing.assert_allclose(found[0, 0], 1 / (a * (2 - a)), rtol=error)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.6, 0.95])
@pytest.mark.parametrize("b1", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(("substeps", "error"), [(1, 1e-9), (2, 0.03)])
def test_the_share_that_alternates_is_the_effective_sharpness(b1, share, substeps, error):
    a = share * 2 * (1 + b1) / (1 - b1)
    found, _, x = law(heavy_ball(b1, a), gradient_noise(b1, a), substeps)
    np.testing.assert_allclose(x[0, 0] / found[0, 0], share, atol=error)


@pytest.mark.parametrize("substeps", [1, 2, 4])
def test_no_mode_is_amplified_that_the_map_does_not_amplify(substeps):
    angles = np.linspace(0, np.pi, 61)
    for size in (0.5, 0.9, 1.0):
        for angle in angles:
            step = recursion(turning(size, angle), substeps).step
            assert np.abs(np.linalg.eigvals(step)).max() <= 1 + 1e-6


@pytest.mark.parametrize("substeps", [1, 2, 4])
@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_second_moments_never_become_negative(substeps, decay):
    """Bursts of squared gradients at random, from nothing: moments weigh them all positively."""
    bursts = np.zeros(400)
    bursts[np.random.default_rng(0).integers(0, 400, 20)] = 1.0
    bursts = jnp.asarray(bursts)

    def field(t, nu, args):
        return (1 - decay) * (bursts[jnp.round(t * substeps).astype(int)] - nu)

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        rodflow.MultistepLookback(substeps),
        0.0,
        400 / substeps,
        1 / substeps,
        jnp.zeros(()),
        saveat=diffrax.SaveAt(steps=True),
        max_steps=400,
    )
    assert np.min(solution.ys) >= -1e-15 and np.max(solution.ys) > 0


@pytest.mark.parametrize("substeps", [1, 2, 4])
def test_a_uniform_motion_is_exact_from_the_first_step_on(substeps):
    term = diffrax.ODETerm(lambda t, y, args: 2.0 * jnp.ones(()))
    ts = jnp.arange(0.0, 6.0, 1 / substeps)
    y = diffrax.diffeqsolve(
        term,
        rodflow.MultistepLookback(substeps),
        0.0,
        6.0,
        1 / substeps,
        jnp.array(1.0),
        saveat=diffrax.SaveAt(ts=ts),
    ).ys
    np.testing.assert_allclose(y, 1 + 2 * ts, rtol=1e-6)


def test_unit_steps_are_the_map():
    def field(y):
        return jnp.sin(y) / 4

    expected = y0 = jnp.array([0.5, 1.0])
    for _ in range(5):
        expected = expected + field(expected)
    term = diffrax.ODETerm(lambda t, y, args: field(y))
    y = diffrax.diffeqsolve(term, rodflow.MultistepLookback(1), 0.0, 5.0, 1.0, y0).ys[-1]
    np.testing.assert_allclose(y, expected, rtol=1e-15)


def test_arguments_and_steps_are_checked():
    with pytest.raises(ValueError, match="`substeps` is 3; it must be 1, 2 or 4"):
        rodflow.MultistepLookback(3)
    term = diffrax.ODETerm(lambda t, y, args: -y)
    with pytest.raises(Exception, match="takes steps of 1/2"):
        diffrax.diffeqsolve(term, rodflow.MultistepLookback(), 0.0, 1.0, 0.25, jnp.ones(()))
    zero = Rod(jnp.zeros(1), jnp.zeros(1))
    noisy = NoisyTerm(LinearField(jnp.eye(1), zero, zero, 0.25), jax.random.key(0))
    with pytest.raises(ValueError, match="`substeps` is 4; it must be 1 or 2 where the drift"):
        rodflow.MultistepLookback(4).init(noisy, 0.0, 0.25, zero, None)
