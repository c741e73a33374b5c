"""Placement of large parameters: sharded over the devices of a mesh, inside one run.

Parameters too large for one device are given as arrays with a `NamedSharding` (as in FSDP or tensor
parallelism). Iterates, optimizer state, twins, flows and their sample points are then kept alike:
the loss holds its argument, and with it its gradient, to the placement of the parameters, and all
else is elementwise in these or a sum over them. A batch of sample points is a batch of sharded
points: its axis is never the one that is split.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.sharding import AxisType, NamedSharding
from jaxtyping import PyTree

Placement = tuple[NamedSharding | None, ...]
"""The sharding of each leaf of the parameters, None for one that no mesh knows."""


def placement_of(params: PyTree) -> Placement | None:
    """Return the placement of concrete arrays; None where nothing is sharded.

    Also None for traced arrays, whose sharding is not known before compilation, and for meshes with
    explicit axes, where it is part of the type and needs no keeping.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rodflow.maps import placement_of
        >>> print(placement_of({"w": jnp.ones(4)}))  # on a single device
        None
    """
    found = tuple(_sharding_of(leaf) for leaf in jax.tree.leaves(params))
    return found if any(s is not None and not s.is_fully_replicated for s in found) else None


def place(tree: PyTree, placement: Placement) -> PyTree:
    """Hold the leaves of `tree` to a placement of as many leaves; works inside `jit` and `vmap`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from jax.sharding import AxisType, NamedSharding, PartitionSpec
        >>> from rodflow.maps import place
        >>> mesh = jax.make_mesh((1,), ("model",), axis_types=(AxisType.Auto,))
        >>> sharding = NamedSharding(mesh, PartitionSpec("model"))
        >>> place({"w": jnp.ones(4)}, (sharding,))["w"].sharding.spec == sharding.spec
        True
    """
    leaves, structure = jax.tree.flatten(tree)
    return structure.unflatten(
        [
            leaf if sharding is None else jax.lax.with_sharding_constraint(leaf, sharding)
            for leaf, sharding in zip(leaves, placement, strict=True)
        ]
    )


def place_alike(tree: PyTree, params: PyTree, placement: Placement | None) -> PyTree:
    """Hold each leaf of `tree` to the placement of the parameters of its shape, where all agree.

    Arrays that start at zero have no placement of their own.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from jax.sharding import AxisType, NamedSharding, PartitionSpec
        >>> from rodflow.maps import place_alike
        >>> mesh = jax.make_mesh((1,), ("model",), axis_types=(AxisType.Auto,))
        >>> placement = (NamedSharding(mesh, PartitionSpec("model")),)
        >>> params, momentum = jnp.ones(4), (jnp.zeros(4), jnp.zeros(()))
        >>> place_alike(momentum, params, placement)[0].sharding.spec == placement[0].spec
        True
    """
    if placement is None:
        return tree
    known: dict[tuple[int, ...], set[NamedSharding | None]] = {}
    for leaf, sharding in zip(jax.tree.leaves(params), placement, strict=True):
        known.setdefault(leaf.shape, set()).add(sharding)

    def hold(leaf: jax.Array) -> jax.Array:
        shardings = known.get(jnp.shape(leaf), {None})
        (sharding,) = shardings if len(shardings) == 1 else (None,)
        return leaf if sharding is None else jax.lax.with_sharding_constraint(leaf, sharding)

    return jax.tree.map(hold, tree)


def _sharding_of(leaf: jax.Array) -> NamedSharding | None:
    if isinstance(leaf, Tracer) or not isinstance(leaf.sharding, NamedSharding):
        return None
    automatic = all(kind is AxisType.Auto for kind in leaf.sharding.mesh.axis_types)
    return leaf.sharding if automatic else None
