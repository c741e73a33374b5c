import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from experiments.problems.models.image import ImageHead, spatial_shape


def test_spatial_shape():
    assert spatial_shape((8, 6, 3)) == (8, 6)
    assert spatial_shape((40, 1)) == (40,)


@pytest.mark.parametrize("shape", [(64,), (2, 8, 8, 1)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match="is no image: it must be"):
        spatial_shape(shape)


def test_outputs_of_any_shape_in_row_major_order():
    head = ImageHead(4, (3, 2), rngs=nnx.Rngs(0))
    features = jax.random.normal(jax.random.key(0), (5, 4))
    outputs = head(features)
    flat = features @ head.linear.kernel[...]
    assert outputs.shape == (5, 3, 2)
    assert jnp.allclose(outputs[:, 1, 0], flat[:, 2], atol=1e-6)
