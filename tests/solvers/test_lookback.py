import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rodflow import LookbackEuler, OneLegLookback
from rodflow.term import AbstractField, FlowTerm

pytestmark = pytest.mark.usefixtures("x64")


def smooth(y):
    """Return a nonlinear field of size one that does not commute with its derivative."""
    a, b = y
    return jnp.array([jnp.sin(b) - 0.5 * a**2, jnp.cos(a) * b + 0.3])


def start():
    return jnp.array([0.4, -0.7])


def flow(field, y0, h, t1=1.0, solver=None):
    term = diffrax.ODETerm(lambda t, y, args: field(y))
    ys = diffrax.diffeqsolve(term, solver or LookbackEuler(), 0.0, t1, h, y0).ys
    return jax.tree.map(lambda y: y[0], ys)


def corrected(field):
    return lambda y: field(y - field(y) / 2)


def log2_ratios(errors):
    return np.log2(np.array(errors[:-1]) / np.array(errors[1:]))


def test_a_unit_step_is_the_map():
    y = jax.jit(lambda y0: flow(smooth, y0, 1.0, 5.0))(start())
    expected = start()
    for _ in range(5):
        expected = expected + smooth(expected)
    np.testing.assert_allclose(y, expected, rtol=1e-15)


def test_a_step_is_the_published_formula():
    y, h = start(), 0.3
    a = (1 - h) / 2
    expected = y + h * smooth(y - a * smooth(y))
    np.testing.assert_allclose(flow(smooth, y, h, h), expected, rtol=1e-15)


class Coupled(AbstractField):
    """A field of which one part is the increment of a map."""

    corrected: bool = True

    @property
    def looks_back(self):
        return {"map": True, "ordinary": False}

    def increment(self, y):
        return {
            "map": smooth(y["map"] * y["ordinary"]),
            "ordinary": smooth(y["map"] - y["ordinary"]),
        }


def test_a_part_may_follow_an_ordinary_equation():
    """It takes a step of the midpoint rule, the rest looks back."""
    y, h = {"map": start(), "ordinary": start()[::-1]}, 0.3
    field = Coupled(corrected=True)
    moves, first = {"map": -(1 - h) / 2, "ordinary": h / 2}, field.increment(y)
    point = field.increment({name: y[name] + moves[name] * first[name] for name in y})
    found = LookbackEuler().step(FlowTerm(field), 0.0, h, y, None, None, False)[0]
    for name in y:
        np.testing.assert_allclose(found[name], y[name] + h * point[name], rtol=1e-14)


def test_the_stages_of_a_step_are_one_program():
    """The field is traced once for both stages of a loop."""
    traced = []

    def field(t, y, args):
        traced.append(None)
        return smooth(y)

    term = diffrax.ODETerm(field)
    step = lambda y: LookbackEuler().step(term, 0.0, 0.5, y, None, None, False)[0]  # noqa: E731
    jax.eval_shape(step, start())
    assert len(traced) == 1


@pytest.mark.parametrize("h", [0.5, 0.25, 1 / 16])
def test_unit_time_is_the_map_to_second_order_in_the_field(h):
    @jax.jit
    def error(size):
        def field(y):
            return size * smooth(y)

        return jnp.linalg.norm(flow(field, start(), h) - (start() + field(start())))

    orders = log2_ratios([error(size) for size in (0.04, 0.02, 0.01)])
    np.testing.assert_allclose(orders, 3.0, atol=0.05)  # the error is of third order


def test_euler_without_look_back_is_the_map_to_first_order_only():
    @jax.jit
    def error(size):
        def field(y):
            return size * smooth(y)

        y = flow(field, start(), 0.5, solver=diffrax.Euler())
        return jnp.linalg.norm(y - (start() + field(start())))

    orders = log2_ratios([error(size) for size in (0.04, 0.02, 0.01)])
    np.testing.assert_allclose(orders, 2.0, atol=0.05)


def test_order_in_the_step_size_is_that_of_the_corrected_flow():
    exact = flow(corrected(smooth), start(), 1 / 64, solver=diffrax.Dopri8())
    solve = jax.jit(lambda h: flow(smooth, start(), h))
    errors = [np.linalg.norm(solve(h) - exact) for h in (1 / 64, 1 / 128, 1 / 256)]
    order = LookbackEuler().order(diffrax.ODETerm(lambda t, y, args: y))
    np.testing.assert_allclose(log2_ratios(errors), order, atol=0.02)


