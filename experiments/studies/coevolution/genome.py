"""Architectures as data: a multilayer perceptron whose shape is an argument of one program.

A genome chooses depth, width, activation, norm, residual connections, the scale of the initial
weights and a factor on the outputs. All networks have the arrays of the largest: a layer is

    h <- m * act(norm(h W + b)) + residual * h        for layers up to the depth, and h <- h beyond,

with a mask m of ones for the units up to the width. Weights of the padding start at 0 and have no
gradient, so that an optimizer which leaves a parameter without gradient where it is, or maps zero
rows and columns of a matrix to zeros, trains the padded network as it would the small one.

Every activation is a case of c + d z + e relu(z) + (f + g z) tanh(a z + b z^3), which takes one
tanh; a `lax.switch` under vmap would compute all of them. The norms have no parameters.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from experiments.studies.lanes import Numbers

GELU = (2 / np.pi) ** 0.5

# name -> (a, b, c, d, e, f, g)
ACTIVATIONS = {
    "tanh": (1, 0, 0, 0, 0, 1, 0),
    "relu": (0, 0, 0, 0, 1, 0, 0),
    "gelu": (GELU, 0.044715 * GELU, 0, 0.5, 0, 0, 0.5),
    "sigmoid": (0.5, 0, 0.5, 0, 0, 0.5, 0),
    "linear": (0, 0, 0, 1, 0, 0, 0),
}
# name -> switches (1 or 0) of subtracting the mean, and of dividing by the root mean square
NORMS = {"none": (0, 0), "LayerNorm": (1, 1), "RMSNorm": (0, 1)}
NORM_EPS = 1e-5

DEPTH, WIDTH = 4, 64  # of the largest network
ALLELES: Mapping[str, tuple] = {
    "depth": (1, 2, 3, DEPTH),
    "width": (8, 16, 32, WIDTH),
    "activation": tuple(ACTIVATIONS),
    "norm": tuple(NORMS),
    "residual": (0, 1),
    "gain": (0.3, 1.0, 3.0),
    "multiplier": (0.1, 1.0, 10.0),
}


class Genome(NamedTuple):
    """An architecture, or many along leading axes.

    Attributes:
        depth: hidden layers, from 1 to 4.
        width: units of each, from 1 to 64.
        activation: coefficients of `ACTIVATIONS`.
        norm: switches of `NORMS`, applied before the activation.
        residual: 1 if each hidden layer but the first is added to its input, 0 if not.
        gain: standard deviation of the weights in units of `1 / sqrt(fan_in)`.
        multiplier: factor on the outputs of the last layer.
    """

    depth: Int[Numbers, "*many"]
    width: Int[Numbers, "*many"]
    activation: Float[Numbers, "*many 7"]
    norm: Float[Numbers, "*many 2"]
    residual: Float[Numbers, "*many"]
    gain: Float[Numbers, "*many"]
    multiplier: Float[Numbers, "*many"]


def drawn(count: int, seed: int) -> dict[str, np.ndarray]:
    """Draw architectures: gene -> allele of each.

    Every allele of a gene comes equally often, up to one, in an order that is random and
    independent from gene to gene.
    """
    rng = np.random.default_rng(seed)
    repeated = {
        gene: np.resize(rng.permutation(len(alleles)), count) for gene, alleles in ALLELES.items()
    }
    return {
        gene: np.asarray(ALLELES[gene])[rng.permutation(indices)]
        for gene, indices in repeated.items()
    }


def encoded(alleles: Mapping[str, np.ndarray]) -> Genome:
    """Turn drawn alleles into the arrays that the network takes."""
    floats = {
        "activation": [ACTIVATIONS[name] for name in alleles["activation"]],
        "norm": [NORMS[name] for name in alleles["norm"]],
        **{gene: alleles[gene] for gene in ("residual", "gain", "multiplier")},
    }
    return Genome(
        jnp.asarray(alleles["depth"]),
        jnp.asarray(alleles["width"]),
        **{gene: jnp.asarray(values, jnp.float32) for gene, values in floats.items()},
    )


def initialized(
    genome: Genome, key: Key[Array, ""], inputs: int, outputs: int, depth=DEPTH, width=WIDTH
) -> PyTree[Array]:
    """Draw the weights of one network, from N(0, gain^2 / fan_in); biases start at 0.

    Args:
        genome: the architecture.
        key: of the weights.
        inputs: features of a sample.
        outputs: of the network.
        depth: hidden layers that there is room for, at least those of the genome.
        width: units of a layer that there is room for, at least those of the genome.
    """
    units = mask(genome, width).astype(jnp.float32)
    hidden, fan_in, rows = [], jnp.asarray(inputs), jnp.ones(inputs)
    keys = jax.random.split(key, depth + 1)
    for layer in range(depth):
        exists = (layer < genome.depth) * rows[:, None] * units
        kernel = _normal(keys[layer], (len(rows), width), genome.gain, fan_in) * exists
        hidden.append({"kernel": kernel, "bias": jnp.zeros(width)})
        fan_in, rows = genome.width, units
    kernel = _normal(keys[depth], (width, outputs), genome.gain, fan_in)
    head = {"kernel": kernel * units[:, None], "bias": jnp.zeros(outputs)}
    return {"hidden": hidden, "head": head}


def mask(genome: Genome, width: int) -> Bool[Array, " {width}"]:
    """Return True for the units of a padded layer that are the network's."""
    return jnp.arange(width) < genome.width


def applied(
    params: PyTree[Array], genome: Genome, inputs: Float[Array, "samples inputs"]
) -> Float[Array, "samples outputs"]:
    """Return the outputs of one network."""
    units = mask(genome, params["hidden"][0]["bias"].size)
    a, b, c, d, e, f, g = genome.activation
    centred, scaled = genome.norm

    def layer(h, kernel, bias):
        # Zeros in the padding stop gradients too, which the mean would pass on to its weights.
        z = jnp.where(units, h @ kernel + bias, 0)
        z = z - centred * jnp.sum(z, axis=-1, keepdims=True) / genome.width
        square = jnp.sum(jnp.where(units, z * z, 0), axis=-1, keepdims=True) / genome.width
        z = jnp.where(scaled > 0, z * jax.lax.rsqrt(square + NORM_EPS), z)
        bent = (f + g * z) * jnp.tanh(z * (a + b * z * z))
        return jnp.where(units, c + d * z + e * jax.nn.relu(z) + bent, 0)

    h = inputs
    for index, weights in enumerate(params["hidden"]):
        after = layer(h, **weights)
        if index == 0:  # there always is a first layer, and its input has another width
            h = after
        else:
            h = jnp.where(index < genome.depth, after + genome.residual * h, h)
    return genome.multiplier * (h @ params["head"]["kernel"] + params["head"]["bias"])


def _normal(key, shape, gain, fan_in):
    return jax.random.normal(key, shape) * gain / jnp.sqrt(fan_in)
