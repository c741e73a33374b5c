"""Controllers against tuned constants: `scale_to_edge`, and the start of `gi_adam`.

`scale_to_edge(sigma)` behind an optimizer of rate 1 is compared with the best of eight constant
rates, a factor of 2 apart, on the full batch and with minibatches. Losses are those of all samples,
means over the last tenth of the steps; the constant is tuned by this number, which favours it. A
step of the controller costs about twice as much, which counts of steps do not show.

Adam, Adam with a linear warmup and GI-Adam are compared on minibatches over a grid of rates. A rate
trains if the loss ends below half of that at the start. The effective sharpness of all samples is
that of the first steps, at one rate for all three: the one that is best for Adam.

Sources: Roulet et al. 2024 (arXiv 2407.06183), Kalra and Barkeshli 2024 (arXiv 2406.09405).
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

import rodflow
from experiments.analysis.numbers import median
from experiments.analysis.table import Cell, Table
from experiments.benchmarks import Note
from experiments.benchmarks.networks import NETWORKS, Network, network
from experiments.setup.optimizers import warmed_up
from rodflow.transforms import FirstGradientState

STEPS, BATCH, SEEDS, WARMUP = 300, 32, 2, 50
SIGMAS = (1.0, 1.5, 2.0)
RATES, SPACING = 8, 2.0
REGIMES: Mapping[str, int | None] = {"full batch": None, "minibatches": BATCH}
OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "adam": optax.adam,
}
# The largest rate of each grid, at which training is lost or slow.
LARGEST = {
    "mlp": {"sgd": 1.6, "momentum": 0.8, "adam": 0.2},
    "cnn": {"sgd": 3.0, "momentum": 0.8, "adam": 0.2},
    "sorting": {"sgd": 1.6, "momentum": 0.4, "adam": 0.1},
}
STARTS = {"adam": 1, f"adam, warmup {WARMUP}": WARMUP, "gi_adam": 1}  # steps of warmup, 1 for none
START_RATES, START_SPACING, START_LARGEST, EARLY = 10, 1.6, 0.6, 10


def controllers() -> Iterator[Table | str]:
    """Compare the controllers with tuned constants, then the starts of Adam."""
    built = {name: network(NETWORKS[name]) for name in LARGEST}
    for regime, batch in REGIMES.items():
        ratios, rows = [], []
        for name, largest in LARGEST.items():
            for optimizer, rate in largest.items():
                row, ratio = compared(built[name], optimizer, rate, batch)
                rows.append([f"{name}, {optimizer}", *row])
                ratios.append(ratio)
                yield Note(f"{regime}: {rows[-1]}")
        columns = ["network, optimizer", "best rate", "its loss", "steps"]
        columns += [f"loss ratio, sigma {sigma:g}" for sigma in SIGMAS]
        columns += [f"steps, sigma {sigma:g}" for sigma in SIGMAS]
        title = (
            f"Controllers on {regime}: loss of scale_to_edge over that of the best constant rate"
        )
        formats = dict.fromkeys(columns[4:7], ".2f") | dict.fromkeys(["steps", *columns[7:]], ".0f")
        yield Table(title, columns, rows, formats)
        yield from sentences(regime, np.array(ratios))
    rows = [row for name in LARGEST for row in started(name, built[name])]
    columns = ["network, optimizer", "best rate", "its loss", "largest rate that trains"]
    columns += ["effective sharpness, step 1", f"step {EARLY}"]
    yield Table("Starts of Adam on minibatches", columns, rows)


def compared(
    network: Network, optimizer: str, largest: float, batch: int | None, steps: int = STEPS
) -> tuple[list[Cell], list[float]]:
    """Return a row on the controllers and the best constant, and the ratios of their losses.

    The row has the best rate, its loss and the step at which it is first reached; then for each
    sigma the loss over that one, and the step at which that one is first reached, None if never.
    """

    def chain(value: Array) -> optax.GradientTransformation:
        return optax.chain(OPTIMIZERS[optimizer](1.0), scaled(value))

    rates = largest / SPACING ** np.arange(RATES)[::-1]
    values = np.concatenate([rates, -np.array(SIGMAS)])
    constant, curves = np.split(trained(network, chain, values, batch, steps), [RATES])
    best = int(np.argmin(ends(constant)))
    loss = float(ends(constant)[best])
    ratios = [float(end / loss) for end in ends(curves)]
    reach = [first_at(curve, loss) for curve in (constant[best], *curves)]
    return [float(rates[best]), loss, reach[0], *ratios, *reach[1:]], ratios


def scaled(value: Float[Array, ""]) -> optax.GradientTransformationExtraArgs:
    """Scale updates by a constant, or to the edge by a sigma that is given as its negative.

    Both are lanes of one program, which compiles in half of the time of two.
    """
    edge = rodflow.scale_to_edge(jnp.abs(value))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        to_edge, state = edge.update(updates, state, params, **extra_args)
        moved = jax.tree.map(lambda e, u: jnp.where(value < 0, e, value * u), to_edge, updates)
        return moved, state

    return optax.GradientTransformationExtraArgs(edge.init, update)


def started(name: str, network: Network, steps: int = STEPS) -> list[list[Cell]]:
    """Return a row for each start of Adam on a network."""
    rates = START_LARGEST / START_SPACING ** np.arange(START_RATES)[::-1]
    found = {
        label: trained(network, partial(start, label), rates, BATCH, steps) for label in STARTS
    }
    common = float(rates[np.argmin(ends(found["adam"]))])

    @jax.jit
    def sharpness(params: Array, state: PyTree, warmup: Array) -> Array:
        tx = optax.adam(warmed_up(jnp.float32(common), warmup))
        return rodflow.effective_sharpness(network.whole, tx, (params, state))[0]

    rows: list[list[Cell]] = []
    for label, curves in found.items():
        best = int(np.argmin(ends(curves)))
        trains = ends(curves) < 0.5 * np.mean(curves[:, :, 0], axis=1)
        largest = float(rates[trains].max()) if trains.any() else None
        read = [
            float(sharpness(*seen, jnp.float32(STARTS[label])))
            for seen in early(network, start(label, jnp.float32(common)))[:: EARLY - 1]
        ]
        rows.append([f"{name}, {label}", float(rates[best]), float(ends(curves)[best]), largest])
        rows[-1] += [read[0], read[-1]]
    return rows


def start(label: str, rate: Float[Array, ""]) -> optax.GradientTransformationExtraArgs:
    """Return Adam with one of the starts."""
    make = rodflow.gi_adam if label == "gi_adam" else optax.adam
    return make(warmed_up(rate, jnp.float32(STARTS[label])))


def trained(
    network: Network,
    chain: Callable[[Array], optax.GradientTransformation],
    values: Float[np.ndarray, " values"],
    batch: int | None,
    steps: int,
    seeds: int = SEEDS,
) -> Float[np.ndarray, "values seeds steps"]:
    """Return the losses of all samples along runs of a chain at some values of its argument."""

    def lane(value: Array, seed: Array) -> Array:
        key = jax.random.key(seed)
        tx = optax.with_extra_args_support(chain(value))

        def step(carry: tuple, t: Array) -> tuple[tuple, Array]:
            params, state = carry
            samples = network.data
            if batch is not None:
                samples = network.batch(jax.random.fold_in(key, t), batch)
            value_fn = lambda w: network.loss(w, samples)  # noqa: E731
            value, grads = jax.value_and_grad(value_fn)(params)
            updates, state = tx.update(grads, state, params, value_fn=value_fn)
            seen = value if batch is None else network.whole(params)
            return (optax.apply_updates(params, updates), state), seen

        params = network.init(key)
        return jax.lax.scan(step, (params, tx.init(params)), jnp.arange(steps))[1]

    lanes = jax.vmap(jax.vmap(lane, (None, 0)), (0, None))
    return np.asarray(jax.jit(lanes)(jnp.asarray(values, jnp.float32), jnp.arange(seeds)))


def early(
    network: Network, tx: optax.GradientTransformationExtraArgs
) -> list[tuple[Array, PyTree]]:
    """Return parameters before each of the first steps, and the state of Adam in that step."""
    params = network.init(jax.random.key(0))
    state, seen = tx.init(params), []

    @jax.jit
    def step(params: Any, state: Any, t: Array) -> tuple[Any, Any]:
        samples = network.batch(jax.random.fold_in(jax.random.key(0), t), BATCH)
        updates, state = tx.update(jax.grad(network.loss)(params, samples), state, params)
        return optax.apply_updates(params, updates), state

    for t in range(EARLY):
        after, state = step(params, state, jnp.asarray(t))
        seen.append((params, state.inner_state if isinstance(state, FirstGradientState) else state))
        params = after
    return seen


def ends(curves: Float[np.ndarray, "values seeds steps"]) -> Float[np.ndarray, " values"]:
    """Return the mean loss over the last tenth of the steps and all seeds, infinite if lost."""
    last = curves[..., -max(1, curves.shape[-1] // 10) :]
    means = np.mean(last, axis=(-1, -2))
    return np.where(np.isfinite(means), means, np.inf)


def first_at(curves: Float[np.ndarray, "seeds steps"], loss: float) -> float | None:
    """Return the first step at which the mean over seeds is at or below a loss, None if never."""
    below = np.mean(curves, axis=0) <= loss
    return float(np.argmax(below)) if below.any() else None


def sentences(regime: str, ratios: Float[np.ndarray, "cases sigmas"]) -> Iterator[str]:
    """Say for each sigma in how many cases its loss is at most that of the best constant."""
    for sigma, column in zip(SIGMAS, ratios.T, strict=True):
        count, lost = int(np.sum(column <= 1)), int(np.sum(~np.isfinite(column)))
        yield (
            f"{regime}, sigma {sigma:g}: the loss is at most that of the best constant rate in "
            f"{count} of {len(column)} cases, lost in {lost}; median ratio {median(column):.2f}"
        )
