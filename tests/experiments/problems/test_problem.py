import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import problems
from experiments.configuration.config import load
from experiments.configuration.errors import USER_ERRORS, one_line
from experiments.problems.data.digits import digits
from experiments.setup import optimizers


def test_the_configured_problem_is_the_loss_of_the_network_on_the_data():
    problem = problems.configured(load(["data.size=20", "model.depth=0"]))
    params = jax.jit(problem.init)(jax.random.key(0))
    (layer,) = params["layers"].values()
    inputs, targets = digits(size=20)
    outputs = inputs.reshape(20, 64) @ layer["kernel"] + layer["bias"]
    expected = 0.5 * jnp.mean(jnp.sum((outputs - targets) ** 2, axis=1))
    np.testing.assert_allclose(jax.jit(problem.loss)(params), expected, rtol=1e-6)


def test_chunks_of_the_data_have_the_same_mean():
    whole, accumulated = (
        problems.configured(load(["data.size=20", f"chunks={chunks}"])) for chunks in ("null", 4)
    )
    params = jax.jit(whole.init)(jax.random.key(0))
    of_chunks, of_all = (jax.jit(problem.loss)(params) for problem in (accumulated, whole))
    np.testing.assert_allclose(of_chunks, of_all, rtol=1e-6)
    with pytest.raises(ValueError, match="chunks=3 is no divisor of the 20 samples"):
        problems.configured(load(["data.size=20", "chunks=3"]))


def test_loss_and_initialization_vectorize_over_seeds():
    problem = problems.configured(load(["data.size=20", "loss=cross_entropy"]))
    keys = jax.random.split(jax.random.key(0), 3)

    def first_loss(key):
        return problem.loss(problem.init(key))

    together = jax.jit(jax.vmap(first_loss))(keys)
    apart = list(map(jax.jit(first_loss), keys))
    np.testing.assert_allclose(together, apart, rtol=1e-6)
    assert len(set(map(float, together))) == 3


@pytest.mark.parametrize(
    ("optimizer", "vector"), [("adam", True), ("scalar_rmsprop", True), ("if_shampoo", False)]
)
def test_parameters_are_one_vector_where_the_optimizer_does_not_mind(optimizer, vector):
    config = load(["data.size=20", "model.depth=0", f"optimizer={optimizer}"])
    problem = problems.configured(config)
    compact = problems.compact(problem, optimizers.configured(config.optimizer))
    params = jax.jit(compact.init)(jax.random.key(0))
    assert (len(jax.tree.leaves(params)) == 1) == vector
    apart = jax.jit(lambda key: problem.loss(problem.init(key)))(jax.random.key(0))
    np.testing.assert_allclose(jax.jit(compact.loss)(params), apart, rtol=1e-6)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["model._target_=builtins.dict"], "model._target_=builtins.dict: it must return a Model"),
        (["data._target_=builtins.dict"], "data._target_=builtins.dict: it must return a Dataset"),
        (
            ["model._target_=no.such"],
            "_target_=no.such: it cannot be imported (No module named 'no')",
        ),
        (
            ["data._target_=os.getcwd"],
            "_target_=posix.getcwd: it cannot be called (posix.getcwd() takes no keyword argument",
        ),
        (
            ["model=toy"],
            "model=toy takes no data, but a sample has shape (8, 8, 1); add data=no",
        ),
        (["model=toy", "data=nothing"], "loss=squared_error does not fit the data: model=toy"),
        (["loss=mean_output"], "loss=mean_output does not fit the data: model=toy takes data=no"),
    ],
)
def test_what_does_not_fit_is_refused(overrides, line):
    small = ["data.size=20"] if "data" not in " ".join(overrides) else []
    with pytest.raises(USER_ERRORS) as caught:
        problems.configured(load([*overrides, *small]))
    assert one_line(caught.value).startswith(line)
