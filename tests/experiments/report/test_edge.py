from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from experiments.commands.report import main
from experiments.report import edge


@pytest.fixture(scope="module")
def run():
    return edge.run()


def test_the_iterates_and_the_rod_are_held_at_the_edge_and_the_stable_flow_is_not(run):
    def sharpest(w):
        return (1 + w[:, 1].max() ** 2) * edge.LEARNING_RATE / 2

    assert sharpest(run.iterates) < 1.1 and sharpest(run.center) < 1.1
    assert sharpest(run.stable) > 1.5


def test_the_ends_of_the_rod_are_the_iterates(run):
    signs = (-1.0) ** np.arange(edge.DRAWN)[:, None]
    ends = run.center[: edge.DRAWN] + signs * run.extent[: edge.DRAWN]
    error = np.abs(ends - run.iterates[: edge.DRAWN]).max()
    assert error < 0.25 * np.abs(run.iterates[: edge.DRAWN, 0]).max()


@pytest.mark.slow
def test_the_command_draws_1600_pixels_the_same_every_time(run, tmp_path):
    main(["--edge", str(tmp_path / "edge.png")])
    content = (tmp_path / "edge.png").read_bytes()
    assert imread(BytesIO(content), format="png").shape[1] == 1600
    assert len(content) < 250_000
    assert content == edge.png()
