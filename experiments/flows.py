"""Flows that a configuration names, as functions from an iteration; `kappa` seeds the rod."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp

import rodflow

Builder = Callable[[rodflow.Iteration], rodflow.AbstractFlow]


def stable(kappa: float) -> Builder:
    """The usual small-step model, the baseline of every comparison."""
    return rodflow.StableFlow


def corrected(kappa: float) -> Builder:
    """The stable flow with its backward error (BEA) correction."""
    return partial(rodflow.StableFlow, corrected=True)


def rod(kappa: float) -> Builder:
    """The rod flow with the signed rod."""
    return partial(rodflow.RodFlow, closure=rodflow.SignedRod(seed=jnp.asarray(kappa)))


def covariance_1(kappa: float) -> Builder:
    """The published rod flow; its floor is not the signed rod's seed and stays at its default."""
    return partial(rodflow.RodFlow, closure=rodflow.CovarianceRod(rank=1))


def covariance_4(kappa: float) -> Builder:
    """The published rod flow, of rank 4."""
    return partial(rodflow.RodFlow, closure=rodflow.CovarianceRod(rank=4))
