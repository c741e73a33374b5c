import numpy as np
import pytest
import xarray as xr

from experiments.studies.root_free import measures


def test_the_exponent_of_the_best_rate_is_that_of_the_law():
    rates = np.geomspace(1e-3, 1, 16)
    sizes = np.array([4, 16, 64])
    losses = [
        np.exp((np.log(rates) - np.log(3e-3 * size**power)) ** 2)[:, None]
        for power in (0.5, 1.0)
        for size in sizes
    ]
    results = xr.Dataset(
        {
            "scaling_loss": (
                ("scaled", "batch_size", "rung", "scaling_seed"),
                np.reshape(losses, (2, 3, 16, 1)),
            ),
            "scaling_rate": (("scaled", "rung"), [rates, rates]),
        },
        {"scaled": ["rmsprop", "rf_rmsprop"], "batch_size": sizes, "scaling_seed": [0]},
    )
    for method, power in measures.EXPONENTS.items():
        best = measures.best_rates(results.sel(scaled=method))
        assert best.exponent == pytest.approx(power, abs=1e-3)
        np.testing.assert_allclose(best.rates, 3e-3 * sizes**power, rtol=1e-3)
        assert best.interior.all()


def test_a_best_rate_at_an_end_is_the_end():
    losses = np.array([1.0, 2.0, 3.0])[None, :, None]
    results = xr.Dataset(
        {
            "scaling_loss": (("batch_size", "rung", "scaling_seed"), losses.repeat(2, axis=0)),
            "scaling_rate": ("rung", [0.1, 1.0, 10.0]),
        },
        {"batch_size": [4, 16], "scaling_seed": [0]},
    )
    best = measures.best_rates(results)
    np.testing.assert_allclose(best.rates, 0.1)
    assert not best.interior.any()
