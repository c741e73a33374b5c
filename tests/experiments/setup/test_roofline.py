import jax
import jax.numpy as jnp

from experiments.setup.roofline import (
    Arithmetic,
    arithmetic,
    bound,
    fastest,
    products_alone,
    products_of,
)


def test_arithmetic_is_counted():
    square = jnp.ones((8, 8))
    assert arithmetic(jnp.matmul, square, square) == (2 * 8**3, 0)
    assert arithmetic(lambda x: jnp.tanh(x @ x), square) == (2 * 8**3, 8**2)
    assert Arithmetic(3.0, 2.0).times(4) == (12.0, 8.0)
    assert Arithmetic(3.0, 2.0).seconds(Arithmetic(6.0, 1.0)) == 2.5


def test_the_bound_is_the_time_of_the_arithmetic_at_the_fastest_rates():
    said = bound(Arithmetic(1e11, 1e9), 2.0, Arithmetic(2e11, 2e9))
    assert "are 50 Gflop/s" in said and "takes 1 s" in said and "more than 2.0 times" in said


def test_the_fastest_rates_are_those_of_some_machine():
    rate = fastest(squares=(64, 128), lengths=(256, 512))
    assert 1e6 < rate.products < 1e15 and 1e5 < rate.functions < 1e14


def test_products_are_timed_wherever_they_are():
    square = jnp.eye(8)

    def function(x):
        once = jax.jit(lambda x: x @ x)(x)
        return jax.lax.cond(x[0, 0] > 0, lambda x: jnp.tanh(x) @ x, lambda x: x, once)

    assert 0 < products_alone(function, square) < 1
    assert len(list(products_of(jax.make_jaxpr(function)(square)))) == 2
    assert products_alone(jnp.tanh, square) == 0
