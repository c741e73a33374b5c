"""A long short-term memory in Flax NNX: Hochreiter & Schmidhuber 1997, with the forget gate.

With gates `i, f, o` (sigmoid) and a candidate `g` (tanh), each an affine function of `x_t` and
`h_{t-1}`:

    c_t = f * c_{t-1} + i * g,    h_t = o * tanh(c_t).

The forget gate is that of Gers, Schmidhuber & Cummins 2000; its bias starts at 1, so that a memory
lasts some steps at first (Jozefowicz et al. 2015). Everything is smooth, as rod flow asks.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from experiments.configuration.ranges import Positive
from experiments.problems.models.model import Model, from_network
from experiments.problems.models.sequence import SequenceHead, as_sequences, sequence_shape


class LSTMLayer(nnx.Module):
    """One layer of memory cells over a sequence; gates in the order `i, f, g, o`.

    Weights are drawn from `N(0, 1 / fan_in)`.
    """

    def __init__(self, features: int, width: int, *, rngs: nnx.Rngs):
        kernel_init = nnx.initializers.variance_scaling(1.0, "fan_in", "normal")

        def bias_init(key, shape, dtype):
            del key
            return jnp.zeros(shape, dtype).at[width : 2 * width].set(1.0)

        self.inputs = nnx.Linear(
            features, 4 * width, kernel_init=kernel_init, bias_init=bias_init, rngs=rngs
        )
        self.recurrent = nnx.Param(kernel_init(rngs.params(), (width, 4 * width)))

    def __call__(
        self, inputs: Float[Array, "samples length features"]
    ) -> Float[Array, "samples length width"]:
        """Return the outputs `h_t` at all positions."""
        recurrent = self.recurrent[...]
        # What the inputs add to the gates needs no loop.
        driven = jnp.moveaxis(self.inputs(inputs), 1, 0)
        initial = jnp.zeros((inputs.shape[0], recurrent.shape[0]), driven.dtype)

        def step(carry: tuple[Array, Array], drive: Array) -> tuple[tuple[Array, Array], Array]:
            hidden, cell = carry
            i, f, g, o = jnp.split(drive + hidden @ recurrent, 4, axis=-1)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
            return (hidden, cell), hidden

        return jnp.moveaxis(jax.lax.scan(step, (initial, initial), driven)[1], 0, 1)


class LSTM(nnx.Module):
    """Layers of memory cells, and an affine head at the last positions."""

    def __init__(self, layers: Sequence[LSTMLayer], head: SequenceHead):
        self.layers = nnx.List(layers)
        self.head = head

    def __call__(self, inputs: Float[Array, "samples *shape"]) -> Float[Array, "samples *outputs"]:
        """Return the outputs at the last positions."""
        hidden = as_sequences(inputs)
        for layer in self.layers:
            hidden = layer(hidden)
        return self.head(hidden)


def lstm(
    input_shape: Sequence[int],
    output_shape: Sequence[int],
    *,
    width: Positive = 48,
    depth: Positive = 1,
) -> Model:
    """Build a recurrent network with `depth` layers of `width` memory cells.

    Args:
        input_shape: `(length, features)`, or that of an image, which is read row by row.
        output_shape: `(outputs,)` or `(positions, outputs)`, see `sequence`.
        width: memory cells of each layer.
        depth: number of layers.

    Raises:
        ValueError: a shape is not of this kind, or there are more positions than the sequence has.
    """
    length, features = sequence_shape(input_shape)

    def network(rngs: nnx.Rngs) -> LSTM:
        channels = (features, *[width] * (depth - 1))
        layers = [LSTMLayer(fan_in, width, rngs=rngs) for fan_in in channels]
        return LSTM(layers, SequenceHead(length, width, output_shape, rngs=rngs))

    return from_network(network)
