"""Combinations that have no meaning, tried by a new user without type checks.

`python tests/refused.py` prints as JSON the type and the message of the error of each, by name.
"""

import json

import diffrax
import jax
import jax.numpy as jnp
import optax

import rodflow
from rodflow import EdgeFlow, Epoch, Held, Integrator, Minibatches, OneLegLookback, RodFlow

START = jnp.ones(2)
SGD, ADAM = optax.sgd(0.1), optax.adam(0.1)
TERM_OF_DECAY = diffrax.ODETerm(lambda t, y, args: -y)


def loss(w):
    return jnp.sum(w**2)


BATCHES = Minibatches(lambda w, batch: jnp.sum((w - batch) ** 2), jnp.ones((3, 2)))


def track(tx=SGD, **options):
    return rodflow.track(options.pop("loss", loss), tx, START, num_steps=10, **options)


def solve(term, solver, y0):
    return diffrax.diffeqsolve(term, solver, 0.0, 1.0, 0.5, y0)


def rod_by(solver, closure):
    integrators = {"rod": Integrator(solver, 0.5)}
    return track(flows={"rod": RodFlow(closure)}, integrators=integrators)


def held_rod():
    iteration, flow = rodflow.Iteration(loss, SGD), RodFlow()
    return solve(flow.term(iteration), Held(), flow.init(iteration, iteration.init(START)))


def continued(ours, theirs):
    """Run the tracker with options `ours` from a state of the one with options `theirs`."""
    tracker, other = (
        rodflow.Tracker(loss, **({"tx": SGD, "flows": {}} | options)) for options in (ours, theirs)
    )
    return tracker.run(other.init(START), 1)


def epoch_sharpness():
    tx = optax.MultiSteps(SGD, 3).gradient_transformation()
    return rodflow.effective_sharpness(BATCHES, tx, Epoch(BATCHES, tx).init(START))


def other_memory():
    """Return the edge of adam at a state of gradient descent."""
    state = rodflow.Iteration(loss, SGD).init(START)
    return rodflow.effective_sharpness(loss, ADAM, state)


def final_distance(learning_rate):
    return track(optax.sgd(learning_rate)).flows["rod"].distance[-1]


