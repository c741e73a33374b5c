import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import rodflow

LEARNING_RATE = 0.01


def quadratic(curvature):
    return lambda params: 0.5 * jnp.sum(curvature * jnp.square(params["w"]))


STEPS = 3000


def settled(loss, tx, params, steps=STEPS):
    """Return a state whose memory has seen many gradients at `params`, which stay."""
    iteration = rodflow.Iteration(loss, tx)

    def stay(_, state):
        return rodflow.PhaseState(params, iteration.step(state).opt_state)

    run = jax.jit(lambda state: jax.lax.fori_loop(0, steps, stay, state))
    return iteration, run(iteration.init(params))


def nyquist_response(iteration, state):
    return jax.jit(lambda state: rodflow.nyquist_response(iteration, state))(state)


CURVATURE = np.array([1.0, 2.0, 3.0])
START = np.array([1.0, 0.5, -0.3])
GRADIENT = np.abs(CURVATURE * START)
TOTAL = np.linalg.norm(GRADIENT)
B1 = 0.9
MEMORYLESS = 2.0
MOMENTUM = 2 * (1 + B1) / (1 - B1)
NESTEROV = 2 * (1 + B1) / ((1 - B1) * (1 + 2 * B1))
# The preconditioned sharpness, times the learning rate, at which each leaves stability on a
# quadratic; momentum is in EMA form. From the characteristic polynomials, at the root -1.
CRITICAL = {
    "gd": MEMORYLESS,
    "scalar_rmsprop": MEMORYLESS,
    "rmsprop": MEMORYLESS,
    "heavy_ball": MOMENTUM,
    "scalar_adam": MOMENTUM,
    "adam": MOMENTUM,
    "nesterov": NESTEROV,
    "scalar_nadam": NESTEROV,
    "nadam": NESTEROV,
}
# Chain, preconditioner at CURVATURE and START, critical preconditioned sharpness * lr, by name.
ELEMENTWISE = {
    name: (
        constructor(LEARNING_RATE),
        {"scalar": TOTAL, "gd": 1.0, "heavy": 1.0, "nesterov": 1.0}.get(
            name.split("_")[0], GRADIENT
        ),
        CRITICAL[name],
    )
    for name, constructor in rodflow.OPTIMIZERS.items()
} | {
    "trace": (optax.sgd(LEARNING_RATE, momentum=0.8), 1.0, 2 * 1.8),
    "nesterov trace": (
        optax.sgd(LEARNING_RATE, momentum=0.8, nesterov=True),
        1.0,
        2 * 1.8 / 2.6,
    ),
    "adamw": (
        optax.adamw(LEARNING_RATE, weight_decay=0.1),
        GRADIENT,
        (2 - 0.1 * LEARNING_RATE) * 1.9 / 0.1,
    ),
    "rmsprop with momentum": (optax.rmsprop(LEARNING_RATE, momentum=0.9), GRADIENT, 2 * 1.9),
    "injected adam": (optax.inject_hyperparams(optax.adam)(LEARNING_RATE), GRADIENT, 38.0),
    "not clipped": (
        optax.chain(optax.clip_by_global_norm(2 * TOTAL), optax.sgd(LEARNING_RATE)),
        1.0,
        2.0,
    ),
    # An oscillation at a right angle to the gradient leaves its norm as it is, to first order.
    "clipped": (
        optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(LEARNING_RATE)),
        1.0,
        2.0 * TOTAL / 0.1,
    ),
    "clipped, with momentum": (
        optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(LEARNING_RATE, momentum=0.8)),
        1.0,
        2 * 1.8 * TOTAL / 0.1,
    ),
    "lars": (
        optax.lars(LEARNING_RATE, trust_coefficient=1.0, momentum=0.8),
        1.0,
        2 * 1.8 * TOTAL / np.linalg.norm(START),
    ),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_nyquist_probe_recovers_the_table(name):
    """The critical sharpness is 2 / r, to 5 digits."""
    tx, preconditioner, factor = ELEMENTWISE[name]
    with jax.enable_x64(True):
        params = {"w": jnp.asarray(START)}
        response = nyquist_response(*settled(quadratic(CURVATURE), tx, params))["w"]
        np.testing.assert_allclose(
            2 / response, preconditioner * factor / LEARNING_RATE * np.ones(3), rtol=1e-5
        )


