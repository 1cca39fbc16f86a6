"""The model card: the README of a bundle, with the front matter that model hubs read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boir_sdk.manifest import Manifest

_FRONT = """---
license: {licence}
library_name: openvino
pipeline_tag: keypoint-detection
tags: [pose-estimation, multi-person, openvino, boir]
---
"""


def write(manifest: Manifest) -> str:
    """Return the card of a bundle as Markdown.

    Args:
        manifest: the bundle's, complete but for its file list. Provenance keys `description`, `start`, `trained_on`,
            `evaluation`, `limits` and `licence` become sections; the others are listed as they are.
    """
    facts: dict[str, Any] = dict(manifest.provenance)
    licence = str(facts.get("licence", "mit"))
    lines = [_FRONT.format(licence=licence), f"# {manifest.name} {manifest.version}", ""]
    lines += [str(facts.pop("description", f"Multi-person 2D pose estimation, preset `{manifest.preset}`.")), ""]
    for key, title in (
        ("start", "What it started from"),
        ("trained_on", "What it was trained on"),
        ("evaluation", "How good it is"),
        ("limits", "What it is bad at"),
        ("licence", "Licence"),
    ):
        if key in facts:
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
        f"Precisions: {', '.join(manifest.precisions)}; default {manifest.default_precision}.",
        "",
        "## How it was made",
        "",
        *(f"* {key}: {value}" for key, value in sorted(facts.items())),
        "",
    ]
    return "\n".join(lines)


def _section(value: object) -> list[str]:
    """A text as it is; a list as bullets; a table of numbers as rows."""
    if isinstance(value, Mapping):
        return [f"* {key}: {item}" for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [f"* {item}" for item in value]
    return [str(value)]
