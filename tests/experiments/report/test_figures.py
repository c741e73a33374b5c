from io import BytesIO

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from experiments.report import figures


def test_png_is_large_enough_to_print(results):
    image = imread(BytesIO(figures.png(results)), format="png")
    assert image.shape[:2] == (4.8 * 200, 7.2 * 200)


def test_panels_show_what_the_issue_asks_for(results):
    panels = figures.overview(results).axes
    labels = [[str(line.get_label()) for line in panel.lines] for panel in panels]
    assert labels[0] == ["iterates (3-step average)", "stable flow", "rod flow"]
    assert "edge of stability" in labels[1]
    np.testing.assert_array_equal(panels[1].lines[0].get_ydata(), 1.0)
    assert any("floor" in label for label in labels[2])
    assert [panel.get_yscale() for panel in panels[2:]] == ["log", "log"]
    assert {panel.get_xlim() for panel in panels} == {(0.0, 60.0)}


@pytest.mark.parametrize("what", ["no floor", "all nan", "one record"])
def test_draws_whatever_a_run_leaves(results, what):
    if what == "no floor":
        results = results.drop_vars("floor")
    elif what == "all nan":
        results = results.where(results.step < 0)
    else:
        results = results.isel(step=[0])
    assert figures.png(results)


def test_a_run_that_left_no_numbers_says_so(results):
    for shown, texts in ((results, []), (results.where(results.step < 0), [figures.LOST])):
        for panel in figures.overview(shown).axes:
            assert [text.get_text() for text in panel.texts] == texts


def test_all_flows_are_drawn_each_in_its_own_way(cell):
    loss, _, distance, extent = figures.overview(cell).axes
    for panel, flows in ((loss, 3), (distance, 3), (extent, 2)):
        looks = {(line.get_color(), str(line.get_linestyle())) for line in panel.lines}
        labels = [line.get_label() for line in panel.lines]
        assert len(looks) == len(labels)
        assert len([label for label in labels if label in known_labels()]) == flows
    styles = [figures.style(name) for name in (*figures.FLOWS, "unknown")]
    for different in zip(*styles, strict=True):
        assert len({str(value) for value in different}) == len(styles)


def known_labels():
    return {figures.style(name).label for name in figures.FLOWS}


def test_of_several_seeds_the_first_is_drawn_unless_one_is_chosen(cell):
    for chosen, seed in ((cell, 0), (cell.isel(seed=2), 7)):
        distance = figures.overview(chosen).axes[2]
        drawn = next(line for line in distance.lines if line.get_label() == "rod flow")
        expected = cell.distance.sel(seed=seed, flow="rod")
        np.testing.assert_array_equal(drawn.get_ydata(), expected)


def test_the_map_shows_every_cell(cell):
    away = cell.assign_attrs(optimizer="gd")
    away["effective_sharpness"] = away.effective_sharpness / 2
    lost = cell.assign_attrs(problem="mlp").copy(deep=True)
    lost["diverged_at"][:] = 30
    lost["improvement"] *= np.nan
    axes = figures.map_of([cell, away, lost]).axes[0]
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
    first, second = (figures.rendered(figures.map_of([cell]), kind) for _ in range(2))
    assert first == second


def test_black_text_is_legible_on_every_improvement():
    channels = [to_rgb(figures.colour(value)) for value in (0, 0.1, 1, 10, np.inf)]
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
    chosen = figures.latest([on_time, never, nothing], "rod")
    assert chosen["adam"].attrs["problem"] == "never"
    # Of those that are equally late the one that is further away, if it does not diverge.
    rod = cell.flow == "rod"
    further, lost = (
        never.assign(ensemble_distance=cell.distance.where(rod, away * cell.distance)).assign_attrs(
            problem=name
        )
        for name, away in (("further", 2.0), ("lost", np.nan))
    )
    chosen = figures.latest([never, further, lost], never.flow.values[-1])
    assert chosen["adam"].attrs["problem"] == "further"
    third = [f for f in never.flow.values if f not in ("stable", "rod")]
    names = ["covariance_1" if f in third else f for f in never.flow.values]
    named = never.assign_coords(flow=names)
    figure = figures.onset([named])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["never, adam", ""]
