"""How long a bundle takes on this machine, stage by stage, and how near to the machine's limit that is.

Everything that is compared is measured in turns, one call of each a round, so that whatever else the machine does falls
on all alike. The number of people is not left to the picture (`boir_sdk.feeding`).
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from boir_sdk import __version__, runtime, yardstick
from boir_sdk.errors import InferenceError
from boir_sdk.estimator import PoseEstimator
from boir_sdk.feeding import Fed, Setting, feed
from boir_sdk.first_result import Start, starts_of
from boir_sdk.rival import Rival

STAGES = ("prepare", "dense", "person", "finish", "total")
PIPELINED_PICTURES = 12


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and 95th percentile of a number of times, milliseconds."""

    median_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Row:
    """A setting with a number of people.

    Attributes:
        people: that the person graph was given in each look.
        stages: by `STAGES`: resizing (of the first look); dense graph and person graph, of all looks; scores,
            suppression, containers and the second look's resizing; all together.
        fps: pictures a second, one after the other.
        fps_pipelined: the same through `PoseEstimator.batch`.
    """

    people: int
    stages: dict[str, Spread]
    fps: float
    fps_pipelined: float


@dataclass(frozen=True, slots=True)
class Result:
    """All that is measured of a setting.

    Attributes:
        setting: that was asked for.
        size: network pixels used.
        network: height and width of the network picture of the first look.
        looks: at a picture.
        precision: what the compiled graph reports.
        rows: by number of people, ascending.
        person_ms: what one more person costs, milliseconds (slope of the person graph's medians); None for one row.
        person_share: the same over the dense graph's median.
        ten_to_one: end-to-end time with ten people over that with one, median of the rounds' ratios; None if not asked.
        rest_share: the median share of a call with five people that is not inference; None if not asked.
        multiply_adds: of `dense` and `person` (one person), each in `float` and `int8`, of all looks.
        limit_ms: the dense graph's arithmetic at the speed that a good convolution reached in the same run; None when
            it isn't the CPU's.
        limit_share: that over the dense graph's median: 1 would be the machine's limit.
        against: the whole network with 30 people run in other ways (`boir_sdk.rival`), by kind.
        cold, cached: the start of a process, without and with a filled `cache_dir`; None if not asked.
    """

    setting: Setting
    size: int
    network: tuple[int, int]
    looks: int
    precision: str
    rows: tuple[Row, ...]
    person_ms: float | None
    person_share: float | None
    ten_to_one: float | None
    rest_share: float | None
    multiply_adds: dict[str, dict[str, int]]
    limit_ms: float | None
    limit_share: float | None
    cold: Start | None
    cached: Start | None
    against: dict[str, Spread]


def measure(
    settings: Sequence[Setting],
    people: Sequence[int],
    rounds: int,
    picture_bgr: NDArray[np.uint8],
    *,
    starts: bool,
    against: Sequence[str] = (),
    going: Callable[[], bool] = lambda: True,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Result]:
    """Measure settings against each other.

    Args:
        settings: at least one.
        people: numbers of people, ascending, up to the bundle's limit.
        rounds: calls of each setting with each number of people; one more before, which compiles and isn't counted.
        picture_bgr: uint8 [H, W, 3].
        starts: also start processes, for the time to the first result and the peak memory.
        against: kinds of rivals, which take their turns with the first setting's network and threads.
        going: asked before every call; False ends the run.
        progress: told how many of `calls(...)` are done.

    Returns:
        One result a setting; none when the run was ended.

    Raises:
        BundleError, InputError, InferenceError: as `PoseEstimator`.
    """
    with ExitStack() as stack:
        estimators = [stack.enter_context(setting.estimator()) for setting in settings]
        peaks = {setting.threads: _Peaks(setting.threads) for setting in settings if setting.device == "CPU"}
        fed = [feed(estimator) for estimator in estimators]
        taken: list[dict[int, list[tuple[float, ...]]]] = [{count: [] for count in people} for _ in settings]
        done = 0
        rivals = _rivals(stack, against, settings[0], estimators[0], fed[0], picture_bgr)
        rivals_ms: dict[str, list[float]] = {rival.kind: [] for rival in rivals}
        for turn in range(rounds + 1):
            for rival in rivals:
                took_ms = rival.turn_ms()
                rivals_ms[rival.kind] += [took_ms] if turn else []
            for peak in peaks.values():
                peak.turn(counted=turn > 0)
            for estimator, source, times in zip(estimators, fed, taken, strict=True):
                for count in people:
                    if not going():
                        return []
                    times[count] += [_timed(estimator, source, count, picture_bgr)] if turn else []
                    if not turn:
                        _timed(estimator, source, count, picture_bgr)
                    done += 1
                    progress(done)
        results: list[Result] = []
        for setting, estimator, source, times in zip(settings, estimators, fed, taken, strict=True):
            looks = tuple(source.networks)  # of the last call; pipelined calls mix theirs
            piped = {}
            for count in people:
                if not going():
                    return []
                piped[count] = _pipelined(estimator, source, count, picture_bgr)
            pair = starts_of(setting) if starts else (None, None)
            others = {} if results else {kind: _spread(ms) for kind, ms in rivals_ms.items()}
            own = peaks[setting.threads] if setting.device == "CPU" else None
            results.append(_result(setting, estimator, source, looks, times, piped, own, pair, others))
    return results