@pytest.mark.parametrize("h", [1.0, 0.5, 0.25])
def test_linear_modes_grow_by_one_plus_h_lambda_minus_h_a_lambda_squared(h):
    rates = jnp.array([-1.9, -0.5, 0.1])
    y = flow(lambda y: rates * y, jnp.ones(3), h)
    factor = 1 + h * rates * (1 - (1 - h) / 2 * rates)
    np.testing.assert_allclose(y, factor ** round(1 / h), rtol=1e-14)


def test_the_clock_looks_back_too():
    """Time as an argument of the field is the same as time as one more unknown."""

    def field(t, y):
        return jnp.sin(3 * t) * smooth(y) - 0.1 * y * t

    def joint(z):
        t, y = z
        return jnp.ones(()), field(t, y)

    kwargs = dict(t0=0.25, t1=2.25, dt0=0.5)
    explicit = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: field(t, y)), LookbackEuler(), y0=start(), **kwargs
    )
    autonomous = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, z, args: joint(z)),
        LookbackEuler(),
        y0=(jnp.array(0.25), start()),
        **kwargs,
    )
    np.testing.assert_allclose(explicit.ys[0], autonomous.ys[1][0], rtol=1e-14)


def test_pytrees_with_holes_and_saved_times():
    y0 = {"a": start(), "hole": None, "b": (jnp.ones(()),)}

    def field(t, y, args):
        return {"a": 0.1 * smooth(y["a"]), "hole": None, "b": (-args * y["b"][0],)}

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        LookbackEuler(),
        t0=0.0,
        t1=3.0,
        dt0=0.5,
        y0=y0,
        args=0.5,
        saveat=diffrax.SaveAt(ts=jnp.array([1.0, 1.25, 3.0])),
    )
    assert solution.ys["hole"] is None
    factor = 1 - 0.25 * (1 + 0.125)
    half_way = (factor**2 + factor**3) / 2  # linear interpolation inside a step
    np.testing.assert_allclose(solution.ys["b"][0], [factor**2, half_way, factor**6], rtol=1e-14)
    a = flow(lambda y: 0.1 * smooth(y), start(), 0.5, 3.0)
    np.testing.assert_allclose(solution.ys["a"][-1], a, rtol=1e-14)


def test_there_is_no_error_estimate_to_adapt_the_step_to():
    term = diffrax.ODETerm(lambda t, y, args: -y)
    controller = diffrax.PIDController(rtol=1e-3, atol=1e-6)
    with pytest.raises(RuntimeError, match="error estimates"):
        diffrax.diffeqsolve(
            term, LookbackEuler(), 0.0, 1.0, 0.1, jnp.ones(()), stepsize_controller=controller
        )


def one_leg_matrix(v, h):
    """Return the matrix of a step of `OneLegLookback` on (y[n], y[n-1], y[n-2]), of field v y."""
    term = diffrax.ODETerm(lambda t, y, args: v * y)

    def step(ys):
        y, before, earlier = ys
        state = (y - before) / h, (before - earlier) / h
        y1 = OneLegLookback().step(term, 0.0, h, y, None, state, False)[0]
        return jnp.stack([y1, y, before])

    return jax.vmap(step, out_axes=1)(jnp.eye(3) + 0j)


@pytest.mark.parametrize(("h", "order"), [(0.5, 3), (0.25, 3), (1 / 3, 5)])
def test_the_path_has_what_matches_powers_of_a_linear_map(h, order):
    """y[n+1] = (1 + V)^h y[n] with an error of that order in V, from where y was before."""

    @jax.jit
    def error(size):
        v = size * (-0.3 + 1j)
        past = (1 + v) ** (-h * jnp.arange(3))
        return jnp.abs((one_leg_matrix(v, h) @ past)[0] - (1 + v) ** h)

    orders = log2_ratios([error(size) for size in (0.04, 0.02, 0.01)])
    np.testing.assert_allclose(orders, order, atol=0.15)


@pytest.mark.parametrize("h", [0.5, 0.25])
def test_the_length_of_a_mode_that_turns_is_right_to_fourth_order(h):
    def error(angle):
        matrix = np.asarray(one_leg_matrix(jnp.exp(1j * angle) - 1, h))
        return 1 - np.abs(np.linalg.eigvals(matrix)).max()

    orders = log2_ratios([error(angle) for angle in (0.4, 0.2, 0.1)])
    np.testing.assert_allclose(orders, 6, atol=0.1)  # and fifth, as it is even in the angle


