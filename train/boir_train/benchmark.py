"""Accuracy against end-to-end time of several models, measured side by side."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from boir_sdk import bundle as bundles
from boir_sdk import image
from boir_sdk.errors import ConfigError
from boir_sdk.estimator import PoseEstimator
from boir_train import bootstrap, subject
from boir_train.evaluation import evaluate

Detect = Callable[[NDArray[np.uint8]], list[dict[str, Any]]]
Progress = Callable[[Sequence[Any]], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Running:
    """An entrant that is compiled, or compiles at its first picture, and stays so.

    Attributes:
        detect: BGR picture [H, W, 3] to COCO results without `image_id`; decoding and suppression included.
        precision: tells what it computes in; to be asked after a picture.
    """

    detect: Detect
    precision: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Entrant:
    """One model at one network size.

    Attributes:
        model: what a line of the plot is called.
        size: network size, pixels.
        own: a bundle of ours; false for a peer.
        key: all that its accuracy depends on, as text.
        start: gives it running, for the length of a `with` block.
    """

    model: str
    size: int
    own: bool
    key: str
    start: Callable[[], AbstractContextManager[Running]]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Keypoint AP on a set of pictures and its 95 % bootstrap interval, 0..1, and what was computed in."""

    ap: float
    low: float
    high: float
    precision: str


