import numpy as np
import pytest
import xarray as xr

from experiments.studies.root_free import measures
from experiments.studies.root_free.training import Outcome
from experiments.studies.study import shown_of

METHODS = list(measures.LABELS)


@pytest.fixture
def results():
    """Made-up results: root-free methods are better, bfloat16 costs a tenth or half of the loss."""
    runs, draws = ("model", "method", "seed"), ("model", "method", "configuration")
    better = np.array([0.02 * name.startswith("rf") for name in METHODS])[None, :, None]
    values = {"accuracy": 0.9 + better + np.array([0, 0.001, 0.002]), "loss": np.full(3, 0.5)}
    whole = xr.Dataset(coords={"model": ["cnn"], "method": METHODS, "seed": [0, 1, 2]})
    for prefix, factor in (("", 1.0), ("half_", 1.1), ("bare_half_", 1.5)):
        for name in Outcome._fields:
            kind = values[name.rpartition("_")[2]] * (factor if "loss" in name else 1)
            whole[prefix + name] = (runs, np.broadcast_to(kind, (1, 6, 3)))
    whole["drawn_learning_rate"] = (draws, np.full((1, 6, 2), 0.125))
    whole["best"] = (runs[:2], np.ones((1, 6), int))
    curves = np.array([3.0, 1.0, 2.0])[None, None, :, None]
    whole["scaling_loss"] = (
        ("scaled", "batch_size", "rung", "scaling_seed"),
        np.broadcast_to(curves, (2, 2, 3, 1)),
    )
    whole["scaling_rate"] = (("scaled", "rung"), np.full((2, 1), 1) * [0.1, 1.0, 10.0])
    for name, value in (("sharpness", 1.0), ("stable_distance", 6.0), ("rod_distance", 2.0)):
        whole[name] = (("method", "time"), np.full((6, 4), value))
    single = np.full((6, 5), 0.25)
    single[METHODS.index("if_shampoo")] = np.nan
    whole["single_sharpness"] = (("method", "coordinate"), single)
    whole["edge_rate"] = ("method", np.full(6, 0.5))
    whole["quadratic_sharpness"] = (("scaled", "curvature"), np.ones((2, 2)))
    whole["quadratic_loss"] = (("scaled", "curvature"), np.array([[1.0, 100.0], [1.0, 1.0]]))
    whole["quadratic_rate"] = 0.05
    whole["first_update"] = (("method", "bin"), np.ones((6, 2)))
    whole["alike"] = ("method", [0.0, 1.0, 0.0, 1.0, 0.0, 0.0])
    whole["step_seconds"] = ("method", [1.0, 2.0, 2.0, 2.0, 2.0, 8.0])
    return whole.assign_coords(
        scaled=["rmsprop", "rf_rmsprop"],
        batch_size=[4, 16],
        curvature=[0.1, 10.0],
        bin=[-0.05, 0.05],
        time=[10, 20, 30, 40],
        scaling_seed=[0],
    ).assign_attrs(study="experiments.studies.root_free.study.RootFree")


def test_the_findings_say_what_the_numbers_do(results):
    said = " ".join(shown_of(results).findings)
    assert "RF-AdamW 2.0 [2.0, 2.0]; without the root 2.0 [2.0, 2.0] (better" in said
    assert "IF-Shampoo in bfloat16 is 1.10 times that in float32, not within 5 %; where" in said
    assert "is not compensated, 1.50 times." in said
    assert "RMSProp B^0.00 (expected 0.5), RF-RMSProp B^0.00 (expected 1)" in said
    assert "sign descent (more than 90 % of the coordinates move equally far) for AdamW" in said
    assert "the losses of the coordinates differ by 100." in said
    assert "IF-Shampoo takes 4.00 times as long as one of AdamW (within 5)" in said


def test_it_can_be_shown(results):
    shown = shown_of(results)
    tables = shown.tables
    assert [len(table.rows) for table in tables] == [6, 6, 2, 6, 6]
    assert all(len(row) == len(table.columns) for table in tables for row in table.rows)
    assert tables[1].rows[0][1:3] == ["1.10", "1.50"]
    assert tables[3].rows[0][3] == "3.00"  # the improvement of the rod flow
    panels = {name: len(figure.axes) for name, figure in shown.figures().items()}
    assert panels == {"accuracy": 1, "batch-size": 3, "edge": 4, "first-step": 6}
