"""The picture of a benchmark: AP against milliseconds."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence

from boir_sdk.errors import ConfigError
from boir_train.benchmark import Point


def check() -> None:
    """Find out whether a plot can be drawn, before a long measurement.

    Raises:
        ConfigError: matplotlib isn't installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("the plot needs matplotlib: pip install matplotlib")


def ap_against_time(points: Sequence[Point], name: str, title: str) -> bytes:
    """Draw one line a model, sizes beside the points, intervals as light bars.

    Args:
        points: timed ones are drawn.
        name: the set of pictures.
        title: above the plot.

    Returns:
        A PNG file's bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for model in dict.fromkeys(point.model for point in points):
        line = sorted(
            (
                (point.timing.median_ms, point.size, point.accuracy[name])
                for point in points
                if point.model == model and point.timing
            ),
            key=lambda entry: entry[0],
        )
        x = [at for at, _, _ in line]
        y = [100 * found.ap for _, _, found in line]
        (drawn,) = axes.plot(x, y, marker="o", label=model)
        # Percentiles of few pictures can lie on one side of the AP.
        below = [max(0.0, 100 * (found.ap - found.low)) for _, _, found in line]
        above = [max(0.0, 100 * (found.high - found.ap)) for _, _, found in line]
        axes.errorbar(x, y, yerr=[below, above], fmt="none", ecolor=drawn.get_color(), alpha=0.25)
        for (_, size, _), at_x, at_y in zip(line, x, y, strict=True):
            axes.annotate(str(size), (at_x, at_y), xytext=(4, -11), textcoords="offset points", fontsize=8)
    axes.set(xlabel="end-to-end time of a picture, ms (median)", ylabel=f"keypoint AP on {name}, %", title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    drawing = io.BytesIO()
    figure.savefig(drawing, format="png")
    return drawing.getvalue()
