"""The published rod flow (rank 1) and its extension to rank 4, beside the signed rod."""

from collections.abc import Iterator

import numpy as np

import rodflow
from experiments.analysis.table import Table
from experiments.benchmarks.tracking import SEEDS, chain, over_seeds

FLOWS = {"stable": rodflow.StableFlow(), "signed": rodflow.RodFlow()} | {
    f"rank {rank}": rodflow.RodFlow(closure=rodflow.CovarianceRod(rank=rank)) for rank in (1, 4)
}


def covariance() -> Iterator[Table | str]:
    """Compare the distances of the rods on the nine optimizers of the papers."""
    rows = []
    for name in rodflow.OPTIMIZERS:
        ratios = distance_ratios(over_seeds(chain(name), FLOWS, twins=0))
        rows.append([name, *(f"{ratio:.1f}" for pair in ratios.values() for ratio in pair)])
        yield f"  {', '.join(rows[-1])}"
    columns = [f"{flow}: {which}" for flow in list(FLOWS)[1:] for which in ("mean", "at the end")]
    title = f"CovarianceRod: median over seeds 0 to {SEEDS - 1} of distance ratios"
    yield Table(title, ["optimizer", *columns], rows)


def distance_ratios(result: rodflow.Tracking) -> dict[str, tuple[float, float]]:
    """Divide the stable flow's distance by that of each other flow, and take medians over seeds.

    Returns:
        By the name of a flow, the ratio of the means over the run, and that at its end.
    """
    distance = {name: np.asarray(flow.distance) for name, flow in result.flows.items()}
    stable = distance.pop("stable")
    return {
        name: (
            float(np.median(stable.mean(-1) / each.mean(-1))),
            float(np.median(stable[:, -1] / each[:, -1])),
        )
        for name, each in distance.items()
    }
