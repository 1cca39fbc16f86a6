"""The parity report for people: a Markdown page, and overlays of the pictures that changed most."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from boir_convert import card
from boir_sdk.draw import draw
from boir_sdk.errors import InputError
from boir_sdk.manifest import Manifest
from boir_sdk.poses import Poses

NAME = "parity/README.md"  # in the bundle; there is always one, so a new report takes the place of the old pictures

_SIDE_HEIGHT = 360  # pixels of a picture in an overlay; larger ones are scaled down
_QUALITY = 85  # of its JPEG
_STRIP = 26  # pixels over each side for its title
_NAMES = {"pytorch": "PyTorch", "fp32": "FP32", "fp16": "FP16", "int8": "INT8"}


def dumped(report: Mapping[str, Any]) -> bytes:
    """The content of `parity.json`."""
    return (json.dumps(report, indent=1, allow_nan=False, default=str) + "\n").encode()


def model_card(manifest: Manifest, report: Mapping[str, Any]) -> str:
    """The bundle's `README.md` with the measured figures of its own precisions and of the checkpoint."""
    protocol = report["protocol"]
    figures = []
    for name, part in report["precisions"].items():
        if part["from"] == "built for this":
            continue
        for metric in ("AP", "AR"):
            low, high = (100 * bound for bound in part["interval_95"]) if metric == "AP" else (None, None)
            figures.append(
                card.Figure(
                    dataset=f"{protocol['annotations']} ({protocol['people']} people)",
                    metric=metric,
                    value=round(100 * part[metric], 2),
                    precision=name,
                    size=protocol["size"],
                    pictures=protocol["images"],
                    low=low and round(low, 2),
                    high=high and round(high, 2),
                )
            )
    return card.write(manifest, figures)


def page(report: Mapping[str, Any]) -> str:
    """The content of the page: what `boir_convert.parity` measured, in tables and pictures."""
    bundle, protocol, parts = report["bundle"], report["protocol"], report["precisions"]
    lines = [
        f"# Parity of {bundle['name']} {bundle['version']}",
        "",
        f"The same {protocol['images']} annotated pictures ({protocol['people']} people; {protocol['dataset']} "
        f"protocol, no flip test, network size {protocol['size']}) through the PyTorch checkpoint and through the "
        "graphs made from it, by one code path. AP and AR in per cent. Intervals are 95 %, by a bootstrap over "
        "pictures; those of differences draw the same pictures for both sides.",
        "",
        "## Accuracy",
        "",
        *_table(["", "computed in", *_measures(parts), "AP against PyTorch"], _accuracy(parts)),
        "",
        "## Agreement with PyTorch",
        "",
        f"People scored {protocol['agreement_score_threshold']:g} or more on either side, matched when their OKS is "
        f"{protocol['agreement_oks']:g} or more. Distances are of joints that both sides score "
        f"{protocol['agreement_keypoint_threshold']:g} or more, in pixels of the picture. Near the threshold are "
        "unmatched people whom the other side finds too, but scores below it.",
        "",
        *_table(
            [
                *("", "people PyTorch / here", "matched", "near the threshold", "mean OKS"),
                *("score: mean, 95 %, max", "bias of score", "pixels: median, mean, 95 %, max"),
            ],
            _agreement(parts),
        ),
        "",
        *_pictures(report["worst"]),
        "## How it was measured",
        "",
        *(f"* {key}: {value}" for key, value in _facts(report)),
        "",
    ]
    return "\n".join(lines)


def _measures(parts: Mapping[str, Any]) -> list[str]:
    """AP, AR and their parts that exist in these pictures."""
    first = next(iter(parts.values()))
    return [name for name, value in first.items() if name.startswith(("AP", "AR")) and value >= 0]


