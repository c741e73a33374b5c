import numpy as np
import xarray as xr

from experiments.studies.beyond_networks import tables as shown


def results_of(losses):
    """Made-up results of two methods on one problem: final losses -> results."""
    shape = (1, 1, 2, 1, 2)
    curves = np.ones(shape)
    curves[..., 1] = np.reshape(losses, (1, 1, 2, 1))
    dims = ("problem", "regime", "method", "seed", "record")
    return xr.Dataset(
        {
            "loss": (dims, curves),
            "passes": (dims, np.broadcast_to([0.0, 5.0], shape)),
            "gradients": (dims[:4], np.full(shape[:4], 5.0)),
            "losses": (dims[:4], np.zeros(shape[:4])),
            "accuracy": (dims[:4], np.full(shape[:4], 0.5)),
            "learning_rate": (dims[:3], [[[1e-3, 0.1]]]),
            "interior": (dims[:3], [[[1.0, 1.0]]]),
            "searched": (dims[:3], [[[0.0, 8.0]]]),
            "infimum": (dims[:2], [[0.0]]),
        },
        {
            "problem": ["linear"],
            "regime": ["minibatch"],
            "method": ["adam_default", "adam"],
            "seed": [0],
        },
    )


def test_losses_that_cannot_be_told_from_the_infimum_share_a_place():
    assert shown.ranks(results_of([1e-2, 1e-9])).values.ravel().tolist() == [2, 1]
    assert shown.ranks(results_of([1e-13, 0.0])).values.ravel().tolist() == [1.5, 1.5]
    assert shown.ranks(results_of([np.nan, 3.0])).values.ravel().tolist() == [2, 1]


def test_it_can_be_shown():
    results = results_of([1e-2, 1e-9])
    tables = shown.tables(results)
    assert tables[0].rows[0] == ["linear, minibatch", "0.0100", "**1e-9**"]
    findings = " ".join(shown.findings(results))
    assert "Adam, default: mean rank 2.00" in findings
    assert "100 to 100 times its default (0.00100); tuning divides" in findings
    assert set(shown.figures(results)) == {"losses-minibatch", "ranks"}
