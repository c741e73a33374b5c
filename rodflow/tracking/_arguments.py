"""Arguments of a tracker: checked, with their defaults, or refused in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import diffrax
import jax
from jax.core import Tracer
from jaxtyping import PRNGKeyArray

from rodflow._checks import check_count, check_number, shown
from rodflow.flows.flow import AbstractFlow
from rodflow.flows.rod import RodFlow
from rodflow.flows.stable import StableFlow
from rodflow.solvers import Integrator

_KINDS = {
    "stepsize_controller": diffrax.AbstractStepSizeController,
    "adjoint": diffrax.AbstractAdjoint,
}


def checked_flows(flows: Any) -> dict[str, AbstractFlow]:
    """Return the flows by name, the stable and the rod flow for None."""
    if flows is None:
        return {"stable": StableFlow(), "rod": RodFlow()}
    if not isinstance(flows, Mapping):
        raise ValueError(
            f"`flows` is {shown(flows)}; it must be a dict, as in {{'rod': rodflow.RodFlow()}}."
        )
    for name, flow in flows.items():
        if not isinstance(name, str):
            raise ValueError(f"`flows` has the key {shown(name)}; names of flows must be strings.")
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
    unknown = sorted(set(integrators) - set(flows), key=str)
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
        if integrator.dt0 is not None:
            check_number(f"integrators[{name!r}].dt0", integrator.dt0)
            if not isinstance(integrator.dt0, Tracer) and not integrator.dt0 > 0:
                raise ValueError(
                    f"`integrators[{name!r}].dt0` is {integrator.dt0}; it must be above 0."
                )
        check_count(f"integrators[{name!r}].max_steps", integrator.max_steps, 1)
        for field, kind in _KINDS.items():
            if not isinstance(getattr(integrator, field), kind):
                raise ValueError(
                    f"`integrators[{name!r}].{field}` is {shown(getattr(integrator, field))}; it "
                    f"must be an instance of diffrax.{kind.__name__}."
                )
    return dict(integrators)


def checked_key(key: Any) -> PRNGKeyArray:
    """Return a random key."""
    try:
        jax.random.key_data(key)
    except TypeError as error:
        raise ValueError(
            f"`key` is {shown(key)}; it must be a random key, as jax.random.key(0) is."
        ) from error
    return key
