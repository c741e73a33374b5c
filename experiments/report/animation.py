"""An animation of a run on the plane of its leading modes, for slides.

Each frame is a step: the last iterates, the rod between the newest two, the path of its centre and
the stable flow. It begins before the first burst of the oscillation.
"""

import io
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from experiments.analysis import paths
from experiments.analysis.style import STYLE, style
from experiments.report.figures import title_plane

FRAMES = 100
TRAIL = 14  # iterates that are still seen
MILLISECONDS = 60  # of a frame
COLORS = 64
LARGE: dict[Any, Any] = {"font.size": 11, "legend.fontsize": 11, "axes.titlesize": 12}


def gif(results: xr.Dataset) -> bytes:
    """Draw a run of which paths were recorded; of several seeds, the first is drawn."""
    run = results.isel(seed=0) if "seed" in results.dims else results
    shown = paths.first_burst(run.path.values, FRAMES)
    steps, iterates = run.time.values[shown], run.path.values[shown]
    center, stable = (run.flow_path.sel(flow=name).values[shown] for name in ("rod", "stable"))
    half = run.rod_path.sel(flow="rod").values[shown]
    ends = np.stack([center + half, center - half])
    with mpl.rc_context(STYLE | LARGE):
        figure = Figure(figsize=(6, 4.8), layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots()
        looks = {name: style(name) for name in ("rod", "stable")}
        (still,) = axes.plot([], [], color=looks["stable"].color, linewidth=2, linestyle="--")
        (path,) = axes.plot([], [], color=looks["rod"].color, linewidth=1, alpha=0.5)
        (trail,) = axes.plot([], [], color="#000000", linewidth=0.5, alpha=0.4, marker="o")
        (rod,) = axes.plot([], [], color=looks["rod"].color, linewidth=3)
        (middle,) = axes.plot([], [], color=looks["rod"].color, marker="o", markersize=8)
        (now,) = axes.plot([], [], color="#000000", linestyle="", marker="o", markersize=7)
        trail.set_markersize(3)
        axes.legend([now, still, rod], ["iterates", "stable flow", "rod flow"], loc="upper right")
        everything = np.concatenate([iterates, *ends])
        if np.isfinite(everything).any():
            low, high = np.nanmin(everything, axis=0), np.nanmax(everything, axis=0)
            margin = 0.08 * (high - low) + 1e-12
            axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]))
            axes.set(ylim=(low[1] - margin[1], high[1] + 3 * margin[1]))
        title_plane(axes, run)
        frames = []
        for i, step in enumerate(steps):
            still.set_data(*stable[: i + 1].T)
            path.set_data(*center[: i + 1].T)
            trail.set_data(*iterates[max(0, i - TRAIL) : i + 1].T)
            rod.set_data(*ends[:, i].T)
            middle.set_data(*center[i : i + 1].T)
            now.set_data(*iterates[max(0, i - 1) : i + 1].T)
            axes.set_title(f"step {step}")
            canvas.draw()
            image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
            frames.append(image.quantize(COLORS, Image.Quantize.FASTOCTREE))
            figure.set_layout_engine("none")  # found for the first frame
    content = io.BytesIO()
    options = {"save_all": True, "append_images": frames[1:], "loop": 0, "optimize": True}
    frames[0].save(content, "GIF", duration=MILLISECONDS, **options)
    return content.getvalue()
