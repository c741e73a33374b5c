"""Flows that a configuration names, each a function of the seed kappa (None for its default)."""

import rodflow


def stable(kappa: float | None) -> rodflow.StableFlow:
    """Return the usual small-step model, the baseline of every comparison."""
    return rodflow.StableFlow()


def corrected(kappa: float | None) -> rodflow.StableFlow:
    """Return the stable flow with its backward error (BEA) correction."""
    return rodflow.StableFlow(corrected=True)


def rod(kappa: float | None) -> rodflow.RodFlow:
    """Return the rod flow with the signed rod."""
    return rodflow.RodFlow(rodflow.SignedRod(seed=kappa))


def rod_one_step(kappa: float | None) -> rodflow.RodFlow:
    """Return the signed rod, solved without memory of the step before."""
    return rodflow.RodFlow(rodflow.SignedRod(seed=kappa, solver=rodflow.LookbackEuler()))


def rod_at_rest(kappa: float | None) -> rodflow.RodFlow:
    """Return the signed rod without the oscillation that is there at the start."""
    return rodflow.RodFlow(rodflow.SignedRod(seed=kappa, lookahead=0))


def covariance_1(kappa: float | None) -> rodflow.RodFlow:
    """Return the published rod flow; its floor is no seed of the signed rod and stays as it is."""
    return rodflow.RodFlow(rodflow.CovarianceRod(rank=1))


def covariance_4(kappa: float | None) -> rodflow.RodFlow:
    """Return the published rod flow, of rank 4."""
    return rodflow.RodFlow(rodflow.CovarianceRod(rank=4))


def central(kappa: float | None) -> rodflow.CentralFlow:
    """Return the central flow."""
    return rodflow.CentralFlow()


def edge(kappa: float | None) -> rodflow.EdgeFlow:
    """Return Edge Flow."""
    return rodflow.EdgeFlow()


def free_energy(kappa: float | None) -> rodflow.FreeEnergyFlow:
    """Return the free-energy flow, of rank 4."""
    return rodflow.FreeEnergyFlow(seed=kappa)
