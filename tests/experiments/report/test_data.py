import json

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


def test_large_variables_are_packed_and_small_ones_are_not(tmp_path):
    waves = np.sin(np.arange(60_000.0)).reshape(3, 4, 5000)
    made = xr.Dataset({"x": (("a", "b", "c"), waves), "y": ("a", [1.5, np.nan, 2.0])})
    path = tmp_path / "x.json"
    path.write_text(data.text(made))
    entries = json.loads(path.read_text())["data_vars"]
    assert entries["y"]["data"] == [1.5, "nan", 2.0] and "data" not in entries["x"]
    assert path.stat().st_size < 4 * waves.size
    xr.testing.assert_allclose(data.load(path), made, rtol=1e-3)


def test_a_number_that_was_edited_is_noticed(tmp_path):
    path = tmp_path / "x.json"
    text = data.text(xr.Dataset({"y": ("a", [1.5, 2.0])}))
    assert "1.5" in text
    path.write_text(text.replace("1.5", "1.6"))
    with pytest.raises(ValueError, match=r"x\.json is not as a command wrote it"):
        data.load(path)