@pytest.mark.parametrize("step", [3, 12])
def test_the_response_has_the_learning_rate_of_its_step(step):
    """Rectification, warmup and the correction of the momentum change with the clock."""
    warmup = 20
    corrected = LEARNING_RATE / (1 - B1**step)
    ramp = LEARNING_RATE * step / warmup
    rho, r = rodflow.rectification(step, 0.99)
    # Chain, and the critical sharpness with the preconditioner.
    cases = [
        (
            optax.radam(LEARNING_RATE, b2=0.99, threshold=4),
            # Without adaptation there is no preconditioner.
            MOMENTUM * (GRADIENT / (r * corrected) if rho > 4 else 1 / corrected),
        ),
        (optax.sgd(lambda count: LEARNING_RATE * (count + 1) / warmup), 2 / ramp),
        # Waits up to the last step, and from then on.
        (rodflow.adam_2k(LEARNING_RATE, num_steps=step - 1), MOMENTUM * GRADIENT / corrected),
        (rodflow.adam_2k(LEARNING_RATE, num_steps=step), np.inf),
    ]
    with jax.enable_x64(True):
        params = {"w": jnp.asarray(START)}
        for tx, critical in cases:
            response = nyquist_response(*settled(quadratic(CURVATURE), tx, params, step))["w"]
            np.testing.assert_allclose(response, 2 / critical * np.ones(3), rtol=1e-5)


def spectral_radius(name, sharpness):
    """Return that of the linearised Optax chain, second moments and clocks frozen."""
    tx = rodflow.OPTIMIZERS[name](LEARNING_RATE, **({"b1": B1} if has_momentum(name) else {}))
    params = {"w": jnp.asarray(np.array([1.0]))}
    iteration, state = settled(quadratic(np.array([1.0])), tx, params)
    parity = iteration.parity(params)
    moving = jax.tree.map(
        lambda p, leaf: leaf * 0 if p is rodflow.Parity.OSCILLATING else leaf, parity, state
    )
    flat, unravel = ravel_pytree(moving)
    oscillates = ravel_pytree(
        jax.tree.map(
            lambda p, leaf: jnp.full(leaf.shape, float(p is rodflow.Parity.OSCILLATING)),
            parity,
            state,
        )
    )[0].astype(bool)

    def step(z):
        there = unravel(jnp.where(oscillates, z, flat))
        # The gradient of a quadratic whose curvature is relative to the preconditioner, which is 1.
        grads = {"w": sharpness * there.params["w"]}
        after = jax.tree.map(jnp.add, there, iteration.respond(there, grads))
        return ravel_pytree(after)[0]

    jacobian = np.asarray(jax.jit(jax.jacobian(step))(flat))
    oscillates = np.asarray(oscillates)
    return np.max(np.abs(np.linalg.eigvals(jacobian[oscillates][:, oscillates])))


def has_momentum(name):
    return name in ("heavy_ball", "nesterov") or name.endswith("adam")


@pytest.mark.parametrize("name", rodflow.OPTIMIZERS)
def test_spectral_radius_of_optax_crosses_one_at_the_critical_sharpness(name):
    with jax.enable_x64(True):
        critical = CRITICAL[name] / LEARNING_RATE
        if "rms" in name or "adam" in name:
            # The step that is linearised forgets a little first: it divides by this, not by 1.
            b2 = 0.99 if "rms" in name else 0.999
            critical = critical * np.sqrt(b2 * (1 - b2**STEPS) / (1 - b2 ** (STEPS + 1)))
        assert spectral_radius(name, critical * (1 - 1e-5)) < 1
        assert spectral_radius(name, critical * (1 + 1e-5)) > 1


