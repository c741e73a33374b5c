import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow
from experiments.analysis.alarms import NOTICE, START, foresight
from experiments.benchmarks import foresight as shown
from experiments.benchmarks import networks, spikes
from experiments.problems.data.dataset import Dataset


@pytest.fixture
def quadratic():
    """Samples that pull on two parameters of curvatures 1 and 4 in directions of their own."""
    curvatures = jnp.array([1.0, 4.0])

    def loss(params, samples):
        return params @ (curvatures * params) / 2 + jnp.mean(samples.inputs @ params)

    pull = jax.random.normal(jax.random.key(0), (64, 2)) / 100
    data = Dataset(pull - pull.mean(0), jnp.zeros((64, 1)))
    return networks.Network(lambda key: jnp.ones(2), loss, data)


def test_curves_are_those_of_a_loop_with_a_monitored_optimizer(quadratic):
    rates, steps = np.array([0.1, 0.6]), 40
    found = spikes.followed(quadratic, "momentum", rates, seeds=2, steps=steps, warmup=1)
    assert found.loss.shape == (4, steps)
    seed = 1
    tx = rodflow.monitored(
        optax.sgd(rates[0], momentum=0.9), spikes.EVERY, sharpness_every=spikes.SHARPNESS_EVERY
    )

    @jax.jit
    def step(params, state, t):
        samples = quadratic.batch(jax.random.fold_in(jax.random.key(seed), t), spikes.BATCH)
        value_fn = lambda w: quadratic.loss(w, samples)  # noqa: E731
        value, grads = jax.value_and_grad(value_fn)(params)
        updates, state = tx.update(grads, state, params, value=value, value_fn=value_fn)
        return optax.apply_updates(params, updates), state, value

    params = jnp.ones(2)
    state = tx.init(params)
    for t in range(steps):
        np.testing.assert_allclose(found.loss[seed, t], quadratic.whole(params), rtol=1e-4)
        params, state, value = step(params, state, jnp.asarray(t))
        np.testing.assert_allclose(found.batch_loss[seed, t], value, rtol=1e-4)
    for name in spikes.METERS:
        for prefix in ("", "mean_"):
            last = found.readings[prefix + name][seed, -1]
            np.testing.assert_allclose(last, getattr(state, prefix + name), rtol=1e-2)
    # The edge of momentum .9 in trace form at curvature 4, a rate of 3.8 / 4.
    sharpness = found.readings["effective_sharpness"][:, -1]
    np.testing.assert_allclose(sharpness, np.repeat(rates, 2) * 4 / 3.8, rtol=1e-3)
    # What is not due stays as it was.
    directional = found.readings["directional_sharpness"][0]
    assert np.isnan(directional[: spikes.EVERY - 1]).all()
    assert len(set(directional[spikes.EVERY :].tolist())) == steps // spikes.EVERY - 1 + 1


def made(loss, **readings):
    flat = np.full(len(loss), 0.5)
    names = [prefix + name for name in spikes.METERS for prefix in ("", "mean_")]
    known = dict.fromkeys(names, flat) | readings
    return spikes.Curves(loss, flat.copy(), flat.copy(), known)


def test_a_run_is_judged_up_to_where_it_is_lost():
    loss = np.ones(200)
    loss[100] = 2.0
    loss[150] = np.inf
    loss[151:] = np.nan
    warning = np.full(200, 0.5)
    warning[80:85] = 1.5
    warning[160:] = 1.5
    run = spikes.judged("mlp", "sgd", 0.1, made(loss, realized_edge=warning))
    assert (run.steps, run.lost, run.spikes) == (151, True, [100, 150])
    counts = run.meters["realized_edge"].counts
    assert (counts.alarms, counts.right, counts.foreseen) == (1, 1, 1)
    assert run.meters["gradient"].counts.alarms == 0


