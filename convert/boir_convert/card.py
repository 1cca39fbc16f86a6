"""The model card: the README of a bundle, with the front matter that model hubs read (Hugging Face's form)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import yaml

from boir_sdk.errors import ConfigError
from boir_sdk.manifest import Manifest

_TASK = "keypoint-detection"
_TAGS = ("pose-estimation", "human-pose-estimation", "multi-person", "openvino", "boir")
_SECTIONS = (
    ("start", "What it started from"),
    ("trained_on", "What it was trained on"),
    ("evaluation", "How good it is"),
    ("limits", "What it is bad at"),
    ("licence", "Licence"),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Attributes:
        dataset: what it was measured on, in words, such as `COCO val2017, 112 pictures`.
        metric: such as `AP`.
        value: in the metric's usual unit (AP in percent).
        precision: that was measured: `fp32`, `fp16`, `int8`, `pytorch`.
        size: network size, pixels.
        pictures: how many; None if unknown.
        low: lower end of the 95 % interval, or None.
        high: upper end of it, or None.
    """

    dataset: str
    metric: str
    value: float
    precision: str
    size: int
    pictures: int | None = None
    low: float | None = None
    high: float | None = None


def write(manifest: Manifest, figures: Sequence[Figure] = ()) -> str:
    """Return the card of a bundle as Markdown.

    Args:
        manifest: the bundle's; its file list may still be empty. Provenance keys `description`, `start`, `trained_on`,
            `evaluation`, `limits` and `licence` become sections, `metrics` (objects with `Figure`'s keys) figures,
            `datasets` and `base_model` front matter; the others are listed as they are.
        figures: measured since, such as by `boir-convert parity`; they stand before those of the provenance.

    Raises:
        ConfigError: `metrics` in the provenance isn't a list of such objects.
    """
    facts: dict[str, Any] = dict(manifest.provenance)
    known = [*figures, *_from_provenance(facts.pop("metrics", ()))]
    front = front_matter(manifest, known)
    facts.pop("datasets", None), facts.pop("base_model", None)
    lines = ["---", yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip(), "---", ""]
    lines += [f"# {manifest.name} {manifest.version}", ""]
    lines += [str(facts.pop("description", f"Multi-person 2D pose estimation, preset `{manifest.preset}`.")), ""]
    lines += [
        "## What it is for",
        "",
        "Finding people and their keypoints in pictures and video on plain CPUs. It tells where limbs are, not who "
        "somebody is; don't decide about people by it without somebody who looks.",
        "",
    ]
    for key, title in _SECTIONS:
        if key == "evaluation" and (known or key in facts):
            lines += [f"## {title}", "", *_table(known), *_section(facts.pop(key, ())), ""]
        elif key in facts:
            lines += [f"## {title}", "", *_section(facts.pop(key)), ""]
    lines += [
        "## How to run it",
        "",
        "```python",
        "from boir_sdk import PoseEstimator",
        "",
        'poses = PoseEstimator(model="this folder")("people.jpg")',
        "```",
        "",
        f"Keypoints: {manifest.skeleton}. Network sizes ({manifest.fit_rule} side): "
        f"{', '.join(map(str, manifest.sizes))}; default {manifest.default_size}. "
        f"Precisions: {', '.join(manifest.precisions)}; default {manifest.default_precision}. "
        f"People below a score of {manifest.score_threshold:g} are left out by default.",
        "",
        "## How it was made",
        "",
        *(f"* {key}: {_inline(value)}" for key, value in sorted(facts.items())),
        "",
        "Size and SHA-256 of every file stand in `manifest.json`; `boir info` checks them. `selftest.npz` holds a "
        "small picture and the poses it gave where the bundle was built.",
        "",
    ]
    return "\n".join(lines)


def front_matter(manifest: Manifest, figures: Sequence[Figure]) -> dict[str, Any]:
    """Return what model hubs read; `model-index` only where figures are known."""
    facts = manifest.provenance
    front: dict[str, Any] = {
        "license": str(facts.get("licence", "mit")),
        "library_name": "openvino",
        "pipeline_tag": _TASK,
        "tags": [*_TAGS, manifest.preset, manifest.skeleton],
    }
    for key in ("datasets", "base_model"):
        if key in facts:
            front[key] = facts[key]
    if figures:
        front["model-index"] = [{"name": manifest.name, "results": list(_results(figures))}]
    return front


def _results(figures: Sequence[Figure]) -> Iterable[dict[str, Any]]:
    """A data set a result, a figure a metric."""
    for dataset in dict.fromkeys(figure.dataset for figure in figures):
        here = [figure for figure in figures if figure.dataset == dataset]
        yield {
            "task": {"type": _TASK, "name": "Multi-person pose estimation"},
            "dataset": {"type": re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-"), "name": dataset},
            "metrics": [
                {
                    "type": figure.metric.lower(),
                    "value": round(float(figure.value), 4),
                    "name": f"{figure.metric}, {figure.precision}, {figure.size} pixels",
                }
                for figure in here
            ],
        }


def _from_provenance(metrics: object) -> list[Figure]:
    names = {field.name for field in fields(Figure)}
    if not isinstance(metrics, list | tuple):
        raise ConfigError("the provenance's metrics are not a list of objects")
    found = []
    for metric in metrics:
        if not isinstance(metric, Mapping) or not metric.keys() <= names:
            raise ConfigError(f"the provenance's metric {metric!r} has other keys than {', '.join(sorted(names))}")
        try:
            found.append(Figure(**{**metric, "value": float(metric["value"])}))
        except (TypeError, ValueError, KeyError) as error:
            raise ConfigError(f"the provenance's metric {metric!r} is not complete: {error}") from None
    return found


def _table(figures: Sequence[Figure]) -> list[str]:
    if not figures:
        return []
    rows = [
        f"| {one.dataset} | {'' if one.pictures is None else one.pictures} | {one.precision} | {one.size} "
        f"| {one.metric} | {one.value:.1f}{_interval(one)} |"
        for one in figures
    ]
    head = ["| measured on | pictures | precision | size | metric | value |", "| --- | --- | --- | --- | --- | --- |"]
    return [*head, *rows, ""]


def _interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f" ({figure.low:.1f} to {figure.high:.1f})"


def _section(value: object) -> list[str]:
    """A text as it is; a list as bullets; a table of numbers as rows."""
    if isinstance(value, Mapping):
        return [f"* {key}: {item}" for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [f"* {item}" for item in value]
    return [str(value)]


def _inline(value: object) -> str:
    """A fact on one line: a mapping as `key value` pairs, code-like texts set as code."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_inline(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_inline(item) for item in value)
    text = str(value)
    return f"`{text}`" if re.search(r"[\\*_]", text) and " " not in text else text
