"""Cost of the meters of `rodflow.monitored` on a small text transformer with AdamW."""

from collections.abc import Iterator
from functools import partial

import jax
import optax
from jaxtyping import Array, PyTree

import rodflow
from experiments.analysis.table import Table
from experiments.benchmarks.networks import Network, network
from experiments.setup.clock import best_seconds

BATCH, STEPS, RATE = 64, 100, 1e-3
OVERRIDES = ["model=transformer", "data=text", "data.size=512", "loss=cross_entropy"]
# Arguments of `monitored`, and whether the update is given the loss as a function.
METERS = {
    "realized edge, every step": ({"every": 10**9, "vectors": 0}, True),
    "directional sharpness, every 10 steps": (
        {"every": 10, "vectors": 0, "same_batch": True},
        True,
    ),
    "effective sharpness, every 50 steps": (
        {"every": 10**9, "sharpness_every": 50, "vectors": 0, "same_batch": True},
        True,
    ),
    "fluctuation, 2 directions, every step": ({"vectors": 2}, False),
}


def meters() -> Iterator[Table]:
    """Time training with each meter alone and without any, in turns."""
    built = network(OVERRIDES)
    tx = optax.adamw(RATE)
    runs = {"none": run(built, tx, False)}
    for name, (arguments, given) in METERS.items():
        runs[name] = run(built, rodflow.monitored(tx, **arguments), given)
    seconds = best_seconds(runs)
    count = built.init(jax.random.key(0)).size
    rows = [[name, 1e3 * seconds[name] / STEPS, seconds[name] / seconds["none"]] for name in runs]
    title = f"Cost of meters, a text transformer of {count} parameters, batches of {BATCH}"
    yield Table(
        title, ["meter", "ms per step", "of the plain step"], rows, {"of the plain step": ".2f"}
    )


def run(built: Network, tx: optax.GradientTransformationExtraArgs, given: bool) -> partial:
    """Return a compiled run of training, which gives the update the loss if it is `given`."""
    tx = optax.with_extra_args_support(tx)
    batches = jax.random.randint(jax.random.key(0), (STEPS, BATCH), 0, len(built.data.inputs))

    @jax.jit
    def train(params: Array, state: PyTree, batches: Array) -> PyTree:
        def step(carry: PyTree, samples: Array) -> tuple[PyTree, Array]:
            params, state = carry
            batch = jax.tree.map(lambda x: x[samples], built.data)
            value, grads = jax.value_and_grad(built.loss)(params, batch)
            extra = {"value": value, "value_fn": lambda p: built.loss(p, batch)} if given else {}
            updates, state = tx.update(grads, state, params, **extra)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, state), batches)

    params = built.init(jax.random.key(0))
    return partial(train, params, tx.init(params), batches)
