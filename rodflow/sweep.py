"""Sweeps: one function at every point of a grid, in one compiled program on any number of devices.

The lanes of a sweep, which are the points of its grid, are divided evenly among the devices of a
mesh. Each device works independently, in chunks of lanes that are vmapped:

    lanes -> shard_map over devices -> map over chunks, one after the other -> vmap within a chunk

No device waits for another before the end. (`jit(vmap(...))` on sharded inputs would put a
collective into the condition of every loop.) Within a chunk lanes move in lockstep: a `while_loop`
under vmap turns until its last lane has ended, and lanes that ended keep their values. No number of
a lane reaches another lane, NaNs included; a slow lane delays only the others of its chunk.

A function that decomposes matrices should do so by `rodflow.linalg` where it may run on several
devices of a CPU: batched calls of `jax.numpy.linalg` can wait there for each other forever.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, PartitionSpec
from jaxtyping import Array, PyTree

from rodflow._checks import check_at_least, check_callable, shown
from rodflow.maps import compiled, lowered

_Hyperparameters = dict[str, Array]
_Lanes = dict[str, Array | np.ndarray]
_Axis = jax.typing.ArrayLike | Sequence[int | float]


def sweep(
    member: Callable[[_Hyperparameters], PyTree],
    grid: Mapping[str, _Axis],
    mesh: Mesh | None = None,
    *,
    zipped: bool = False,
    chunk: int | None = None,
    memory: int | None = None,
) -> PyTree:
    """Evaluate a function at every point of a grid of hyperparameters.

    The result equals that of a Python loop over `member`, up to the rounding of batched operations.
    It is compiled once for each `member` and number of lanes: other values in the grid do not
    recompile it, also under `jit`.

    Args:
        member: A function from a dict of scalars to a pytree of arrays, by JAX operations, for
            example `rodflow.track` with a chain built from the scalars. A member with a
            `while_loop` is best swept in small chunks of lanes that take about equally long.
        grid: The values of each hyperparameter by its name: 1-D, floats or integers.
        mesh: The devices to use, those of all its axes; the default device if None. It may span
            several processes, which then call `sweep` with the same grid.
        zipped: If True, the values of all axes are taken together, as by `zip`; otherwise the grid
            is the product of its axes.
        chunk: The number of lanes that are vmapped at a time on a device; all of its lanes if None.
            Rounding depends on it, as that of batched operations does.
        memory: The bytes that the program may take on each device, its results included, instead of
            `chunk`. A few compilations then find a chunk that fits.

    Returns:
        The pytree of `member` with additional leading axes of every leaf: one for each name in the
        order of `grid`, or a single one if `zipped`.

    Raises:
        ValueError: The grid, mesh, chunk or memory allows no sweep.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> grid = {"lr": jnp.array([0.5, 0.25]), "steps": jnp.arange(3)}
        >>> rodflow.sweep(lambda h: (1 - h["lr"]) ** h["steps"], grid)
        Array([[1.    , 0.5   , 0.25  ],
               [1.    , 0.75  , 0.5625]], dtype=float32)
    """
    check_callable("member", member)
    axes = _checked_axes(grid, zipped)
    if chunk is not None and memory is not None:
        raise ValueError(f"`chunk` is {chunk} and `memory` is {memory}; only one can be given.")
    check_at_least("chunk", 1 if chunk is None else chunk, 1)
    mesh = None if mesh is None else _checked_mesh(mesh)
    devices = 1 if mesh is None else mesh.size
    shape = tuple(len(axis) for axis in axes.values())
    count = shape[0] if zipped else math.prod(shape)
    width = math.ceil(count / devices) if chunk is None else chunk
    if memory is not None:
        width = _widest(member, axes, mesh, devices, count, zipped, memory)
    lanes = _lanes(axes, zipped, _padded(count, devices * width))
    results = compiled(_run, member, lanes, mesh, width)
    return compiled(_on_axes, results, shape[:1] if zipped else shape)


def _run(
    member: Callable[[_Hyperparameters], PyTree],
    lanes: _Lanes,
    mesh: Mesh | None,
    width: int,
) -> PyTree:
    """Evaluate all lanes, a multiple of devices x width; lanes are the first axis of each leaf."""

    def within_a_device(lanes: _Lanes) -> PyTree:
        return jax.lax.map(member, lanes, batch_size=width)

    if mesh is None:
        return within_a_device(lanes)
    sharded = PartitionSpec(mesh.axis_names)
    # Without check_vma, as `diffrax.diffeqsolve` does not pass that check.
    return jax.shard_map(
        within_a_device, mesh=mesh, in_specs=sharded, out_specs=sharded, check_vma=False
    )(lanes)


def _on_axes(results: PyTree, shape: tuple[int, ...]) -> PyTree:
    """Drop the padding of lanes and give them the shape of the grid, in a program of its own."""
    count = math.prod(shape)
    return jax.tree.map(lambda leaf: leaf[:count].reshape(*shape, *leaf.shape[1:]), results)


def _widest(
    member: Callable[[_Hyperparameters], PyTree],
    axes: _Lanes,
    mesh: Mesh | None,
    devices: int,
    count: int,
    zipped: bool,
    memory: int,
) -> int:
    """Find a large chunk whose program fits into memory; its compilation is not repeated."""
    width = math.ceil(count / devices)
    while True:
        lanes = _lanes(axes, zipped, _padded(count, devices * width))
        analysis = lowered(_run, member, lanes, mesh, width).compile().memory_analysis()
        if analysis is None:
            raise ValueError(
                "`memory` needs a backend that tells what a program takes; use `chunk`."
            )
        held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
        taken = held + analysis.temp_size_in_bytes
        if taken <= memory:
            return width
        if width == 1:
            raise ValueError(
                f"`memory` is {memory}; the sweep takes at least {taken} bytes on a device."
            )
        width = min(width - 1, max(1, width * memory // taken))


def _padded(count: int, multiple: int) -> np.ndarray:
    """Return the lanes 0, 1, ..., and the last one repeated up to a multiple."""
    return np.minimum(np.arange(math.ceil(count / multiple) * multiple), count - 1)


def _lanes(axes: _Lanes, zipped: bool, index: np.ndarray) -> _Lanes:
    """Return the values at lanes; the last axis of a product varies the fastest."""
    if zipped:
        return {name: axis[index] for name, axis in axes.items()}
    places = np.unravel_index(index, [len(axis) for axis in axes.values()])
    return {name: axes[name][place] for name, place in zip(axes, places, strict=True)}


def _checked_axes(grid: Mapping[str, _Axis], zipped: bool) -> _Lanes:
    # NumPy arrays unless traced: an array of JAX would be on a device of one process.
    if not isinstance(grid, Mapping):
        raise ValueError(
            f"`grid` is {shown(grid)}; it must be a dict from names to values, as "
            "{'lr': jnp.array([0.1, 0.2])}."
        )
    if not grid:
        raise ValueError("`grid` has no axes; it needs a name with at least one value.")
    axes = {name: _checked_axis(name, values) for name, values in grid.items()}
    lengths = {name: len(axis) for name, axis in axes.items()}
    if zipped and len(set(lengths.values())) > 1:
        raise ValueError(f"The axes of a zipped `grid` have lengths {lengths}; all must be equal.")
    return axes


def _checked_axis(name: str, values: _Axis) -> Array | np.ndarray:
    if isinstance(values, Tracer):
        axis = jnp.asarray(values)
    else:
        given = np.asarray(values)
        if given.size and given.dtype.kind not in "fiub":
            raise ValueError(f"grid[{name!r}] has dtype {given.dtype}; it must hold real numbers.")
        axis = given.astype(jax.dtypes.canonicalize_dtype(given.dtype))
        if given.dtype.kind in "iu" and np.any(axis != given):
            raise ValueError(
                f"grid[{name!r}] has values beyond {axis.dtype}; give them as a NumPy array of "
                "uint32, or switch jax_enable_x64 on."
            )
    if axis.ndim != 1 or not len(axis):
        raise ValueError(
            f"grid[{name!r}] has shape {axis.shape}; it must be one axis of at least one value."
        )
    return axis


def _checked_mesh(mesh: Mesh) -> Mesh:
    if not mesh.axis_names:
        raise ValueError("`mesh` has no axis; it needs one, as in jax.make_mesh((8,), ('sweep',)).")
    # Auto axes, so that results outside of shard_map are sliced like any other array.
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))
