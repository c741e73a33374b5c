import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.problems.models.attention import Attention, Block


@pytest.mark.parametrize("causal", [False, True])
def test_attention_written_out(causal):
    layer = Attention(6, 3, causal, rngs=nnx.Rngs(0))
    inputs = np.asarray(jax.random.normal(jax.random.key(1), (2, 4, 6)))
    kernel, out = (np.asarray(x[...]) for x in (layer.projection.kernel, layer.out.kernel))
    query, key, value = np.split(inputs @ kernel, 3, axis=-1)
    expected = np.zeros((2, 4, 6))
    for sample in range(2):
        for head in range(3):
            its = slice(2 * head, 2 * head + 2)
            for position in range(4):
                seen = slice(0, position + 1 if causal else 4)
                scores = key[sample, seen, its] @ query[sample, position, its] / 2**0.5
                weights = np.exp(scores) / np.exp(scores).sum()
                expected[sample, position, its] = weights @ value[sample, seen, its]
    np.testing.assert_allclose(layer(jnp.asarray(inputs)), expected @ out, atol=1e-5)


def test_block_normalizes_first():
    block = Block(4, heads=2, expansion=2, activation=jnp.tanh, causal=False, rngs=nnx.Rngs(0))
    inputs = jax.random.normal(jax.random.key(1), (2, 3, 4))

    def norm(x):
        return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)

    hidden = inputs + block.attention(norm(inputs))
    expanded = jnp.tanh(norm(hidden) @ block.expand.kernel[...])
    expected = hidden + expanded @ block.contract.kernel[...]
    np.testing.assert_allclose(block(inputs), expected, atol=1e-5)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="heads=3 is out of range: it must divide width=4"):
        Attention(4, 3, False, rngs=nnx.Rngs(0))