def _rivals(
    stack: ExitStack,
    kinds: Sequence[str],
    setting: Setting,
    estimator: PoseEstimator,
    source: Fed,
    picture_bgr: NDArray[np.uint8],
) -> list[Rival]:
    """Start rivals for the network picture of a setting."""
    if not kinds:
        return []
    source.begin()
    estimator(picture_bgr)  # tells the network picture's size
    preset, skeleton = estimator.info["preset"], estimator.info["skeleton"]
    return [stack.enter_context(Rival(kind, preset, skeleton, source.networks[0], setting.threads)) for kind in kinds]


def calls(settings: Sequence[Setting], people: Sequence[int], rounds: int) -> int:
    """How many calls `measure` tells its progress by."""
    return len(settings) * len(people) * (rounds + 1)


def machine() -> dict[str, Any]:
    """What the times depend on, as it is now; `load` is the average of the last minute, 5 and 15."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "boir_sdk": __version__,
        "openvino": runtime.VERSION,
        "opencv_threads": cv2.getNumThreads(),
    }


class _Peaks:
    """How fast good convolutions run, measured along with the rest."""

    def __init__(self, threads: int | None) -> None:
        self._made = {kind: yardstick.convolution(threads, eight_bits=kind == "int8") for kind in ("float", "int8")}
        self._taken: dict[str, list[float]] = {kind: [] for kind in self._made}

    def turn(self, *, counted: bool) -> None:
        for kind, (run, _) in self._made.items():
            begin = time.perf_counter()
            run()
            if counted:
                self._taken[kind].append(time.perf_counter() - begin)

    def milliseconds(self, multiply_adds: dict[str, int]) -> float:
        """What so much arithmetic would take at that speed."""
        each = {kind: statistics.median(self._taken[kind]) / work for kind, (_, work) in self._made.items()}
        return 1e3 * sum(multiply_adds[kind] * each[kind] for kind in each)


def _timed(estimator: PoseEstimator, source: Fed, people: int, picture_bgr: NDArray[np.uint8]) -> tuple[float, ...]:
    """Milliseconds of the `STAGES` of one call."""
    source.people = people
    source.begin()
    begin_s = time.perf_counter()
    estimator(picture_bgr)
    total_s = time.perf_counter() - begin_s
    given = min((len(found.center_scores) for found in source.found), default=0)
    if source.asked_s is None or given != people:
        raise InferenceError(f"{given} people came out where {people} were fed: the bundle can't be measured so")
    prepare_s = source.asked_s - begin_s
    dense_s, person_s = (sum(each) for each in zip(*((f.dense_s, f.person_s) for f in source.found), strict=True))
    finish_s = total_s - prepare_s - dense_s - person_s
    return tuple(1e3 * value for value in (prepare_s, dense_s, person_s, finish_s, total_s))


def _spread(ms: Sequence[float] | NDArray[Any]) -> Spread:
    return Spread(float(np.median(ms)), float(np.quantile(ms, 0.95)))


def _pipelined(estimator: PoseEstimator, source: Fed, people: int, picture_bgr: NDArray[np.uint8]) -> float:
    source.people = people
    pictures: Iterator[NDArray[np.uint8]] = (picture_bgr for _ in range(PIPELINED_PICTURES))
    begin_s = time.perf_counter()
    for _ in estimator.batch(pictures):
        pass
    return PIPELINED_PICTURES / (time.perf_counter() - begin_s)


def _result(
    setting: Setting,
    estimator: PoseEstimator,
    source: Fed,
    looks: Sequence[tuple[int, int]],
    taken: dict[int, list[tuple[float, ...]]],
    piped: dict[int, float],
    peaks: _Peaks | None,
    starts: tuple[Start | None, Start | None],
    against: dict[str, Spread],
) -> Result:
    """Sum up the rounds of one setting."""
    columns = {count: dict(zip(STAGES, np.array(times).T, strict=True)) for count, times in taken.items()}
    rows = tuple(
        Row(
            count,
            {stage: _spread(each) for stage, each in by.items()},
            float(1e3 / np.mean(by["total"])),
            piped[count],
        )
        for count, by in columns.items()
    )
    dense_ms = statistics.median(row.stages["dense"].median_ms for row in rows)
    person_ms = None
    if len(rows) > 1:
        counts, medians = [row.people for row in rows], [row.stages["person"].median_ms for row in rows]
        person_ms = float(np.polyfit(counts, medians, 1)[0])
    ten, five = None, None
    if {1, 10} <= columns.keys():
        ten = float(np.median(columns[10]["total"] / columns[1]["total"]))
    if 5 in columns:
        by = columns[5]
        five = float(np.median((by["prepare"] + by["finish"]) / by["total"]))
    each_look = [source.work(*network) for network in looks]
    work = {
        part: {kind: sum(look[part][kind] for look in each_look) for kind in ("float", "int8")}
        for part in ("dense", "person")
    }
    limit_ms = None if peaks is None else peaks.milliseconds(work["dense"])
    return Result(
        setting=setting,
        size=int(estimator.info["size"]["used"]),
        network=looks[0],
        looks=len(looks),
        precision=str(estimator.info["precision"]["effective"]),
        rows=rows,
        person_ms=person_ms,
        person_share=None if person_ms is None else person_ms / dense_ms,
        ten_to_one=ten,
        rest_share=five,
        multiply_adds=work,
        limit_ms=limit_ms,
        limit_share=None if limit_ms is None else limit_ms / dense_ms,
        cold=starts[0],
        cached=starts[1],
        against=against,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