@dataclass(frozen=True, slots=True)
class Timing:
    """End-to-end milliseconds of a picture, and their median over that of the first entrant in the same run."""

    median_ms: float
    p90_ms: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Point:
    """A measured entrant.

    Attributes:
        model, size, own: of the entrant.
        precision: what it computed in.
        accuracy: by name of the set of pictures.
        timing: None if only accuracy was measured.
    """

    model: str
    size: int
    own: bool
    precision: str
    accuracy: Mapping[str, Accuracy]
    timing: Timing | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Our point against the line of one peer.

    Attributes:
        model, size: of our point.
        rival: the peer.
        rival_ap: AP that its line gives at our time, 0..1; None outside of the times it was measured at.
        words: whether ours lies above.
    """

    model: str
    size: int
    rival: str
    rival_ap: float | None
    words: str


def bundle_entrants(
    folder: str, precision: str | None, sizes: Sequence[int], threads: int, score_threshold: float
) -> tuple[list[Entrant], str]:
    """Verify a bundle and enter it at every size, called by its folder.

    Args:
        folder: of the bundle, `default` or `small`.
        precision: as `PoseEstimator` takes it; None for the bundle's default.
        sizes: network pixels.
        threads: of the CPU.
        score_threshold: people below it are left out, 0..1.

    Returns:
        The entrants, and OpenVINO's name of the type that they compute floats in.

    Raises:
        BundleError, InputError: the bundle or the precision isn't there.
        ConfigError: a size isn't offered, or the skeleton isn't that of COCO.
    """
    found = bundles.read(folder)
    if found.manifest.skeleton != "coco17":
        raise ConfigError(f"{folder} has the skeleton {found.manifest.skeleton}: only coco17 can be compared")
    missing = [size for size in sizes if size not in found.manifest.sizes]
    if missing:
        raise ConfigError(
            f"{folder} has no size {missing[0]}: choose --sizes among {', '.join(map(str, found.manifest.sizes))}"
        )

    @contextmanager
    def start(size: int) -> Iterator[Running]:
        made = PoseEstimator(folder, size=size, precision=precision, threads=threads, score_threshold=score_threshold)
        with made as estimator:
            yield Running(
                lambda image_bgr: estimator(image_bgr).to_coco(0), lambda: str(estimator.info["precision"]["effective"])
            )

    with PoseEstimator(folder, precision=precision) as probe:  # compiles nothing: no picture is given
        asked = probe.info["precision"]["asked"]
        hint = probe.info["precision"]["hint"]
    digest = subject.sha256_of(found.path / bundles.MANIFEST_NAME)
    name = f"{found.path.name} {asked}"
    entered = [
        Entrant(name, size, True, f"{digest}:{size}:{asked}:{score_threshold}", partial(start, size)) for size in sizes
    ]
    return entered, str(hint)


def measure_ap(
    running: Running, annotations: Mapping[str, Any], pictures: Sequence[tuple[Any, Path]], progress: Progress
) -> Accuracy:
    """AP of all annotated pictures by the COCO protocol, without flip test.

    Args:
        running: the model.
        annotations: COCO-style, with somebody in them.
        pictures: id and file of every picture (EXIF orientation is ignored).
        progress: goes around the pictures.
    """
    found: list[dict[str, Any]] = []
    for number, path in progress(pictures):
        picture = image.read(path, exif=False)
        found += [{**person, "image_id": number} for person in running.detect(picture)]
    result = evaluate(annotations, found, "coco")
    return Accuracy(result.stats["AP"], *bootstrap.interval(result.matches), running.precision())


def measure_times(
    detectors: Sequence[Detect],
    pictures: Sequence[NDArray[np.uint8]],
    repeats: int,
    threads: int,
    progress: Progress = iter,
) -> list[list[float]]:
    """Milliseconds of every call, by detector, each in the order of pictures and repeats.

    Detectors take turns on each picture, and another one starts each time, so that whatever else the machine does falls
    on all alike. Before that each sees every picture once, so that nothing is left to be compiled. OpenCV has `threads`
    threads meanwhile.
    """
    taken: list[list[float]] = [[] for _ in detectors]
    rounds = [(repeat, index) for repeat in range(repeats + 1) for index in range(len(pictures))]
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        for turn, (repeat, index) in enumerate(progress(rounds)):
            for step in range(len(detectors)):
                who = (turn + step) % len(detectors)
                start = time.perf_counter()
                detectors[who](pictures[index])
                if repeat > 0:
                    taken[who].append(1e3 * (time.perf_counter() - start))
    finally:
        cv2.setNumThreads(before)
    return taken


def timings(taken: Sequence[Sequence[float]]) -> list[Timing]:
    """Sum up what `measure_times` gave."""
    base = float(np.median(taken[0]))
    return [
        Timing(float(np.median(times)), float(np.quantile(times, 0.9)), float(np.median(times)) / base)
        for times in taken
    ]


def ap_at(line: Iterable[tuple[float, float]], milliseconds: float) -> float | None:
    """AP that a model's (milliseconds, AP) points give at a time, linear between them; None outside of them.

    A model isn't worse for having slower points: where AP falls with time, the best of the faster points counts.
    """
    points = sorted(line)
    times = [at for at, _ in points]
    if not points or not times[0] <= milliseconds <= times[-1]:
        return None
    return float(np.interp(milliseconds, times, np.maximum.accumulate([ap for _, ap in points])))


def verdicts(points: Sequence[Point], name: str) -> list[Verdict]:
    """How each of our points stands against every peer's line at equal time, on set `name`; timed points only."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        if not point.own and point.timing is not None:
            lines.setdefault(point.model, []).append((point.timing.median_ms, point.accuracy[name].ap))
    result = []
    for point in points:
        if point.own and point.timing is not None:
            for rival, line in lines.items():
                theirs = ap_at(line, point.timing.median_ms)
                result.append(Verdict(point.model, point.size, rival, theirs, _words(point.accuracy[name], theirs)))
    return result


def _words(ours: Accuracy, theirs: float | None) -> str:
    if theirs is None:
        return "outside range"
    word = "above" if ours.ap > theirs else "below" if ours.ap < theirs else "equal"
    return f"{word}, theirs inside our interval" if ours.low <= theirs <= ours.high else word


def machine(threads: int) -> dict[str, Any]:
    """What the times depend on, as it is now; `load` is the average of the last minute, 5 and 15."""
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