def test_rivals_have_the_line_of_a_spike():
    loss = np.ones(200)
    loss[150] = 2.0
    curves = made(loss)
    curves.gradient[140] = 0.76  # beyond 1.5 times .5
    curves.batch_loss[140] = 0.74
    run = spikes.judged("mlp", "sgd", 0.1, curves)
    assert run.meters["gradient"].counts.foreseen == 1
    assert run.meters["batch_loss"].counts.foreseen == 0
    assert run.meters["mean_gradient"].counts.alarms == 0


def test_exponential_means_are_those_of_the_monitor():
    values = np.array([np.nan, 2.0, 1.0, np.nan, 3.0])
    first = 0.9 * 2 + 0.1 * 1
    expected = [np.nan, 2.0, first, first, 0.9 * first + 0.1 * 3]
    np.testing.assert_allclose(spikes.exponential_mean(values), expected)


@pytest.fixture
def runs():
    """Three runs: one meter always warns 20 steps ahead, one warns by chance, others never."""

    def run(network, begun, steps=300):
        quiet, good = np.full(steps, 0.5), np.full(steps, 0.5)
        for t in begun:
            good[t - 20] = 2.0
        often = np.where(np.arange(steps) % 60 < 30, 2.0, 0.5)
        names = [
            prefix + name for name in (*shown.METERS, *shown.RIVALS) for prefix in ("", "mean_")
        ]
        readings = dict.fromkeys(names, quiet) | {"realized_edge": good, "gradient": often}
        meters = {name: foresight(values, begun) for name, values in readings.items()}
        return shown.Run(network, "sgd", 0.1, steps, False, begun, meters)

    return [run("mlp", [100, 200]), run("mlp", []), run("cnn", [150])]


def by_row(table):
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_tables_show_counts_recalls_and_precisions(runs):
    counted = shown.counted(runs)
    assert counted.rows[0] == ["mlp, sgd", 0.1, 0.1, 2, 1, 2, 0]
    assert counted.rows[-1] == ["all", None, None, 3, 2, 3, 0]

    recalls = by_row(shown.recalls(runs))
    good, never = recalls["realized edge"], recalls["fluctuation"]
    assert good["recall"] == good[f"recall, {NOTICE} steps ahead"] == 1
    # A warning holds for 41 steps, those 10 to 50 ahead of a spike; two runs have spikes.
    times = 300 - START
    assert good["chance, same run"] == pytest.approx((2 * 82 + 41) / 3 / times)
    assert good["chance, any run"] == pytest.approx((82 + 41) / (3 * times))
    assert good["median lead"] == 20
    assert good["beyond any run"].startswith("+0.86 [")
    assert never["recall"] == 0 and never["rank"] == 0.5

    precisions = by_row(shown.precisions(runs))
    good, often = precisions["realized edge"], precisions["gradient norm"]
    assert (good["alarms"], good["precision"]) == (3, 1.0)
    assert good["alarms per 1000 steps without a spike"] == 0
    assert good["runs with a spike, warned before it"] == 1
    assert good["runs without one, warned"] == 0
    assert often["alarms per 1000 steps without a spike"] == pytest.approx(5 / 0.3)
    assert often["runs without one, warned"] == 1


def test_a_table_by_network_has_the_numbers_of_its_runs(runs):
    table = shown.by_group(runs, "network")
    assert table.columns[1:] == ["mlp, recall", "mlp, precision", "cnn, recall", "cnn, precision"]
    alone = shown.recalls(runs[2:]).texts()[0]
    assert table.rows[0][3] == f"1.00 ({alone[3]}, {alone[4]})"


def test_sentences_tell_foresight_from_chance(runs):
    said = {text.split(" of the ")[1].split(":")[0]: text for text in shown.sentences(runs)}
    assert "better than chance in any run" in said["realized edge"]
    assert "better than chance in the same run" in said["realized edge"]
    assert "no better than chance in any run" in said["gradient norm"]
    assert "no better than chance in any run" in said["fluctuation"]
