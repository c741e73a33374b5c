from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.coevolution import genome as genomes

INPUTS = jnp.asarray(np.random.default_rng(0).normal(size=(7, 5)), jnp.float32)
FUNCTIONS = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "sigmoid": jax.nn.sigmoid,
    "linear": lambda z: z,
}


def one(**alleles):
    chosen = {
        "depth": 2,
        "width": 8,
        "activation": "tanh",
        "norm": "none",
        "residual": 0,
        "gain": 1.0,
        "multiplier": 1.0,
    } | alleles
    coded = genomes.encoded({gene: np.array([value]) for gene, value in chosen.items()})
    return chosen, jax.tree.map(lambda x: x[0], coded)


def sliced(params, depth, width):
    """The weights of a network without the padding."""
    hidden = [
        {
            "kernel": layer["kernel"][: 5 if index == 0 else width, :width],
            "bias": layer["bias"][:width],
        }
        for index, layer in enumerate(params["hidden"][:depth])
    ]
    return {"hidden": hidden, "head": params["head"] | {"kernel": params["head"]["kernel"][:width]}}


def network(params, alleles, inputs):
    """The oracle: a plain network of the size that it says."""
    h = inputs
    for index, weights in enumerate(params["hidden"]):
        z = h @ weights["kernel"] + weights["bias"]
        if alleles["norm"] == "LayerNorm":
            z = (z - z.mean(1, keepdims=True)) / jnp.sqrt(z.var(1, keepdims=True) + 1e-5)
        if alleles["norm"] == "RMSNorm":
            z = z / jnp.sqrt((z**2).mean(1, keepdims=True) + 1e-5)
        after = FUNCTIONS[alleles["activation"]](z)
        h = after + alleles["residual"] * h if index else after
    return alleles["multiplier"] * (h @ params["head"]["kernel"] + params["head"]["bias"])


def perturbed(params):
    """Biases that are not 0 in the network, so that the norms see them, but are in the padding."""
    width = int((params["hidden"][0]["kernel"] != 0).any(0).sum())
    for index, layer in enumerate(params["hidden"]):
        exists = (layer["kernel"] != 0).any() * (jnp.arange(layer["bias"].size) < width)
        layer["bias"] = 0.1 * (index + 1) * exists
    return params


@pytest.fixture(scope="module")
def padded_network():
    return jax.jit(genomes.applied)


@pytest.mark.parametrize("activation,norm", [*product(genomes.ACTIVATIONS, genomes.NORMS)])
@pytest.mark.parametrize("residual", [0, 1])
def test_a_padded_network_is_the_small_one(padded_network, activation, norm, residual):
    alleles, genome = one(activation=activation, norm=norm, residual=residual, multiplier=0.1)
    params = perturbed(genomes.initialized(genome, jax.random.key(0), 5, 3, depth=3, width=16))
    expected = network(sliced(params, 2, 8), alleles, INPUTS)
    np.testing.assert_allclose(
        padded_network(params, genome, INPUTS), expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("activation,norm", [("sigmoid", "LayerNorm"), ("gelu", "none")])
def test_the_padding_is_zero_and_has_no_gradient(activation, norm):
    _, genome = one(activation=activation, norm=norm, residual=1)
    params = genomes.initialized(genome, jax.random.key(0), 5, 3, depth=3, width=16)

    def loss(params):
        return jnp.mean(jnp.exp(genomes.applied(params, genome, INPUTS)))

    for tree in (params, jax.jit(jax.grad(loss))(params)):
        inside = jax.tree.map(jnp.sum, jax.tree.map(abs, sliced(tree, 2, 8)))
        whole = jax.tree.map(jnp.sum, jax.tree.map(abs, tree))
        total = float(sum(jax.tree.leaves(whole)))
        assert float(sum(jax.tree.leaves(inside))) == pytest.approx(total, rel=1e-6)
        assert not tree["hidden"][2]["kernel"].any() and tree["hidden"][1]["kernel"].any()


def test_initial_weights_have_the_scale_of_the_gene():
    _, genome = one(width=64, gain=3.0, depth=2)
    params = genomes.initialized(genome, jax.random.key(0), 5, 3, depth=2)
    kernel = params["hidden"][1]["kernel"]
    assert kernel.std() == pytest.approx(3 / 8, rel=0.05)


def test_alleles_come_equally_often():
    drawn = genomes.drawn(60, seed=1)
    for gene, alleles in genomes.ALLELES.items():
        _, counts = np.unique(drawn[gene], return_counts=True)
        assert len(counts) == len(alleles) and set(counts) == {60 // len(alleles)}
