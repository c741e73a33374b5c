"""The block that the two transformers share: attention and a perceptron, each beside a shortcut.

Vaswani et al. 2017 (arXiv 1706.03762), with the normalization before each half rather than after
it: `x + attention(norm(x))`, then `x + perceptron(norm(x))`. Attention is written out in two
products, which compiles quickly; there is no dropout.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

# Weights from N(0, 1 / fan_in).
kernel_init = nnx.initializers.variance_scaling(1.0, "fan_in", "normal")


def layer_norm(width: int, *, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Normalize each position; the statistics are computed in float32 at least."""
    return nnx.LayerNorm(width, epsilon=1e-5, use_fast_variance=False, rngs=rngs)


class Attention(nnx.Module):
    """Scaled dot-product attention of several heads, of each position to all or to earlier ones.

    The projections have no bias: one on the keys would shift all scores of a query alike, which
    the softmax does not see.
    """

    def __init__(self, width: int, heads: int, causal: bool, *, rngs: nnx.Rngs):
        if width % heads:
            raise ValueError(f"heads={heads} is out of range: it must divide width={width}")
        self.projection = nnx.Linear(
            width, 3 * width, use_bias=False, kernel_init=kernel_init, rngs=rngs
        )
        self.out = nnx.Linear(width, width, kernel_init=kernel_init, rngs=rngs)
        self.heads = heads
        self.causal = causal

    def __call__(
        self, inputs: Float[Array, "samples length width"]
    ) -> Float[Array, "samples length width"]:
        """Return a mixture of the values of the positions for each position."""
        samples, length, width = inputs.shape
        projected = self.projection(inputs).reshape(samples, length, 3, self.heads, -1)
        query, key, value = jnp.moveaxis(projected, 2, 0)
        scores = jnp.einsum("sqhd,skhd->shqk", query, key) * query.shape[-1] ** -0.5
        exact = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
        if self.causal:
            earlier = jnp.tril(jnp.ones((length, length), bool))
            exact = jnp.where(earlier, exact, jnp.finfo(exact.dtype).min)
        weights = jax.nn.softmax(exact).astype(scores.dtype)
        mixed = jnp.einsum("shqk,skhd->sqhd", weights, value)
        return self.out(mixed.reshape(samples, length, width))


class Block(nnx.Module):
    """Attention between the positions, then a perceptron at each of them."""

    def __init__(
        self,
        width: int,
        heads: int,
        expansion: int,
        activation: Callable[[Array], Array],
        causal: bool,
        *,
        rngs: nnx.Rngs,
    ):
        self.norms = nnx.List(layer_norm(width, rngs=rngs) for _ in range(2))
        self.attention = Attention(width, heads, causal, rngs=rngs)
        self.expand = nnx.Linear(width, expansion * width, kernel_init=kernel_init, rngs=rngs)
        self.contract = nnx.Linear(expansion * width, width, kernel_init=kernel_init, rngs=rngs)
        self.activation = activation

    def __call__(
        self, inputs: Float[Array, "samples length width"]
    ) -> Float[Array, "samples length width"]:
        """Return the sequence after this block."""
        hidden = inputs + self.attention(self.norms[0](inputs))
        expanded = self.activation(self.expand(self.norms[1](hidden)))
        return hidden + self.contract(expanded)


class Trunk(nnx.Module):
    """Embedding, learned positions, blocks and a last normalization."""

    def __init__(
        self,
        length: int,
        features: int,
        *,
        width: int,
        depth: int,
        heads: int,
        expansion: int,
        activation: Callable[[Array], Array],
        causal: bool,
        rngs: nnx.Rngs,
    ):
        self.embedding = nnx.Linear(features, width, kernel_init=kernel_init, rngs=rngs)
        # Positions must be told apart from the start, yet leave most to the inputs.
        positions = nnx.initializers.normal(0.1)(rngs.params(), (length, width))
        self.positions = nnx.Param(positions)
        self.blocks = nnx.List(
            Block(width, heads, expansion, activation, causal, rngs=rngs) for _ in range(depth)
        )
        self.norm = layer_norm(width, rngs=rngs)

    def __call__(
        self, inputs: Float[Array, "samples length features"]
    ) -> Float[Array, "samples length width"]:
        """Return features of each position."""
        hidden = self.embedding(inputs) + self.positions[...]
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm(hidden)
