import numpy as np
import pytest

import rodflow
from experiments.benchmarks.double_precision import COLUMNS, MODELS, cases, table


@pytest.mark.parametrize("name", list(cases()))
def test_models_that_do_not_apply_are_models(name):
    assert set(cases()[name].without) <= set(MODELS)


def test_a_row_has_means_ends_and_the_time_on_top_of_the_iterates():
    steps, ones = np.array([10, 20, 30]), np.ones(3)

    def flow(extent, work):
        distances, ensemble = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 9.0])
        counts = [work * ones, 0 * ones, 2 * ones]
        lost = -np.ones(3)
        return rodflow.FlowTracking(
            distances, ones, ones, np.array(extent), *counts, ensemble, ones / 8, None, lost
        )

    flows = {"rod": flow([1e-6, 1e-4, 1e-2], 4.0), "stable": flow([0.0, 0.0, 0.0], 6.0)}
    oscillation, floor = np.array([1e-6, 1e-6, 1e-3]), np.array([1e-4, 2e-4, 6e-4])
    shared = (ones, ones, oscillation, ones, floor, None, -ones)
    seconds = {"iterates": 2.0, "rod": 12.0, "stable": 3.0}
    found = table("gd(.2)", rodflow.Tracking(steps, *shared, flows), seconds)
    assert found.title == (
        "gd(.2): floor 0.0003 in the mean, 0.0006 at the end; oscillation from step 30"
    )
    assert found.columns == COLUMNS
    shared = ["2.00", "5.00", "9.00", "0.125"]
    assert found.texts() == [
        ["rod", *shared, "20", "4.00", "0", "2.00", "5.00"],
        ["stable", *shared, "", "6.00", "0", "2.00", "0.500"],
    ]
