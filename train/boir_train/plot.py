"""The picture of a benchmark: AP against milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from boir_sdk.errors import ConfigError
from boir_train.benchmark import Point


def ap_against_time(points: Sequence[Point], name: str, title: str, path: Path) -> None:
    """Draw one line a model, sizes beside the points, intervals as light bars, into a PNG file.

    Raises:
        ConfigError: matplotlib isn't installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("the plot needs matplotlib: pip install matplotlib") from None
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for model in dict.fromkeys(point.model for point in points):
        line = sorted((point for point in points if point.model == model), key=lambda point: point.median_ms)
        x = [point.median_ms for point in line]
        y = [100 * point.ap[name] for point in line]
        (drawn,) = axes.plot(x, y, marker="o", label=model)
        low = [100 * (point.ap[name] - point.interval[name][0]) for point in line]
        high = [100 * (point.interval[name][1] - point.ap[name]) for point in line]
        axes.errorbar(x, y, yerr=[low, high], fmt="none", ecolor=drawn.get_color(), alpha=0.25)
        for point, at_x, at_y in zip(line, x, y, strict=True):
            axes.annotate(str(point.size), (at_x, at_y), xytext=(4, -11), textcoords="offset points", fontsize=8)
    axes.set(xlabel="end-to-end time of a picture, ms (median)", ylabel=f"keypoint AP on {name}, %", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    temporary = path.with_name(f".{path.name}.part")
    figure.savefig(temporary, format="png")
    temporary.replace(path)