def network_loss(params):
    x = np.random.default_rng(0).normal(size=(20, 3))
    y = np.random.default_rng(1).normal(size=20)
    return jnp.mean((jnp.tanh(x @ params["a"]) @ params["b"] - y) ** 2)


def network_params(seed=2):
    random = np.random.default_rng(seed)
    return {"a": jnp.asarray(random.normal(size=(3, 4))), "b": jnp.asarray(random.normal(size=4))}


@pytest.mark.parametrize("name", ["adam", "scalar_nadam"])
def test_effective_sharpness_against_a_dense_hessian(name):
    with jax.enable_x64(True):
        tx = rodflow.OPTIMIZERS[name](LEARNING_RATE)
        iteration, state = settled(network_loss, tx, network_params(), steps=50)
        flat, unravel = ravel_pytree(state.params)
        hessian = jax.jit(jax.hessian(lambda w: network_loss(unravel(w))))(flat)
        root = np.sqrt(ravel_pytree(nyquist_response(iteration, state))[0])
        dense = np.linalg.eigvalsh(root[:, None] * hessian * root)[::-1]
        found = rodflow.effective_sharpness(network_loss, tx, state, k=3)
        np.testing.assert_allclose(found, dense[:3] / 2, rtol=1e-6)


@pytest.mark.parametrize("name", ["adam", pytest.param("rmsprop", marks=pytest.mark.slow)])
def test_a_parameter_without_gradient_adds_nothing(name):
    tx = rodflow.OPTIMIZERS[name](LEARNING_RATE)

    def padded(params):
        return network_loss(params["used"])

    _, state = settled(network_loss, tx, network_params(), steps=50)
    unused = {"used": network_params(), "unused": jnp.zeros(2)}
    _, with_unused = settled(padded, tx, unused, steps=50)
    known = rodflow.effective_sharpness(network_loss, tx, state)
    found = rodflow.effective_sharpness(padded, tx, with_unused)
    np.testing.assert_allclose(found, known, rtol=1e-3)


def test_sharpness_of_more_parameters_than_krylov_vectors():
    spectrum = np.concatenate([np.linspace(0, 1, 97), [5.0, 7.0, 8.0]])
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(100, 100)))
    matrix = jnp.asarray(rotation * spectrum @ rotation.T, jnp.float32)
    loss = lambda w: 0.5 * w @ matrix @ w  # noqa: E731
    found = jax.jit(lambda w: rodflow.sharpness(loss, w, k=3))(jnp.zeros(100))
    np.testing.assert_allclose(found, [8, 7, 5], rtol=1e-4)


def test_effective_sharpness_under_vmap_equals_a_loop():
    params = network_params()

    def at(learning_rate):
        tx = optax.adam(learning_rate)
        iteration = rodflow.Iteration(network_loss, tx)
        return rodflow.effective_sharpness(network_loss, tx, iteration.step(iteration.init(params)))

    rates = jnp.array([1e-3, 1e-2])
    one = jax.jit(at)
    loop = np.stack([one(rate) for rate in rates])
    np.testing.assert_allclose(jax.jit(jax.vmap(at))(rates), loop, rtol=1e-4)
    # The response is proportional to the learning rate.
    np.testing.assert_allclose(loop[1], loop[0] * 10, rtol=1e-2)


@pytest.mark.parametrize("name", ["adam", pytest.param("nesterov", marks=pytest.mark.slow)])
def test_an_elementwise_chain_is_one_with_a_diagonal_matrix(name, x64):
    _, state = settled(network_loss, rodflow.OPTIMIZERS[name](0.1), network_params())
    tx = rodflow.OPTIMIZERS[name](0.1)
    known = rodflow.effective_sharpness(network_loss, tx, state, k=3)
    found = rodflow.effective_sharpness(network_loss, tx, state, k=3, elementwise=False)
    np.testing.assert_allclose(found, known, rtol=1e-5)


