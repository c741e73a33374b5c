import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.configuration.functions import Activation
from experiments.problems.models.resnet import GroupNorm, resnet

SIZES = {"width": 4, "stages": 2, "blocks": 1, "kernel": 3, "stem_stride": 1}


@pytest.fixture
def small():
    return resnet((6, 6, 2), (3,), groups=2, activation=Activation.gelu, **SIZES)


def convolve(images, kernel, stride=1):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        images, kernel, (stride, stride), "SAME", dimension_numbers=layout
    )


def normalize(images, params, groups=2):
    """Group by group and sample by sample, as in figure 2 of Wu & He."""
    normalized = np.array(images, np.float64)
    for sample in normalized:
        for group in np.split(sample, groups, axis=-1):  # views
            group[...] = (group - group.mean()) / np.sqrt(group.var() + 1e-5)
    return jnp.asarray(
        normalized * np.ravel(params["scale"]) + np.ravel(params["bias"]), jnp.float32
    )


def forward(params, images):
    stem = params["stem"]
    hidden = jax.nn.gelu(convolve(images, stem["kernel"]) + stem["bias"].ravel())
    for i in range(2):
        block = params["blocks"][i]
        stride = 2 if i == 1 else 1  # the first block of the second stage
        inner = jax.nn.gelu(
            normalize(convolve(hidden, block["first"]["kernel"], stride), block["norms"][0])
        )
        inner = normalize(convolve(inner, block["second"]["kernel"]), block["norms"][1])
        assert ("shortcut" in block) == (stride == 2)
        if stride == 2:
            hidden = convolve(hidden, block["shortcut"]["kernel"], stride)
        hidden = jax.nn.gelu(hidden + inner)
    head = params["head"]["linear"]
    return hidden.mean((1, 2)) @ head["kernel"] + head["bias"]


def test_outputs(small):
    params = jax.jit(small.init)(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (3, 6, 6, 2))
    expected = forward(params, inputs)
    np.testing.assert_allclose(jax.jit(small.apply)(params, inputs), expected, atol=1e-4)


def test_outputs_do_not_depend_on_the_other_samples(small):
    params = jax.jit(small.init)(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (3, 6, 6, 2))
    others = inputs.at[1:].multiply(100)
    apply = jax.jit(small.apply)
    np.testing.assert_array_equal(apply(params, inputs)[0], apply(params, others)[0])


def test_statistics_are_of_float32():
    # Around 1000, bfloat16 has steps of 4 and float16 overflows when squared.
    inputs = (1000 + jax.random.normal(jax.random.key(0), (2, 5, 6))).astype(jnp.bfloat16)
    norm = GroupNorm(1, 2, 1)
    outputs = norm(inputs)
    exact = np.asarray(inputs, np.float64)
    mean, variance = exact.mean((0, 1)), exact.var((0, 1))
    np.testing.assert_allclose(outputs, (exact - mean) / np.sqrt(variance + 1e-5), atol=0.02)


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="groups=3 is out of range: it must divide width=4"):
        resnet((6, 6, 2), (3,), groups=3, activation=Activation.gelu, **SIZES)
