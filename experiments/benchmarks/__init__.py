"""Benchmarks, which measure the numbers that the documentation quotes, each part by itself."""

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple


class Part(NamedTuple):
    """The subject of a part of the benchmark, and the question that its tables answer."""

    subject: str
    answers: str


class Note(str):
    """A line on what is being measured, for whoever waits; it is no result."""


PARTS = {
    "tracking": Part(
        "improvement of the rod flow for every optimizer and chain, three seeds each",
        "How much closer to the iterates than the stable flow is the rod flow, for each chain?",
    ),
    "covariance": Part(
        "the published rod flow at ranks 1 and 4, beside the signed rod",
        "How much closer than the stable flow are the published rod flow and the signed rod?",
    ),
    "first_minutes": Part(
        "a short main job with an empty and a full cache of programs, by parts",
        "Where does the time of a first and of a second run go?",
    ),
    "cost": Part(
        "wall clock of the rod flow and the stable flow, relative to the discrete run",
        "How many times the wall clock of the optimizer itself does a flow take?",
    ),
    "memory": Part(
        "memory of a tracked run of Adam on each architecture",
        "How much memory do flows take beyond a gradient, in units of parameters and state?",
    ),
    "large": Part(
        "memory and time of networks of up to 1e7 parameters",
        "How much memory and time does a flow of a large network take?",
    ),
    "double_precision": Part(
        "every continuous-time model in double precision",
        "Which continuous-time model is closest where rounding does not hide the differences?",
    ),
    "onset": Part(
        "the start of the oscillation, of the iterates and of the rod",
        "Does the oscillation of the rod start when that of the iterates does?",
    ),
    "epochs": Part(
        "minibatches in a fixed order, as a map",
        "Where does the rod flow of whole epochs of minibatches help?",
    ),
    "fluctuation": Part(
        "effective sharpness by the fluctuations of parameters, against the Hessian",
        "How close to the Hessian's is the effective sharpness read off minibatch fluctuations?",
    ),
    "meters": Part(
        "time of monitored training relative to plain training",
        "How many times the time of a training step does one with a meter take?",
    ),
    "spikes": Part(
        "warnings of the meters before spikes of minibatch training, and chance",
        "How many steps before a spike does each meter warn, how often in vain, and by chance?",
    ),
    "controllers": Part(
        "learning rates from the edge, and second moments from the first gradient",
        "Does training at the edge by a controller do as well as a tuned learning rate?",
    ),
    "sweep": Part(
        "16 learning rates under vmap, against runs one after the other",
        "How much time does one program for many learning rates save?",
    ),
    "program": Part(
        "64 learning rates on one device and two, against a loop over compiled runs",
        "How much faster than a loop is a sweep that uses a device for each core?",
    ),
    "processes": Part(
        "the command of a sweep, by one process and by two",
        "How much faster do two processes finish the same sweep than one?",
    ),
    "scaling": Part(
        "scaling with lanes, devices, parameters and steps, and its figure",
        "How do time and memory grow with lanes, devices, parameters and steps?",
    ),
}
"""The parts by name. Each is a generator of tables, sentences and notes."""
_MODULES = {"covariance": "tracking", "large": "memory", "program": "sweep", "processes": "sweep"}


def part(name: str) -> Callable:
    """Return a part by its name, and import no other."""
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, name)}"), name)
