"""The style of all figures: colours, markers and lettered panels.

The colours are Okabe & Ito's palette, which colour-blind readers can tell apart; line styles
distinguish the flows a second time.
"""

from collections.abc import Iterable
from io import BytesIO
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure


class Style(NamedTuple):
    """The look of a flow: on paper and, for plotly, on a page."""

    label: str
    color: str
    linestyle: Any
    dash: str


FLOWS = {
    "stable": Style("stable flow", "#0072B2", (0, (5, 2)), "7px,3px"),
    "corrected": Style("corrected stable flow", "#56B4E9", (0, (6, 1.5, 1, 1.5)), "9px,2px,2px"),
    "rod": Style("rod flow", "#D55E00", "-", "solid"),
    "covariance_1": Style("covariance rod, rank 1", "#CC79A7", (0, (1.5, 1)), "2px,2px"),
    "covariance_4": Style("covariance rod, rank 4", "#009E73", (0, (3, 1, 1, 1)), "dashdot"),
    "rod_one_step": Style("rod flow, one-step", "#882255", (0, (2, 1)), "3px,1px"),
    "rod_at_rest": Style("rod flow from rest", "#AA4499", (0, (4, 1)), "4px,1px"),
    "central": Style("central flow", "#117733", (0, (8, 2)), "8px,2px"),
    "edge": Style("Edge Flow", "#000000", (0, (1, 1)), "1px,1px"),
    "free_energy": Style("free-energy flow", "#8A6D00", (0, (2, 2)), "4px,4px"),
}  # fmt: skip
ITERATES = {"color": "#000000", "linewidth": 3.5, "alpha": 0.35}
LARGEST = {"color": "#000000", "linewidth": 1.1, "zorder": 3}
SECOND = {"color": "#8C8C8C", "linewidth": 0.9}
FURTHER = {"color": "#C4C4C4", "linewidth": 0.7}
FLOOR = {"color": "#7F7F7F", "linewidth": 1.1, "linestyle": ":"}
EDGE = {"color": "#7F7F7F", "linewidth": 0.9, "linestyle": "--"}
COLORS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7")
MARKERS = "osDv^<>P"

STYLE: dict[Any, Any] = {
    "font.size": 8,
    "figure.labelsize": 8,
    "figure.titlesize": 8.5,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,  # TrueType, which journals ask for
}
DPI = 200
WIDTH = 7.2  # inches of a page


def style(flow: str) -> Style:
    """Return the style of a flow; those without a style of their own share one."""
    return FLOWS.get(flow, Style(f"{flow} flow", "#E69F00", "-.", "longdash"))


def page_wide(height: float) -> Figure:
    """Make an empty figure as wide as a page, its height in inches."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def grid(
    count: int, columns: int, height: float, margin: float, **shared: Any
) -> tuple[Figure, list[Axes]]:
    """Make a page-wide figure of `count` panels in rows of `columns`, and hide those left over.

    Args:
        count: number of panels.
        columns: panels in a row.
        height: of a row, in inches.
        margin: further height of the figure, in inches.
        **shared: `sharex` and `sharey`, as in `Figure.subplots`.
    """
    rows = -(-count // columns)
    figure = page_wide(margin + height * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False, **shared).flat)
    for panel in panels[count:]:
        panel.set_visible(False)
    return figure, panels[:count]


def lettered(panels: Iterable[Axes], titles: Iterable[str]) -> None:
    """Title panels, each with a bold letter in front of its title."""
    for letter, panel, title in zip("abcdefghijklmnopqrstuvwxyz", panels, titles, strict=False):
        panel.set_title(f"$\\bf{{{letter}}}$  {title}")


def logarithmic(panels: Iterable[Axes], x: bool = True, y: bool = True) -> None:
    """Make axes of panels logarithmic."""
    for panel in panels:
        if x:
            panel.set_xscale("log")
        if y:
            panel.set_yscale("log")


def rendered(figure: Figure, kind: str) -> bytes:
    """Render a figure as the bytes of a file, the same every time: "png" or "pdf"."""
    content = BytesIO()
    dated = {"CreationDate": None} if kind == "pdf" else None
    with mpl.rc_context(STYLE):
        figure.savefig(content, format=kind, dpi=DPI, metadata=dated)
    figure.set_layout_engine("none")  # the layout is found; in the next format it need not be again
    return content.getvalue()
