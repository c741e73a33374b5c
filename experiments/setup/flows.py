"""Flows that a configuration names, each a function of the seed kappa (None for its default)."""

from collections.abc import Callable, Mapping

from jaxtyping import Array, Float

import rodflow
from experiments.setup.paths import named_by_path

Kappa = float | Float[Array, ""] | None


def flow(name: str, kappa: Kappa) -> rodflow.AbstractFlow:
    """Make the flow of a name.

    Args:
        name: A name of `FLOWS`, or the path of any function of kappa, as in `my_flows.modified`.
        kappa: The seed of the rod; None for its default. It may be traced.

    Raises:
        ValueError: There is no such flow.
    """
    if name not in FLOWS and "." not in name:
        raise ValueError(
            f"flows: {name}: no such flow; choose from {', '.join(FLOWS)}, or give the path of a "
            "function of kappa, as in my_flows.modified"
        )
    make = FLOWS[name] if name in FLOWS else named_by_path(f"flows: {name}", name)
    made = make(kappa)
    if not isinstance(made, rodflow.AbstractFlow):
        raise ValueError(f"flows: {name}: it returned {made!r}, which is no flow")
    return made


def stable(kappa: Kappa) -> rodflow.StableFlow:
    """Return the usual small-step model, the baseline of every comparison."""
    return rodflow.StableFlow()


def corrected(kappa: Kappa) -> rodflow.StableFlow:
    """Return the stable flow with its backward error (BEA) correction."""
    return rodflow.StableFlow(corrected=True)


def rod(kappa: Kappa) -> rodflow.RodFlow:
    """Return the rod flow with the signed rod."""
    return rodflow.RodFlow(rodflow.SignedRod(seed=kappa))


def rod_one_step(kappa: Kappa) -> rodflow.RodFlow:
    """Return the signed rod, solved without memory of the step before."""
    return rodflow.RodFlow(rodflow.SignedRod(seed=kappa, solver=rodflow.LookbackEuler()))


def rod_at_rest(kappa: Kappa) -> rodflow.RodFlow:
    """Return the signed rod without the oscillation that is there at the start."""
    return rodflow.RodFlow(rodflow.SignedRod(seed=kappa, lookahead=0))


def covariance_1(kappa: Kappa) -> rodflow.RodFlow:
    """Return the published rod flow; its floor is no seed of the signed rod and stays as it is."""
    return rodflow.RodFlow(rodflow.CovarianceRod(rank=1))


def covariance_4(kappa: Kappa) -> rodflow.RodFlow:
    """Return the published rod flow, of rank 4."""
    return rodflow.RodFlow(rodflow.CovarianceRod(rank=4))


def central(kappa: Kappa) -> rodflow.CentralFlow:
    """Return the central flow."""
    return rodflow.CentralFlow()


def edge(kappa: Kappa) -> rodflow.EdgeFlow:
    """Return Edge Flow."""
    return rodflow.EdgeFlow()


def free_energy(kappa: Kappa) -> rodflow.FreeEnergyFlow:
    """Return the free-energy flow, of rank 4."""
    return rodflow.FreeEnergyFlow(seed=kappa)


_OF_THE_ROD = (rod, rod_one_step, rod_at_rest, covariance_1, covariance_4)
FLOWS: Mapping[str, Callable[[Kappa], rodflow.AbstractFlow]] = {
    make.__name__: make for make in (stable, corrected, *_OF_THE_ROD, central, edge, free_energy)
}
"""Name -> function of kappa."""
