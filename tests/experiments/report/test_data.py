import numpy as np
import pytest
import xarray as xr

from experiments.report import data


def test_a_data_set_is_read_as_it_was_written_with_four_digits(tmp_path):
    made = xr.Dataset(
        {
            "loss": (("arm", "step"), np.array([[1.23456789, np.nan], [np.inf, -2.0]])),
            "count": ((), 123456),
            "learned": ("arm", [True, False]),
        },
        {"arm": ["SGD", "Adam, warmup 20"], "step": [1, 2], "rate": ("step", [1 / 3, 2 / 3])},
        {"study": "experiments.studies.x", "b2": np.float64(0.999), "sizes": np.array([1, 2])},
    )
    path = tmp_path / "x.json"
    path.write_text(data.text(made))
    read = data.load(path)
    expected = made.assign(loss=made.loss.where(made.loss != 1.23456789, 1.235))
    xr.testing.assert_equal(read, expected)
    assert read.learned.dtype == bool and read.loss.dtype == made.loss.dtype
    assert read.attrs == {"study": "experiments.studies.x", "b2": 0.999, "sizes": [1, 2]}


def test_what_json_cannot_hold_exactly_is_refused_as_a_coordinate():
    with pytest.raises(ValueError, match="JSON"):
        data.text(xr.Dataset(coords={"x": [np.nan]}))
