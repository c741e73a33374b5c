"""Combinations that have no meaning end in one sentence, also where no types are checked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "refused.py"
SENTENCES = {
    "one leg on a covariance rod": "OneLegLookback looks back at the whole of a state, but parts",
    "Held on a rod": "Held holds the costly part of a flow's field, and this term has none",
    "Held on a rod's term": "Held holds the costly part of a flow's field, and this term has none",
    "Held on a plain term": "Held holds the costly part of a flow's field, and this term has none",
    "Held of a solver that is none": "`solver` is RodFlow(); it must be an instance of a",
    "a class as a flow": "it must be an instance of a flow, as rodflow.RodFlow() is",
    "flows in a list": "`flows` is [RodFlow()]; it must be a dict",
    "a flow alone": "`flows` is RodFlow(); it must be a dict",
    "an integrator as a flow": "it must be an instance of a flow, as rodflow.RodFlow() is",
    "a closure as a flow": "flows['rod'] is SignedRod(); it must be an instance of a flow",
    "a flow as a closure": "`closure` is StableFlow(); it must be a closure",
    "an integrator of no flow": "`integrators` names ['rood']; the flows are ['stable', 'rod']",
    "a solver as an integrator": "integrators['rod'] is Heun(); it must be a rodflow.Integrator",
    "integrators in a list": "it must be a dict from names of flows to rodflow.Integrator",
    "a state of adam for sgd": "`state` is of another transformation",
    "a state of sgd for adam": "`state` is of another transformation",
    "a state of other flows": "`state` is of the flows []; this tracker follows ['rod']",
    "a state of another flow of that name": "of another flow or solver than this tracker's flow",
    "a state of another solver": "of another flow or solver than this tracker's flow 'rod'",
    "a state of other twins": "`state` has 1 twins; this tracker has 2",
    "a state that is none": "`state` is of type ArrayImpl; it must be a TrackerState",
    "an epoch without minibatches": "for an epoch it must be `Minibatches`",
    "the central flow of an epoch": "An epoch of 3 updates has no response",
    "Edge Flow of an epoch": "An epoch of 3 updates has no response",
    "the free-energy flow of an epoch": "An epoch of 3 updates has no response",
    "the response of an epoch": "An epoch of 3 updates has no response",
    "the sharpness of an epoch": ".mini_step of the optimizer's state neither counts the steps",
    "the sharpness at a state of another chain": "`state` is of another transformation",
    "an iteration as an argument": "it must be a class of maps, `rodflow.Iteration` or",
    "an optimizer that is none": "it must be an Optax transformation, as optax.sgd(0.1) is",
    "parameters as a phase state": "it must be a PhaseState, as `Iteration.init` returns, or",
    "a number of records that is none": "`warmup` is 2.5; it must be an integer",
    "a state of adam at the door of a flow of sgd": "`state` is of another transformation",
    "parameters at the door of a flow": "`state` is of type ArrayImpl; it must be a PhaseState",
    "the term of a loss": "it must be a map, such as rodflow.Iteration(loss, tx)",
    "Held of Held": "`solver` is Held itself; it must be the solver of the substeps",
    "the class of a solver": "it must be an instance of a Diffrax solver, as diffrax.Heun() is",
    "a flow as an iteration": "it must be a class of maps, `rodflow.Iteration` or `rodflow.Epoch`",
    "half a rank": "`rank` is 1.5; it must be an integer",
    "a negative seed": "`seed` is -1.0; it must be at least 0",
    "half a twin": "`twins` is 0.5; it must be an integer",
    "steps that fill no record": "`num_steps` is 305; it must be a multiple of `every`, 10",
    "the function that makes an optimizer": "must be an Optax transformation, as optax.sgd(0.1)",
    "names of flows": "`flows` is ['rod']; it must be a dict",
    "a flow without a name": "`flows` has the key 1; names of flows must be strings",
    "a module that is not partitioned": "equinox.filter(module, equinox.is_inexact_array)",
    "a string among the parameters": "params['name'] is 'x'; parameters must be arrays",
    "batches in a list": "`batches` is a list of 2; it must be arrays that hold all batches",
    "a loss that is none": "The loss is 'x'; it must be a function of the parameters",
    "a loss that is none in a map": "The loss is 'x'; it must be a function of the parameters",
    "a number to observe": "`observe` is 3; it must be a function",
    "a name to observe along flows": "`observe_flows` is 'sharpness'; it must be a function",
    "a seed for a key": "`key` is 0; it must be a random key, as jax.random.key(0) is",
    "a word as a seed": "`seed` is 'x'; it must be a real number",
    "a word as a lookahead": "`lookahead` is 'x'; it must be a real number",
    "a word as a floor": "`floor` is 'x'; it must be a real number",
    "a word as a share": "`near` is 'x'; it must be a real number",
    "a word as a solver": "`solver` is 'x'; it must be an instance of a Diffrax solver",
    "a word as a step size": "`integrators['rod'].dt0` is 'x'; it must be a real number",
    "a step back": "`integrators['rod'].dt0` is -1.0; it must be above 0",
    "the class of a controller": "must be an instance of diffrax.AbstractStepSizeController",
    "half an eigenvalue": "`k` is 1.5; it must be an integer",
    "a loss as a map": "it must be a map, such as rodflow.Iteration(loss, tx)",
    "a sweep of nothing": "`member` is 3; it must be a function",
    "a sweep without names": "it must be a dict from names to values",
    "a derivative in forward mode": "an `Integrator` with `adjoint=diffrax.ForwardMode()`",
}


@pytest.fixture(scope="module")
def errors():
    done = subprocess.run(
        [sys.executable, PROGRAM],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PROGRAM.parents[1]), "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", SENTENCES)
def test_each_ends_in_one_sentence(errors, name):
    kind, message = errors[name]
    assert kind == "ValueError"
    assert SENTENCES[name] in message
    assert message.endswith(".") and ". " not in message and "\n" not in message


def test_all_attempts_are_looked_at(errors):
    assert set(errors) == set(SENTENCES)
