"""Losses of a few parameters whose edge of stability can be worked out by hand.

A toy is a model without inputs: its output is its loss (`loss=mean_output`).
"""

from collections.abc import Sequence
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from experiments.configuration.functions import Toy
from experiments.configuration.ranges import at_least
from experiments.problems.models.model import Model


def quartic(w: Float[Array, "2"]) -> Float[Array, ""]:
    """w0^2 / 2 - w0^4 / 4, alternating with w0^2 = 1 - 2 / lr beyond the edge, and w1^2 / 20."""
    return w[0] ** 2 / 2 - w[0] ** 4 / 4 + w[1] ** 2 / 20


def square_root(w: Float[Array, "2"]) -> Float[Array, ""]:
    """(1 + (w0 w1)^2)^1/2, of sharpness w1^2 in its valley w0 = 0 (Ahn et al. 2023, 2212.07469)."""
    return jnp.sqrt(1 + (w[0] * w[1]) ** 2)


def rank_one(w: Float[Array, "6"]) -> Float[Array, ""]:
    """|| u v' - diag(1, 1/2, 1/4) ||^2 / 2 for w = (u, v): a matrix and its best factors."""
    target = jnp.diag(jnp.array([1.0, 0.5, 0.25]))
    return jnp.sum((jnp.outer(w[:3], w[3:]) - target) ** 2) / 2


def valley(w: Float[Array, "2"]) -> Float[Array, ""]:
    """A valley g = (1 + w1^2) w0^2 / 2 and a drive along it: g + h / 100, h = (w1 - 4)^2 / 2."""
    return (1 + w[1] ** 2) * w[0] ** 2 / 2 + (w[1] - 4) ** 2 / 200


def toy(
    input_shape: Sequence[int],
    output_shape: Sequence[int],
    *,
    function: Toy = Toy.valley,
    start: Sequence[float] = (0.01, 2.5),
    spread: Annotated[float, at_least(0)] = 0.001,
) -> Model:
    """Build a toy: parameters near `start`, and for every sample the function of them.

    Args:
        input_shape: of a sample of `data=nothing`, which is not looked at.
        output_shape: of an output, one number.
        function: quartic, square_root, rank_one or valley.
        start: where the parameters begin, on average: 6 numbers for rank_one, 2 for the others.
        spread: standard deviation of the beginning.

    Raises:
        ValueError: There are data, or `start` has another number of numbers than parameters.
    """
    if tuple(input_shape) != (1,) or tuple(output_shape) != (1,):
        raise ValueError(
            f"model=toy takes no data, but a sample has shape {tuple(input_shape)}; "
            "add data=nothing loss=mean_output"
        )
    wanted = 6 if function is Toy.rank_one else 2
    if len(start) != wanted:
        raise ValueError(
            f"model.start={list(start)} has {len(start)} numbers; "
            f"model.function={function.name} has {wanted} parameters"
        )
    center = jnp.asarray(list(start))

    def init(key: Key[Array, ""]) -> Float[Array, " parameters"]:
        return center + spread * jax.random.normal(key, center.shape)

    def apply(params: Float[Array, " parameters"], inputs: Array) -> Array:
        return jnp.broadcast_to(function(params), (len(inputs), *output_shape))

    return Model(init, apply)
