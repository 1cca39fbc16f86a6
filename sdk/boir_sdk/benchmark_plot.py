"""Measured times as an SVG: one bar for each number of people, in pieces for what the time went into."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from boir_sdk.benchmark import Result

_COLOURS = {"prepare": "#8d99ae", "dense": "#1f6f8b", "person": "#f28f3b", "finish": "#5c4d7d"}
_LEFT, _BAR, _GAP, _WIDTH, _LABEL = 110, 16, 6, 560, 90
_HEAD = 26


def svg(results: Sequence[Result]) -> str:
    """Draw the medians of all results on one scale.

    Returns:
        An SVG document.
    """
    longest_ms = max(row.stages["total"].median_ms for result in results for row in result.rows)
    parts: list[str] = []
    y = _HEAD + 8
    for result in results:
        y += _HEAD
        parts.append(_text(8, y - 8, title(result), weight="bold"))
        for row in result.rows:
            parts.append(_text(_LEFT - 8, y + _BAR - 4, f"{row.people} people", anchor="end"))
            x = float(_LEFT)
            for stage, colour in _COLOURS.items():
                width = _WIDTH * row.stages[stage].median_ms / longest_ms
                parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>')
                x += width
            parts.append(_text(x + 6, y + _BAR - 4, f"{row.stages['total'].median_ms:.1f} ms"))
            y += _BAR + _GAP
    width, height = _LEFT + _WIDTH + _LABEL, y + 8
    legend = []
    for index, (stage, colour) in enumerate(_COLOURS.items()):
        x = _LEFT + 110 * index
        legend.append(f'<rect x="{x}" y="8" width="12" height="12" fill="{colour}"/>{_text(x + 18, 18, stage)}')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        + "".join([*legend, *parts])
        + "</svg>\n"
    )


def title(result: Result) -> str:
    """Name a setting in one line."""
    threads = "" if result.setting.threads is None else f", {result.setting.threads} threads"
    height, width = result.network
    looks = "" if result.looks == 1 else f", {result.looks} looks"
    return f"{result.setting.model}, size {result.size} ({width} x {height}{looks}), {result.precision}{threads}"


def _text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-weight="{weight}">{escape(words)}</text>'
