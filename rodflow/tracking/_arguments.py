"""Arguments of a tracker: checked, with their defaults, or refused in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import diffrax

from rodflow._checks import shown
from rodflow.flows.flow import AbstractFlow
from rodflow.flows.rod import RodFlow
from rodflow.flows.stable import StableFlow
from rodflow.solvers import Integrator


def checked_flows(flows: Any) -> dict[str, AbstractFlow]:
    """Return the flows by name, the stable and the rod flow for None."""
    if flows is None:
        return {"stable": StableFlow(), "rod": RodFlow()}
    if not isinstance(flows, Mapping):
        raise ValueError(
            f"`flows` is {shown(flows)}; it must be a dict, as in {{'rod': rodflow.RodFlow()}}."
        )
    for name, flow in flows.items():
        if not isinstance(flow, AbstractFlow):
            raise ValueError(
                f"flows[{name!r}] is {shown(flow)}; it must be an instance of a flow, as "
                "rodflow.RodFlow() is."
            )
    return dict(flows)


def checked_integrators(integrators: Any, flows: list[str]) -> dict[str, Integrator]:
    """Return the integrators by name, which must be names of flows."""
    if integrators is None:
        return {}
    if not isinstance(integrators, Mapping):
        raise ValueError(
            f"`integrators` is {shown(integrators)}; it must be a dict from names of flows to "
            "rodflow.Integrator."
        )
    unknown = sorted(set(integrators) - set(flows))
    if unknown:
        raise ValueError(f"`integrators` names {unknown}; the flows are {flows}.")
    for name, integrator in integrators.items():
        if not isinstance(integrator, Integrator):
            raise ValueError(
                f"integrators[{name!r}] is {shown(integrator)}; it must be a rodflow.Integrator, "
                "as Integrator(diffrax.Heun(), 0.5) is."
            )
        if not isinstance(integrator.solver, diffrax.AbstractSolver):
            raise ValueError(
                f"integrators[{name!r}] has the solver {shown(integrator.solver)}; it must be an "
                "instance of a Diffrax solver, as diffrax.Heun() is."
            )
    return dict(integrators)
