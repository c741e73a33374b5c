"""Benchmarks, which measure the numbers that the README quotes, each part by itself."""

from collections.abc import Callable
from importlib import import_module

PARTS = {
    "tracking": "improvement of the rod flow for every optimizer and chain, three seeds each",
    "covariance": "the published rod flow at ranks 1 and 4, beside the signed rod",
    "cost": "wall clock of the rod flow and the stable flow, relative to the discrete run",
    "memory": "memory of a tracked run of Adam on each architecture",
    "large": "memory and time of networks of up to 1e7 parameters",
    "double_precision": "every continuous-time model in double precision",
    "onset": "the start of the oscillation, of the iterates and of the rod",
    "epochs": "minibatches in a fixed order, as a map",
    "sweep": "16 learning rates under vmap, against runs one after the other",
    "program": "64 learning rates on one device and two, against a loop over compiled runs",
    "processes": "the command of a sweep, by one process and by two",
    "scaling": "scaling with lanes, devices, parameters and steps, and its figure",
}
"""Name of a part -> its subject. A part is a generator of tables and sentences."""
_MODULES = {"covariance": "tracking", "large": "memory", "program": "sweep", "processes": "sweep"}


def part(name: str) -> Callable:
    """Return a part by its name, and import no other."""
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, name)}"), name)