@pytest.mark.slow
def test_effective_sharpness_under_a_preconditioner_of_matrices(x64):
    """if_shampoo steps by lr / (1 + momentum) C C' G K K' in the end of an alternating gradient."""
    curvature = np.random.default_rng(0).normal(size=(8, 12))
    curvature = curvature.T @ curvature / 8
    loss = lambda p: p["w"].ravel() @ curvature @ p["w"].ravel() / 2  # noqa: E731
    tx = rodflow.if_shampoo(0.1, batch_size=4, momentum=0.8, factor_learning_rate=0.2)
    params = {"w": jnp.asarray(np.random.default_rng(1).normal(size=(3, 4)))}
    _, state = settled(loss, tx, params, steps=20)
    first, second = (
        factor.matrix @ factor.matrix.T
        for factor in optax.tree.get(state.opt_state, "factors")["w"]
    )
    response = 0.1 / 1.8 * np.kron(first, second)
    assert np.abs(response - np.diag(np.diag(response))).max() > 0.1 * np.abs(response).max()
    expected = np.sort(np.linalg.eigvals(response @ curvature).real)[::-1] / 2
    found = rodflow.effective_sharpness(loss, tx, state, k=2, elementwise=False)
    np.testing.assert_allclose(found, expected[:2], rtol=1e-5)
    # The response to a gradient of ones is not that of each element.
    mixed = rodflow.effective_sharpness(loss, tx, state, k=2)
    np.testing.assert_array_equal(mixed, [np.nan, np.nan])


@pytest.mark.parametrize(("k", "allowed"), [(0, "at least 1"), (17, "16")])
def test_sharpness_refuses_more_eigenvalues_than_there_are(k, allowed):
    with pytest.raises(ValueError, match=rf"`k` is {k}; .*{allowed}"):
        rodflow.sharpness(network_loss, network_params(), k=k)


def test_gradient_descent_oscillates_just_above_an_effective_sharpness_of_one():
    """The edge is where the iterates themselves stop converging."""
    for factor, grows in [(0.99, False), (1.01, True)]:
        tx = optax.chain(optax.trace(0.9), optax.scale(-0.1))
        loss = functools.partial(lambda s, p: 0.5 * s * p**2, factor * 2 * 1.9 / 0.1)
        iteration = rodflow.Iteration(loss, tx)
        state = iteration.init(jnp.array(1.0))
        assert rodflow.effective_sharpness(loss, tx, state)[0] == pytest.approx(factor, rel=1e-4)
        end = jax.lax.fori_loop(0, 2000, lambda _, z, step=iteration.step: step(z), state)
        assert bool(abs(end.params) < 1) != grows  # what grows is not a number in the end


def least_multiplier(tx, curvature, params):
    """Return the least eigenvalue of the Jacobian of the map at `params`."""
    iteration = rodflow.Iteration(lambda w: 0.5 * jnp.sum(curvature * w**2), tx)
    state = iteration.init(params)
    step = jax.jit(jax.jacobian(lambda w: iteration.step(state._replace(params=w)).params))
    return np.min(np.linalg.eigvals(np.asarray(step(params))).real)


