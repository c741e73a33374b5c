import numpy as np
import pytest


@pytest.fixture
def diverge():
    """Let a run or a flow of a made-up cell diverge, as tracking would mark it."""
    return _diverge


def _diverge(cell, seed, step, flow=None):
    """As tracking does it: marked from the step on, NaN, and no improvement."""
    after = cell.step >= step
    where = {"seed": seed} if flow is None else {"seed": seed, "flow": flow}
    mark = "diverged_at" if flow is None else "flow_diverged_at"
    cell[mark].loc[where] = np.where(after, step, -1)
    for name in ("distance", "loss_error") if flow else ("distance", "loss", "floor"):
        cell[name].loc[where] = cell[name].loc[where].where(~after)
    cell["improvement"].loc[where] = np.nan
