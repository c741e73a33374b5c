import pytest
from matplotlib.figure import Figure

from experiments.analysis.style import FLOWS, WIDTH, grid, lettered, page_wide, rendered, style


def test_flows_differ_in_each_part_of_their_style():
    styles = [style(name) for name in (*FLOWS, "unknown")]
    for values in zip(*styles, strict=True):
        assert len({str(value) for value in values}) == len(styles)


def test_a_flow_without_a_style_has_its_name_as_label():
    assert style("unknown").label == "unknown flow"


def test_a_grid_hides_the_panels_that_are_left_over():
    figure, panels = grid(5, 3, height=1.5, margin=0.5, sharex=True)
    assert len(panels) == 5 and len(figure.axes) == 6
    assert [axes.get_visible() for axes in figure.axes] == [True] * 5 + [False]
    assert figure.get_size_inches().tolist() == [WIDTH, 3.5]


def test_panels_are_lettered_in_their_order():
    figure = page_wide(2.0)
    panels = figure.subplots(1, 3)
    lettered(panels, ["first", "second"])
    titles = [axes.get_title() for axes in panels]
    assert titles == ["$\\bf{a}$  first", "$\\bf{b}$  second", ""]


@pytest.mark.parametrize(("kind", "begin"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_files_are_the_same_every_time(kind, begin):
    first, second = (rendered(Figure(layout="constrained"), kind) for _ in range(2))
    assert first == second and first.startswith(begin)