@pytest.mark.parametrize("of", ["lars", "clipped"])
def test_the_edge_with_norms_held_is_that_of_the_optimizer_itself(of, x64):
    """Where the gradient is that of a flat mode, the sharpest leaves at a right angle to it."""
    curvature, params = jnp.array([50.0, 1.0]), jnp.array([0.0, 2.0])

    def at(rate):
        tx = (
            optax.lars(rate, weight_decay=0.0, trust_coefficient=0.7, momentum=0.0)
            if of == "lars"
            else optax.chain(optax.clip_by_global_norm(1.4), optax.sgd(rate))
        )
        state = rodflow.PhaseState(params, tx.init(params))
        loss = lambda w: 0.5 * jnp.sum(curvature * w**2)  # noqa: E731
        return rodflow.effective_sharpness(loss, tx, state)[0], tx

    edge = 2 / (0.7 * 50)  # the step is .7 of the parameters, and so of the gradient
    for factor in (0.9, 1.1):
        found, tx = at(factor * edge)
        assert found == pytest.approx(factor, rel=1e-9)
        # Its multiplier is 1 - 2 S / S_crit.
        assert least_multiplier(tx, curvature, params) == pytest.approx(1 - 2 * factor, rel=1e-9)


def test_lamb_has_its_present_trust_ratio(x64):
    """The response of adam, times |w| over the norm of the update that adam would make."""
    params, loss = jnp.array(START), lambda w: 0.5 * jnp.sum(CURVATURE * w**2)
    lamb, adam = optax.lamb(LEARNING_RATE), optax.scale_by_adam(eps=1e-6)
    iteration, state = settled(lambda p: loss(p["w"]), lamb, {"w": params}, steps=20)
    memory = state.opt_state[0]
    found = nyquist_response(iteration, state)["w"]
    grads = {"w": CURVATURE * params}
    # The coming step, but with the second moment that it would leave unchanged.
    before = (memory.nu["w"] - 1e-3 * grads["w"] ** 2) / 0.999
    memory = memory._replace(count=memory.count - 1, nu={"w": before})
    update = adam.update(grads, memory)[0]["w"]
    ratio = np.linalg.norm(params) / np.linalg.norm(update)
    plain = settled(
        lambda p: loss(p["w"]),
        optax.chain(adam, optax.scale(-LEARNING_RATE)),
        {"w": params},
        steps=20,
    )
    np.testing.assert_allclose(found, ratio * nyquist_response(*plain)["w"], rtol=1e-6)


@pytest.mark.parametrize(
    ("tx", "known"),
    [
        (optax.chain(optax.clip(0.8), optax.sgd(LEARNING_RATE)), False),
        (optax.chain(optax.clip(1.2), optax.sgd(LEARNING_RATE)), True),
        (optax.lion(LEARNING_RATE), False),
        (optax.sign_sgd(LEARNING_RATE), False),
        (optax.rmsprop(LEARNING_RATE, decay=0.5), True),
        (optax.amsgrad(LEARNING_RATE), True),
    ],
    ids=["clip each", "clip none", "lion", "sign", "rmsprop", "amsgrad"],
)
def test_a_step_that_no_linear_response_explains_has_no_number(tx, known):
    loss = quadratic(jnp.array(CURVATURE))  # of the present precision
    iteration = rodflow.Iteration(loss, tx)
    state = iteration.step(iteration.step(iteration.init({"w": jnp.asarray(START)})))
    state = state._replace(params={"w": jnp.asarray(START)})
    assert np.isfinite(rodflow.effective_sharpness(loss, tx, state)[0]) == known


def test_a_state_of_optax_is_taken_as_it_is():
    tx, params, loss = optax.adam(LEARNING_RATE), network_params(), network_loss
    opt_state = tx.init(params)
    for _ in range(3):
        updates, opt_state = tx.update(jax.grad(loss)(params), opt_state, params)
        params = optax.apply_updates(params, updates)
    floats = rodflow.PhaseState(params, jax.tree.map(lambda x: x * 1.0, opt_state))
    known = rodflow.effective_sharpness(loss, tx, floats)
    iteration = rodflow.Iteration(loss, tx)
    for state in (rodflow.PhaseState(params, opt_state), (params, opt_state)):
        np.testing.assert_array_equal(rodflow.effective_sharpness(loss, tx, state), known)
        responses = [nyquist_response(iteration, z) for z in (state, floats)]
        jax.tree.map(np.testing.assert_array_equal, *responses)