@pytest.mark.parametrize("h", [0.5, 1 / 3, 0.25, 1 / 16])
def test_no_mode_is_amplified_that_the_map_does_not_amplify(h):
    sizes, angles = jnp.meshgrid(jnp.linspace(0.1, 1, 10), jnp.linspace(0, jnp.pi, 101))
    multipliers = (sizes * jnp.exp(1j * angles)).ravel()
    matrices = jax.jit(jax.vmap(lambda m: one_leg_matrix(m - 1, h)))(multipliers)
    largest = np.abs(np.linalg.eigvals(np.asarray(matrices))).max(axis=1)
    assert largest.max() <= 1 + 1e-7  # a double eigenvalue is known to the root of rounding


def test_the_first_step_of_one_leg_and_one_after_a_jump_are_those_of_euler():
    term = diffrax.ODETerm(lambda t, y, args: smooth(y))
    solver, y = OneLegLookback(), start()
    expected = y + 0.5 * smooth(y)
    state = solver.init(term, 0.0, 0.5, y, None)
    first, *_, state, _ = solver.step(term, 0.0, 0.5, y, None, state, False)
    np.testing.assert_allclose(first, expected, rtol=1e-15)
    np.testing.assert_array_equal(state, [smooth(y), jnp.zeros(2)])
    y = jnp.array([1.0, 2.0])
    after_a_jump = solver.step(term, 0.5, 1.0, y, None, state, True)[0]
    np.testing.assert_allclose(after_a_jump, y + 0.5 * smooth(y), rtol=1e-15)


def test_a_step_of_one_leg_is_the_documented_formula():
    h, y, last, earlier = 0.3, start(), jnp.array([0.1, -0.4]), jnp.array([0.2, 0.3])
    term = diffrax.ODETerm(lambda t, y, args: jnp.cos(t) * smooth(y))
    y1, _, _, kept, _ = OneLegLookback().step(term, 1.0, 1.0 + h, y, None, (last, earlier), False)
    field = np.cos(1.0 - 0.35) * smooth(y - 0.7 * (last / 2 + (last - earlier) / 6))
    np.testing.assert_allclose(y1, y + h * field, rtol=1e-14)
    np.testing.assert_allclose(kept, (field, last), rtol=1e-14)


def test_one_leg_does_not_look_back_to_before_a_second_moment_was_there():
    """A gradient of 10 meets a moment of .01, negative half a step earlier by the field."""

    def field(nu):
        return jnp.where(nu < 0, jnp.nan, 0.01 * (100.0 - nu))  # as its root would be

    def solved(solver):
        return flow(field, jnp.array(0.01), 0.5, 20.0, solver)

    assert jnp.isnan(solved(LookbackEuler()))
    np.testing.assert_allclose(solved(OneLegLookback()), 100 * (1 - 0.99**20), rtol=0.02)


def test_unit_steps_of_one_leg_are_the_map():
    expected = start()
    for _ in range(4):  # a power of 2, so that the times of all steps are exact
        expected = expected + smooth(expected)
    y = flow(smooth, start(), 1.0, 4.0, OneLegLookback())
    np.testing.assert_allclose(y, expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("solver", "kept"), [(LookbackEuler(), 0.744), (OneLegLookback(), 0.938)], ids=["two", "one"]
)
def test_what_is_kept_of_a_mode_of_heavy_ball_that_turns_by_a_quarter(solver, kept):
    """The figures of the documentation; the map keeps .9^(1/2)."""
    turn = jnp.array([[0.0, -1.0], [1.0, 0.0]]) * 0.9**0.5 - jnp.eye(2)
    ts = jnp.array([30.0, 40.0])
    y = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: turn @ y),
        solver,
        0.0,
        40.0,
        0.5,
        start(),
        saveat=diffrax.SaveAt(ts=ts),
    ).ys
    lengths = jnp.linalg.norm(y, axis=1)
    np.testing.assert_allclose((lengths[1] / lengths[0]) ** 0.1, kept, atol=2e-3)


def test_a_step_that_is_cut_short_looks_back_as_far_as_it_should(x64):
    """dy/dt = -y/10 by steps of 3/4 and 1/4 in turn follows the map as well as steps of 1/2."""
    term = diffrax.ODETerm(lambda t, y, args: -y / 10)
    errors = []
    for ts in (np.cumsum([0, *[0.75, 0.25] * 20]), np.arange(0, 20.5, 0.5)):
        controller = diffrax.StepTo(ts=jnp.asarray(ts))
        y = diffrax.diffeqsolve(
            term,
            OneLegLookback(),
            0.0,
            20.0,
            None,
            jnp.array(1.0),
            stepsize_controller=controller,
            saveat=diffrax.SaveAt(ts=jnp.array([10.0, 20.0])),
        ).ys
        errors.append(abs(float(y[1] / y[0]) / 0.9**10 - 1))
    assert errors[0] < 2e-3 and errors[1] < 2e-3