ATTEMPTS = {
    "one leg on a covariance rod": lambda: rod_by(OneLegLookback(), rodflow.CovarianceRod()),
    "Held on a rod": lambda: rod_by(Held(), rodflow.SignedRod()),
    "Held on a rod's term": held_rod,
    "Held on a plain term": lambda: solve(TERM_OF_DECAY, Held(), START),
    "Held of a solver that is none": lambda: Held(RodFlow()),
    "a class as a flow": lambda: track(flows={"rod": RodFlow}),
    "flows in a list": lambda: track(flows=[RodFlow()]),
    "a flow alone": lambda: track(flows=RodFlow()),
    "an integrator as a flow": lambda: track(flows={"rod": Integrator(diffrax.Heun(), 0.5)}),
    "a closure as a flow": lambda: track(flows={"rod": rodflow.SignedRod()}),
    "a flow as a closure": lambda: RodFlow(rodflow.StableFlow()),
    "an integrator of no flow": lambda: track(integrators={"rood": Integrator(diffrax.Heun(), 1)}),
    "a solver as an integrator": lambda: track(integrators={"rod": diffrax.Heun()}),
    "integrators in a list": lambda: track(integrators=[Integrator(diffrax.Heun(), 0.5)]),
    "a state of adam for sgd": lambda: continued({}, {"tx": ADAM}),
    "a state of sgd for adam": lambda: continued({"tx": ADAM}, {}),
    "a state of other flows": lambda: continued({"flows": {"rod": RodFlow()}}, {}),
    "a state of another flow of that name": lambda: continued(
        {"flows": {"rod": RodFlow()}}, {"flows": {"rod": RodFlow(rodflow.CovarianceRod())}}
    ),
    "a state of another solver": lambda: continued(
        {"flows": {"rod": RodFlow()}},
        {
            "flows": {"rod": RodFlow()},
            "integrators": {"rod": Integrator(rodflow.LookbackEuler(), 0.5)},
        },
    ),
    "a state of other twins": lambda: continued({"twins": 2}, {"twins": 1}),
    "a state that is none": lambda: rodflow.Tracker(loss, SGD).run(START, 1),
    "an epoch without minibatches": lambda: track(iteration=Epoch),
    "the central flow of an epoch": lambda: track(
        loss=BATCHES, iteration=Epoch, flows={"central": rodflow.CentralFlow()}
    ),
    "Edge Flow of an epoch": lambda: track(
        loss=BATCHES, iteration=Epoch, flows={"edge": EdgeFlow()}
    ),
    "the free-energy flow of an epoch": lambda: track(
        loss=BATCHES, iteration=Epoch, flows={"free energy": rodflow.FreeEnergyFlow()}
    ),
    "the response of an epoch": lambda: rodflow.nyquist_response(
        Epoch(BATCHES, SGD), Epoch(BATCHES, SGD).init(START)
    ),
    "the sharpness of an epoch": epoch_sharpness,
    "the sharpness at a state of another chain": other_memory,
    "an iteration as an argument": lambda: track(iteration=rodflow.Iteration(loss, SGD)),
    "an optimizer that is none": lambda: track(tx=optax.sgd),
    "parameters as a phase state": lambda: rodflow.effective_sharpness(loss, SGD, START),
    "a number of records that is none": lambda: rodflow.Tracker(loss, SGD).init(START, warmup=2.5),
    "a state of adam at the door of a flow of sgd": lambda: RodFlow().init(
        rodflow.Iteration(loss, SGD), rodflow.Iteration(loss, ADAM).init(START)
    ),
    "parameters at the door of a flow": lambda: RodFlow().init(rodflow.Iteration(loss, SGD), START),
    "the term of a loss": lambda: RodFlow().term(loss),
    "Held of Held": lambda: Held(Held()),
    "the class of a solver": lambda: track(
        integrators={"rod": Integrator(rodflow.LookbackEuler, 0.5)}
    ),
    "a flow as an iteration": lambda: track(iteration=RodFlow),
    "half a rank": lambda: rodflow.CovarianceRod(rank=1.5),
    "a negative seed": lambda: rodflow.SignedRod(seed=-1.0),
    "half a twin": lambda: track(twins=0.5),
    "steps that fill no record": lambda: rodflow.track(loss, SGD, START, num_steps=305),
    "the function that makes an optimizer": lambda: track(tx=optax.adam),
    "names of flows": lambda: track(flows=["rod"]),
    "a flow without a name": lambda: track(flows={1: RodFlow()}),
    "a module that is not partitioned": lambda: rodflow.track(
        loss, SGD, {"w": START, "f": jnp.tanh}
    ),
    "a string among the parameters": lambda: rodflow.track(loss, SGD, {"w": START, "name": "x"}),
    "batches in a list": lambda: Minibatches(loss, [START, START]),
    "a loss that is none": lambda: track(loss="x"),
    "a loss that is none in a map": lambda: rodflow.Iteration("x", ADAM).init(START),
    "a number to observe": lambda: track(observe=3),
    "a name to observe along flows": lambda: track(observe_flows="sharpness"),
    "a seed for a key": lambda: track(key=0, twins=1),
    "a word as a seed": lambda: rodflow.SignedRod(seed="x"),
    "a word as a lookahead": lambda: rodflow.SignedRod(lookahead="x"),
    "a word as a floor": lambda: EdgeFlow(floor="x"),
    "a word as a share": lambda: rodflow.CentralFlow(near="x"),
    "a word as a solver": lambda: rodflow.SignedRod(solver="x"),
    "a word as a step size": lambda: track(
        flows={"rod": RodFlow()}, integrators={"rod": Integrator(diffrax.Heun(), "x")}
    ),
    "a step back": lambda: track(
        flows={"rod": RodFlow()}, integrators={"rod": Integrator(diffrax.Heun(), -1.0)}
    ),
    "the class of a controller": lambda: track(
        flows={"rod": RodFlow()},
        integrators={"rod": Integrator(diffrax.Heun(), 0.5, diffrax.PIDController)},
    ),
    "half an eigenvalue": lambda: rodflow.sharpness(loss, START, k=1.5),
    "a loss as a map": lambda: rodflow.nyquist_response(loss, (START, SGD.init(START))),
    "a sweep of nothing": lambda: rodflow.sweep(3, {"lr": START}),
    "a sweep without names": lambda: rodflow.sweep(loss, START),
    "a derivative in forward mode": lambda: jax.jvp(final_distance, (0.1,), (1.0,)),
}


def main():
    errors = {}
    for name, attempt in ATTEMPTS.items():
        try:
            jax.block_until_ready(attempt())
        except Exception as error:
            errors[name] = [type(error).__name__, str(error)]
        else:
            errors[name] = ["nothing", ""]
    print(json.dumps(errors))


if __name__ == "__main__":
    main()
