"""Flows that a configuration names, as functions from an iteration; `kappa` seeds the rod."""

from collections.abc import Callable
from functools import partial

import rodflow

Builder = Callable[[rodflow.Iteration], rodflow.AbstractFlow]


def stable(kappa: float | None) -> Builder:
    """The usual small-step model, the baseline of every comparison."""
    return rodflow.StableFlow


def corrected(kappa: float | None) -> Builder:
    """The stable flow with its backward error (BEA) correction."""
    return partial(rodflow.StableFlow, corrected=True)


def rod(kappa: float | None) -> Builder:
    """The rod flow with the signed rod."""
    return partial(rodflow.RodFlow, closure=rodflow.SignedRod(seed=kappa))


def rod_one_step(kappa: float | None) -> Builder:
    """The signed rod, solved without memory of the step before."""
    closure = rodflow.SignedRod(seed=kappa, solver=rodflow.LookbackEuler())
    return partial(rodflow.RodFlow, closure=closure)


def rod_at_rest(kappa: float | None) -> Builder:
    """The signed rod without the oscillation that is there at the start."""
    return partial(rodflow.RodFlow, closure=rodflow.SignedRod(seed=kappa, lookahead=0))


def covariance_1(kappa: float | None) -> Builder:
    """The published rod flow; its floor is not the signed rod's seed and stays at its default."""
    return partial(rodflow.RodFlow, closure=rodflow.CovarianceRod(rank=1))


def covariance_4(kappa: float | None) -> Builder:
    """The published rod flow, of rank 4."""
    return partial(rodflow.RodFlow, closure=rodflow.CovarianceRod(rank=4))


def central(kappa: float | None) -> Builder:
    """The central flow."""
    return rodflow.CentralFlow


def edge(kappa: float | None) -> Builder:
    """Edge Flow."""
    return rodflow.EdgeFlow


def free_energy(kappa: float | None) -> Builder:
    """The free-energy flow, of rank 4."""
    return partial(rodflow.FreeEnergyFlow, seed=kappa)
