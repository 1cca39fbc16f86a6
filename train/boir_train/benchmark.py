"""Accuracy against end-to-end time of several models, measured side by side."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk import image
from boir_sdk.estimator import PoseEstimator
from boir_train import bootstrap
from boir_train.evaluation import evaluate

Detect = Callable[[NDArray[np.uint8]], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Entrant:
    """One model at one network size.

    Attributes:
        model: what a line of the plot is called.
        size: network size, pixels.
        detect: BGR picture [H, W, 3] to COCO results without `image_id`; decoding and suppression included.
        precision: what it computes in, to be asked after a run.
    """

    model: str
    size: int
    detect: Detect
    precision: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Point:
    """A measured entrant.

    Attributes:
        model, size: of the entrant.
        precision: what it computed in.
        ap: keypoint AP by set of pictures, 0..1.
        interval: 95 % bootstrap interval of each.
        median_ms, p90_ms: end-to-end time of a picture.
        ratio: median time over the first entrant's in the same rounds.
    """

    model: str
    size: int
    precision: str
    ap: Mapping[str, float]
    interval: Mapping[str, tuple[float, float]]
    median_ms: float
    p90_ms: float
    ratio: float


def bundle_entrant(bundle: str, precision: str | None, size: int, threads: int, score_threshold: float) -> Entrant:
    """Open a bundle at one size; `precision` None is its default."""
    estimator = PoseEstimator(bundle, size=size, precision=precision, threads=threads, score_threshold=score_threshold)
    asked = estimator.info["precision"]["asked"]
    name = f"{estimator.info['model']} {asked}"

    def detect(image_bgr: NDArray[np.uint8]) -> list[dict[str, Any]]:
        return estimator(image_bgr).to_coco(0)

    return Entrant(name, size, detect, lambda: str(estimator.info["precision"]["effective"]))


def measure_ap(
    detect: Detect, annotations: Mapping[str, Any], folder: Path, progress: Callable[[Iterable[Any]], Iterable[Any]]
) -> tuple[float, tuple[float, float]]:
    """AP of all annotated pictures and its 95 % bootstrap interval (COCO protocol, EXIF orientation ignored)."""
    found: list[dict[str, Any]] = []
    for record in progress(annotations["images"]):
        picture = image.read(folder / Path(record["file_name"]).name, exif=False)
        found += [{**person, "image_id": record["id"]} for person in detect(picture)]
    result = evaluate(annotations, found, "coco")
    low, high = bootstrap.interval(result.matches)
    return result.stats["AP"], (low, high)


def measure_times(
    entrants: Sequence[Entrant],
    pictures: Sequence[NDArray[np.uint8]],
    repeats: int,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> list[list[float]]:
    """Milliseconds of every call, by entrant.

    Entrants take turns on each picture, and the turn starts with another one each time, so that whatever else the
    machine does falls on all alike.
    """
    for entrant in entrants:
        for shape in {picture.shape for picture in pictures}:
            entrant.detect(next(picture for picture in pictures if picture.shape == shape))
    taken: list[list[float]] = [[] for _ in entrants]
    rounds = [(repeat, index) for repeat in range(repeats) for index in range(len(pictures))]
    for turn, (_, index) in enumerate(progress(rounds)):
        for step in range(len(entrants)):
            who = (turn + step) % len(entrants)
            start = time.perf_counter()
            entrants[who].detect(pictures[index])
            taken[who].append(1e3 * (time.perf_counter() - start))
    return taken


def ap_at(points: Sequence[Point], name: str, milliseconds: float) -> float | None:
    """AP on set `name` that a model's line gives at a time, between its points; None outside of them.

    A line is what can be had within a time: a slower point that is worse than a faster one doesn't lower it.
    """
    line = sorted((point.median_ms, point.ap[name]) for point in points)
    times = [at for at, _ in line]
    if not line or not times[0] <= milliseconds <= times[-1]:
        return None
    best = np.maximum.accumulate([ap for _, ap in line])
    return float(np.interp(milliseconds, times, best))


def verdicts(points: Sequence[Point], own: str, name: str) -> list[dict[str, Any]]:
    """How each point of model `own` stands against every other model's line at equal time, on set `name`."""
    models = dict.fromkeys(point.model for point in points)
    result = []
    for rival in models:
        if rival == own:
            continue
        line = [point for point in points if point.model == rival]
        for point in points:
            if point.model == own:
                theirs = ap_at(line, name, point.median_ms)
                ahead = None if theirs is None else point.ap[name] - theirs
                facts = {"rival": rival, "size": point.size, "median_ms": point.median_ms, "ap": point.ap[name]}
                result.append({**facts, "rival_ap": theirs, "ahead": ahead})
    return result


def machine(threads: int) -> dict[str, Any]:
    """What the times depend on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load": [round(value, 2) for value in os.getloadavg()],
        "system": platform.platform(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
