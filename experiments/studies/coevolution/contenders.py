"""Optimizers that a study of architectures compares, each with one number to tune.

All are without weight decay. For `polyak` the number is the largest step; for `cocob`, which has no
learning rate, it is 1 / alpha, the share of a unit step that is bet at first. Muon orthogonalizes
the hidden layers and leaves biases and the last layer to Adam at the same learning rate, as its
authors do. Its factor for the shape of a matrix, sqrt(max(1, outputs / inputs)), is 1 for hidden
layers no wider than the input; for the last layer it would see the shape of the padded matrix.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

import rodflow
from experiments.studies.coevolution.genome import ALLELES, Genome
from experiments.studies.coevolution.rotation import Rotation, orthogonal, padded, rotated

BASIS = 0  # seed of the basis of rotated Adam, the same in all runs

Build = Callable[
    [Float[Array, ""] | float, PyTree[Array], Genome, int], optax.GradientTransformation
]


def _muon(rate):
    def dimensions(params):
        matrix = optax.contrib.MuonDimensionNumbers()
        hidden = [{"kernel": matrix, "bias": None} for _ in params["hidden"]]
        return {"hidden": hidden, "head": {"kernel": None, "bias": None}}

    return optax.contrib.muon(rate, muon_weight_dimension_numbers=dimensions)


def rotations(params: PyTree[Array], genome: Genome) -> PyTree[Rotation]:
    """Choose a rotation of each array of a network that stays within its units."""
    room = params["hidden"][0]["bias"].size
    widths = [width for width in ALLELES["width"] if width <= room]
    chosen = jnp.searchsorted(jnp.asarray(widths), genome.width)
    leaves, structure = jax.tree.flatten(params)

    def matrix(seed, size, of_units):
        # Computed on the host, the same for all lanes, so that the program factorizes nothing.
        if not of_units:
            return jnp.asarray(orthogonal(size, seed), jnp.float32)
        table = [padded(orthogonal(width, seed), room) for width in widths]
        return jnp.asarray(np.stack(table), jnp.float32)[chosen]

    def rotation(index, leaf, of_units):
        sides = enumerate(zip(leaf.shape, of_units, strict=True))
        return Rotation(tuple(matrix((BASIS, index, axis), *side) for axis, side in sides))

    # True for the axes of hidden units.
    first, further = (
        {"bias": (True,), "kernel": (False, True)},
        {"bias": (True,), "kernel": (True,) * 2},
    )
    hidden = [first, *[further] * (len(params["hidden"]) - 1)]
    units = {"hidden": hidden, "head": {"bias": (False,), "kernel": (True, False)}}
    drawn = map(rotation, range(len(leaves)), leaves, structure.flatten_up_to(units))
    return jax.tree.unflatten(structure, drawn)


CONTENDERS: dict[str, Build] = {
    "sgd": lambda rate, *_: optax.sgd(rate),
    "heavy_ball": lambda rate, *_: rodflow.heavy_ball(rate),
    "adam": lambda rate, *_: optax.adam(rate),
    "rmsprop": lambda rate, *_: rodflow.rmsprop(rate),
    "lion": lambda rate, *_: optax.lion(rate, weight_decay=0.0),
    "muon": lambda rate, *_: _muon(rate),
    "radam": lambda rate, *_: optax.radam(rate, threshold=4.0),
    "rf_adamw": lambda rate, params, genome, samples: rodflow.rf_adamw(
        rate, batch_size=samples, weight_decay=0.0
    ),
    "polyak": lambda rate, *_: optax.polyak_sgd(max_learning_rate=rate),
    "cocob": lambda rate, *_: optax.contrib.cocob(alpha=1 / rate),
    "adam_rotated": lambda rate, params, genome, _: rotated(
        optax.adam(rate), rotations(params, genome)
    ),
}
"""Name -> (number to tune, parameters, genome, samples) -> Optax chain."""

CONTROLS = {"adam_rotated": "adam"}
"""Controls, which are no contenders -> the optimizer that each is compared with."""

EDGE = ("sgd", "heavy_ball", "adam", "rmsprop", "radam", "rf_adamw")
"""Optimizers that act on each element and have a linear response, hence an edge of stability."""