def _accuracy(parts: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, part in parts.items():
        change = "" if "difference" not in part else _change(part["difference"])
        here = "" if part["from"] != "built for this" else " (not in the bundle)"
        values = [f"{100 * part[measure]:.1f}" for measure in _measures(parts)]
        yield [_NAMES[name] + here, part["effective"], *values, change]


def _change(difference: Mapping[str, Any]) -> str:
    low, high = (100 * bound for bound in difference["interval_95"])
    return f"{100 * difference['AP']:+.2f} ({low:+.2f} to {high:+.2f})"


def _agreement(parts: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, part in parts.items():
        if "agreement" not in part:
            continue
        people, scores, pixels = (part["agreement"][key] for key in ("people", "scores", "pixels"))
        yield [
            _NAMES[name],
            f"{people['reference']} / {people['other']}",
            str(people["matched"]),
            str(people["unmatched_but_below_the_threshold"]),
            _number(people["mean_oks"], 4),
            ", ".join(_number(scores[key], 4) for key in ("mean", "p95", "max")),
            _number(scores["mean_change"], 4),
            ", ".join(_number(pixels[key], 2) for key in ("median", "mean", "p95", "max")),
        ]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _table(head: Sequence[str], rows: Iterator[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _pictures(worst: Sequence[Mapping[str, Any]]) -> list[str]:
    if not worst:
        return []
    lines = ["## Where they agree least", ""]
    for one in worst:
        people = one["people"]
        caption = (
            f"{one['file_name']}: PyTorch finds {people['reference']}, {_NAMES[one['precision']]} {people['other']}, "
            f"{people['matched']} matched; disagreement {one['disagreement']:.2f}"
        )
        lines += [caption, "", f"![{one['file_name']}]({one['picture'].removeprefix('parity/')})", ""]
    return [*lines, "Disagreement: people found on one side only, plus what matched pairs lack in OKS.", ""]


def _facts(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    protocol, checkpoint, machine = report["protocol"], report["checkpoint"], report["machine"]
    limit = "" if protocol["limit"] is None else f", the first {protocol['limit']} pictures"
    yield "annotations", f"{protocol['annotations']}{limit} (SHA-256 {protocol['annotations_sha256']})"
    yield "checkpoint", f"{checkpoint['name']} (SHA-256 {checkpoint['sha256']})"
    if not checkpoint["is_the_bundles"]:
        yield "mind", "the bundle was made from another file than this checkpoint, by its hash"
    calibration = report["calibration"]
    if calibration:
        told = {key: value for key, value in calibration.items() if key not in ("files", "in_float")}
        listed = "the list is in parity.json" if "files" in calibration else "no list of them was kept"
        yield "calibration", ", ".join([*(f"{key} {value}" for key, value in told.items()), listed])
        yield "in float", ", ".join(f"`{pattern}`" for pattern in calibration.get("in_float", ())) or "nothing"
    yield "processor", f"{machine['processor']}, {machine['threads']} threads; {machine['system']}"
    yield "versions", ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    yield "measured", report["measured"]


def side_by_side(image_bgr: NDArray[np.uint8], sides: Mapping[str, Poses], *, keypoint_threshold: float) -> bytes:
    """One picture with several models' people, side by side under their names, as JPEG.

    Args:
        image_bgr: uint8 [H, W, 3].
        sides: people by the model's name, in pixels of the picture.
        keypoint_threshold: joints that score lower aren't drawn.
    """
    scale = min(1.0, _SIDE_HEIGHT / image_bgr.shape[0])
    panels = []
    for name, poses in sides.items():
        drawn = draw(image_bgr, poses, keypoint_threshold=keypoint_threshold)
        if scale < 1:
            drawn = np.asarray(cv2.resize(drawn, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        panel = cv2.copyMakeBorder(drawn, _STRIP, 0, 0, 4, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        title = f"{_NAMES.get(name, name)}: {len(poses)}"
        cv2.putText(panel, title, (4, _STRIP - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (40, 40, 40), 1, cv2.LINE_AA)
        panels.append(panel)
    done, data = cv2.imencode(".jpg", np.hstack(panels), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise InputError(f"OpenCV can't write a picture of shape {image_bgr.shape} as JPEG")
    return bytes(data)
