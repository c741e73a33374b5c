import numpy as np
import pytest
from matplotlib.colors import to_rgb

from experiments.analysis import summary
from experiments.analysis.style import rendered
from experiments.analysis.table import Table
from experiments.report import maps


def test_the_map_shows_every_cell(cell):
    away = cell.assign_attrs(optimizer="gd")
    away["effective_sharpness"] = away.effective_sharpness / 2
    lost = cell.assign_attrs(problem="mlp").copy(deep=True)
    lost["diverged_at"][:] = 30
    lost["improvement"] *= np.nan
    axes = maps.map_of(summary.grid([cell, away, lost], "rod")).axes[0]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {
        (1, -0.16): "25.0", (1, 0.22): "(4.0)",
        (0, -0.16): "25.0", (0, 0.22): "(4.0)",
        (1, 0.84): "n/a", (1, 1.22): "(4.0) div.",
    }  # fmt: skip
    assert [bool(patch.get_hatch()) for patch in axes.patches] == [False, True, False]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["gd", "adam"]


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_files_are_the_same_every_time(cell, kind):
    first, second = (rendered(maps.map_of(summary.grid([cell], "rod")), kind) for _ in range(2))
    assert first == second


def test_black_text_is_legible_on_every_improvement():
    channels = [to_rgb(maps.colour(value)) for value in (0, 0.1, 1, 10, np.inf)]
    linear = np.where(
        np.array(channels) <= 0.04045,
        np.array(channels) / 12.92,
        ((np.array(channels) + 0.055) / 1.055) ** 2.4,
    )
    contrast = (linear @ [0.2126, 0.7152, 0.0722] + 0.05) / 0.05  # WCAG 2
    assert (contrast > 4.5).all()


def test_the_latest_onset_is_one_that_never_comes(cell):
    steps = cell.step.values
    leaping = np.where(np.arange(len(steps)) < 3, 1e-6, 1.0)
    flat = np.full(len(steps), 1e-6)

    def with_extents(problem, oscillation, extent):
        shape = ("seed", "flow", "step")
        extents = np.broadcast_to(extent, cell.distance.transpose(*shape).shape)
        seeds = cell.sizes["seed"]
        return cell.assign(
            oscillation=(("seed", "step"), np.stack([oscillation] * seeds)),
            extent=(shape, extents),
            ensemble_distance=cell.distance,
            ensemble_loss_error=cell.loss_error,
            hessians=cell.gradients,
            thirds=cell.gradients,
            flow_effective_sharpness=cell.distance,
        ).assign_attrs(problem=problem, optimizer="adam")

    on_time = with_extents("on time", leaping, leaping)
    never, nothing = with_extents("never", leaping, flat), with_extents("nothing", flat, flat)
    chosen = maps.latest([on_time, never, nothing], "rod")
    assert chosen["adam"].attrs["problem"] == "never"
    # Of those that are equally late the one that is further away, if it does not diverge.
    rod = cell.flow == "rod"
    further, lost = (
        never.assign(ensemble_distance=cell.distance.where(rod, away * cell.distance)).assign_attrs(
            problem=name
        )
        for name, away in (("further", 2.0), ("lost", np.nan))
    )
    chosen = maps.latest([never, further, lost], never.flow.values[-1])
    assert chosen["adam"].attrs["problem"] == "further"
    third = [f for f in never.flow.values if f not in ("stable", "rod")]
    names = ["covariance_1" if f in third else f for f in never.flow.values]
    named = never.assign_coords(flow=names)
    found = {"adam": named}
    for drawn in (found, maps.parted(maps.joined(found))):
        above, below = maps.onset(drawn).axes
        assert above.get_title(loc="left") == "never, adam"
        rod = named.extent.sel(flow="rod").isel(seed=0)
        np.testing.assert_array_equal(below.lines[1].get_ydata(), rod)


def test_models_are_drawn_where_they_have_a_distance():
    rows = [["mlp, gd", 40.0, 4.0], ["mlp, adam", "diverged", 2.0], ["vit, gd", None, 1]]
    axes = maps.models(Table("Distances", ["", "stable", "rod"], rows)).axes[0]
    drawn = [line.get_xdata() for line in axes.lines[:2]]
    np.testing.assert_array_equal(drawn, [[40, np.nan, np.nan], [4, 2, 1]])
    assert [label.get_text() for label in axes.get_yticklabels()] == [row[0] for row in rows]
