"""Selective state spaces in Flax NNX: Mamba, Gu & Dao 2023 (arXiv 2312.00752).

Each channel `x` of a block drives a linear system of `state` numbers, whose step size `dt`, input
`B` and readout `C` depend on the inputs at the same position (algorithm 2 of the paper):

    h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t,    y_t = C_t h_t + D x_t,    A = -exp(log_rate).

A short causal convolution with silu comes before it, a gate `silu(z)` and a projection after it,
and a shortcut leads around the whole block (figure 3). Everything is smooth, as rod flow asks. The
recurrence is a loop over time, which compiles once whatever the length.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from experiments.configuration.ranges import Positive
from experiments.problems.models.model import Model, from_network
from experiments.problems.models.sequence import SequenceHead, as_sequences, sequence_shape

# Weights from N(0, 1 / fan_in).
kernel_init = nnx.initializers.variance_scaling(1.0, "fan_in", "normal")


def rms_norm(width: int, *, rngs: nnx.Rngs) -> nnx.RMSNorm:
    """Scale each position to mean square 1; the statistics are computed in float32 at least."""
    return nnx.RMSNorm(width, epsilon=1e-5, rngs=rngs)


def selective_scan(
    x: Float[Array, "samples length inner"],
    dt: Float[Array, "samples length inner"],
    rates: Float[Array, "inner state"],
    b: Float[Array, "samples length state"],
    c: Float[Array, "samples length state"],
) -> Float[Array, "samples length inner"]:
    """Return `C_t h_t` with `h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t` from `h = 0`.

    The states are float32 at least, as in the authors' code: errors would add up in them.
    """
    exact = jnp.promote_types(x.dtype, jnp.float32)
    # Time first, and the short axis of the state before the long ones: (length, state, samples, -).
    x, dt, b, c = (jnp.moveaxis(signal.astype(exact), 1, 0) for signal in (x, dt, b, c))
    decay = jnp.exp(dt[:, None] * rates.astype(exact).T[:, None])
    drive = (dt * x)[:, None] * jnp.moveaxis(b, 2, 1)[..., None]

    def step(state: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        decay, drive = at
        state = decay * state + drive
        return state, state

    states = jax.lax.scan(step, jnp.zeros_like(drive[0]), (decay, drive))[1]
    y = jnp.sum(states * jnp.moveaxis(c, 2, 1)[..., None], axis=1)
    return jnp.moveaxis(y, 0, 1)


class CausalConvolution(nnx.Module):
    """A convolution over time of each channel alone; position t sees `size` inputs up to t."""

    def __init__(self, inner: int, size: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(kernel_init(rngs.params(), (size, inner)))
        self.bias = nnx.Param(jnp.zeros(inner))

    def __call__(
        self, inputs: Float[Array, "samples length inner"]
    ) -> Float[Array, "samples length inner"]:
        """Return the weighted sum of the last inputs at each position."""
        kernel = self.kernel[...]
        size, length = kernel.shape[0], inputs.shape[1]
        padded = jnp.pad(inputs, [(0, 0), (size - 1, 0), (0, 0)])
        shifted = (padded[:, i : i + length] * kernel[i] for i in range(size))
        return sum(shifted, self.bias[...])


class Block(nnx.Module):
    """One selective state space between a convolution and a gate.

    Initial values are those of the paper's section 3.6: rates 1, 2, ..., `state` in each channel
    (S4D-Real), step sizes `dt` between 0.001 and 0.1 before the inputs have a say.
    """

    def __init__(self, width: int, *, expansion: int, state: int, kernel: int, rngs: nnx.Rngs):
        inner, rank = expansion * width, math.ceil(width / 16)

        def linear(fan_in: int, fan_out: int) -> nnx.Linear:
            return nnx.Linear(fan_in, fan_out, use_bias=False, kernel_init=kernel_init, rngs=rngs)

        def bias_init(key, shape, dtype):
            low, high = math.log(1e-3), math.log(1e-1)
            dt = jnp.exp(jax.random.uniform(key, shape, dtype, low, high))
            return dt + jnp.log(-jnp.expm1(-dt))  # the inverse of softplus

        self.norm = rms_norm(width, rngs=rngs)
        self.expand = linear(width, 2 * inner)
        self.convolution = CausalConvolution(inner, kernel, rngs=rngs)
        self.select = linear(inner, rank + 2 * state)
        self.step_size = nnx.Linear(
            rank, inner, kernel_init=kernel_init, bias_init=bias_init, rngs=rngs
        )
        rates = jnp.broadcast_to(jnp.arange(1.0, state + 1), (inner, state))
        self.log_rate = nnx.Param(jnp.log(rates))
        self.through = nnx.Param(jnp.ones(inner))
        self.contract = linear(inner, width)
        self.split = (rank, rank + state)

    def __call__(
        self, inputs: Float[Array, "samples length width"]
    ) -> Float[Array, "samples length width"]:
        """Return the sequence after this block."""
        x, z = jnp.split(self.expand(self.norm(inputs)), 2, axis=-1)
        x = jax.nn.silu(self.convolution(x))
        low_rank, b, c = jnp.split(self.select(x), self.split, axis=-1)
        dt = jax.nn.softplus(self.step_size(low_rank))
        y = selective_scan(x, dt, -jnp.exp(self.log_rate[...]), b, c).astype(x.dtype)
        y = y + self.through[...] * x
        return inputs + self.contract(y * jax.nn.silu(z))


class Mamba(nnx.Module):
    """Embedding, blocks, a last normalization, and an affine head at the last positions."""

    def __init__(
        self,
        embedding: nnx.Linear,
        blocks: Sequence[Block],
        norm: nnx.RMSNorm,
        head: SequenceHead,
    ):
        self.embedding = embedding
        self.blocks = nnx.List(blocks)
        self.norm = norm
        self.head = head

    def __call__(self, inputs: Float[Array, "samples *shape"]) -> Float[Array, "samples *outputs"]:
        """Return the outputs at the last positions."""
        hidden = self.embedding(as_sequences(inputs))
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(self.norm(hidden))


def mamba(
    input_shape: Sequence[int],
    output_shape: Sequence[int],
    *,
    width: Positive = 40,
    depth: Positive = 1,
    expansion: Positive = 2,
    state: Positive = 4,
    kernel: Positive = 4,
) -> Model:
    """Build a network of `depth` selective state spaces.

    Args:
        input_shape: `(length, features)`, or that of an image, which is read row by row.
        output_shape: `(outputs,)` or `(positions, outputs)`, see `sequence`.
        width: size of the vector at each position.
        depth: number of blocks.
        expansion: channels inside a block in units of `width`.
        state: numbers in the state of each channel.
        kernel: positions that the convolution inside a block sees.

    Raises:
        ValueError: a shape is not of this kind, or there are more positions than the sequence has.
    """
    length, features = sequence_shape(input_shape)

    def network(rngs: nnx.Rngs) -> Mamba:
        embedding = nnx.Linear(features, width, kernel_init=kernel_init, rngs=rngs)
        sizes = {"expansion": expansion, "state": state, "kernel": kernel}
        blocks = [Block(width, **sizes, rngs=rngs) for _ in range(depth)]
        norm = rms_norm(width, rngs=rngs)
        head = SequenceHead(length, width, output_shape, rngs=rngs)
        return Mamba(embedding, blocks, norm, head)

    return from_network(network)
