import numpy as np
import xarray as xr

from experiments.studies.beyond_networks.measures import measured
from experiments.studies.study import shown_of


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
        {"study": "experiments.studies.beyond_networks.study.BeyondNetworks"},
    )


def test_losses_that_cannot_be_told_from_the_infimum_share_a_place():
    assert measured(results_of([1e-2, 1e-9])).place.values.ravel().tolist() == [2, 1]
    assert measured(results_of([1e-13, 0.0])).place.values.ravel().tolist() == [1.5, 1.5]
    assert measured(results_of([np.nan, 3.0])).place.values.ravel().tolist() == [2, 1]


def test_it_can_be_shown():
    shown = shown_of(results_of([1e-2, 1e-9]))
    assert shown.tables[0].rows[0] == ["linear, minibatch", "0.0100", "**1e-9**"]
    findings = " ".join(shown.findings)
    assert "Adam, default: mean rank 2.00" in findings
    assert "100 to 100 times its default (0.00100); tuning divides" in findings
    losses, ranks = shown.figures().items()
    assert losses[0] == "losses-minibatch" and len(losses[1].axes[0].lines) == 2
    assert ranks[0] == "ranks" and [text.get_text() for text in ranks[1].axes[0].texts] == [
        "2",
        "1",
    ]
