"""Two sources for a long time: a camera with a fault each minute, and pictures whose shapes go round; nothing may grow.

Every second memory, descriptors, threads and child processes are counted. After a warm-up a straight line is laid
through each (least squares); a leak is a slope.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tests.conftest import ROOT

from boir_sdk import PoseEstimator
from soak.camera import FAULTS, CameraProcess

SHAPES = [(270, 480), (480, 270), (300, 300), (240, 480), (200, 480), (480, 200), (360, 480), (480, 360)]
A_SHAPE = 20  # frames of one shape in a row
PACE_S = 0.04
WARM_UP_S = 120.0
STUCK_S = 120.0
GROWTH = {"rss_mib": 10.0, "descriptors": 2.0, "threads": 2.0, "children": 0.5}  # allowed between the ends' medians


@dataclass(frozen=True, slots=True)
class Sample:
    time_s: float
    rss_mib: float
    descriptors: int
    threads: int
    children: int


class Pictures:
    """The demo picture in one shape after the other, without end; counts what it gave."""

    def __init__(self) -> None:
        self.given = 0
        self._picture = cv2.imread(str(ROOT / "demos" / "people.jpg"))

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        while True:
            height, width = SHAPES[self.given // A_SHAPE % len(SHAPES)]
            self.given += 1
            yield cv2.resize(self._picture, (width, height))
            time.sleep(PACE_S)


def sample(start_s: float) -> Sample:
    """Count, as Linux does."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    tasks = list(Path("/proc/self/task").iterdir())
    children = sum(len((task / "children").read_text().split()) for task in tasks if (task / "children").exists())
    return Sample(
        round(time.monotonic() - start_s, 2),
        pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - the folder changes while it is read
        len(tasks),
        children,
    )


class Sampler(threading.Thread):
    """Takes a sample every second until `done` is set."""

    def __init__(self, start_s: float) -> None:
        super().__init__(daemon=True)
        self.samples: list[Sample] = []
        self.done = threading.Event()
        self._start_s = start_s

    def run(self) -> None:
        while not self.done.wait(1.0):
            self.samples.append(sample(self._start_s))


def run(minutes: float, out: Path) -> bool:
    """Run, print the table, write `soak.json` (and `soak.png` where matplotlib is); True when nothing was wrong."""
    start_s = time.monotonic()
    faults, wrong = list(FAULTS), []
    tally: dict[str, dict[str, int]] = {}
    events: dict[str, int] = {}
    pictures, sampler = Pictures(), Sampler(start_s)
    with CameraProcess() as camera, PoseEstimator(size=192, threads=1) as estimator:
        sampler.start()
        stream = estimator.streams([camera.url, pictures], track=True, smooth=True)
        step, healed, longest_s, last_s = 0, True, 0.0, start_s
        with stream:
            for result in stream:
                now_s = time.monotonic()
                passed_s = now_s - start_s
                if "***" not in result.source and not result.source.startswith("rtsp"):
                    longest_s, last_s = max(longest_s, now_s - last_s), now_s
                counted = tally.setdefault(result.source, {"frames": 0, "dropped": 0, "people": 0})
                counted["frames"] += result.frame is not None
                counted["dropped"] += result.dropped
                counted["people"] += len(result.poses)
                if result.event is not None:
                    name = f"{result.event.kind}/{result.event.code}"
                    events[name] = events.get(name, 0) + 1
                if passed_s >= 60 * step + 30 and healed:  # a fault in the middle of each minute
                    camera.become(faults[step % len(faults)])
                    healed = False
                elif passed_s >= 60 * step + 45 and not healed:
                    camera.become("good")
                    step, healed = step + 1, True
                if passed_s >= 60 * minutes:
                    break
            counts = {name: asdict(count) for name, count in stream.counts.items()}
            for name, count in counts.items():
                if count["captured"] != count["given"] + count["dropped"] + count["waiting"]:
                    wrong.append(f"{name}: the counters don't add up: {count}")
                if count["given"] != tally[name]["frames"]:
                    wrong.append(f"{name}: {tally[name]['frames']} frames came, {count['given']} are counted")
                if not 0 <= count["dropped"] - tally[name]["dropped"] <= 60:
                    wrong.append(f"{name}: results tell of {tally[name]['dropped']} drops, {count['dropped']} counted")
                if not name.startswith("rtsp") and (
                    count["dropped"] or not 0 <= pictures.given - count["captured"] <= 2
                ):
                    wrong.append(f"{name}: {pictures.given} pictures were given, {count} are counted")
        if longest_s > STUCK_S:
            wrong.append(f"no picture's result for {longest_s:.0f} s: a wake-up was lost")
        sampler.done.set()
        sampler.join()
    found = slopes(sampler.samples)
    wrong += [f"{name} grew by {line['growth']:.1f}" for name, line in found.items() if line["growth"] > GROWTH[name]]
    report = {
        "minutes": minutes,
        "faults": {name: step // len(faults) + (step % len(faults) > place) for place, name in enumerate(faults)},
        "counts": counts,
        "people": {name: counted["people"] for name, counted in tally.items()},
        "events": dict(sorted(events.items())),
        "longest_wait_s": round(longest_s, 2),
        "slopes": found,
        "wrong": wrong,
        "samples": [asdict(one) for one in sampler.samples],
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "soak.json").write_text(json.dumps(report, indent=1) + "\n")
    plot(sampler.samples, out / "soak.png")
    tell(report)
    return not wrong


def slopes(samples: list[Sample]) -> dict[str, dict[str, float]]:
    """A line through each count after the warm-up: slope an hour, medians of the first and last fifth, their growth."""
    warm = min(WARM_UP_S, samples[-1].time_s / 3)
    kept = [one for one in samples if one.time_s >= warm]
    times_h = np.array([one.time_s for one in kept]) / 3600
    found = {}
    for name in GROWTH:
        values = np.array([getattr(one, name) for one in kept], dtype=float)
        fifth = max(len(values) // 5, 1)
        first, last = float(np.median(values[:fifth])), float(np.median(values[-fifth:]))
        slope = float(np.polyfit(times_h, values, 1)[0]) if len(values) > 1 else 0.0
        low, high = float(values.min()), float(values.max())
        found[name] = {"first": first, "last": last, "growth": last - first, "per_hour": slope, "min": low, "max": high}
    return found


def tell(report: dict[str, Any]) -> None:
    """Print it as tables."""
    print(f"{'':14}{'first':>9}{'last':>9}{'growth':>9}{'slope/h':>10}{'min':>9}{'max':>9}")
    for name, line in report["slopes"].items():
        cells = "".join(f"{line[key]:9.1f}" for key in ("first", "last", "growth"))
        print(f"{name:14}{cells}{line['per_hour']:10.2f}{line['min']:9.1f}{line['max']:9.1f}")
    for name, count in report["counts"].items():
        print(f"{name}: " + ", ".join(f"{value} {key}" for key, value in count.items()))
    print("events: " + ", ".join(f"{name} {count}" for name, count in report["events"].items()))
    print("wrong: " + ("; ".join(report["wrong"]) or "nothing"))


def plot(samples: list[Sample], path: Path) -> None:
    """Draw the counts over time, where matplotlib is installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(8, 8))
    axes = figure.subplots(len(GROWTH), 1, sharex=True)
    minutes = [one.time_s / 60 for one in samples]
    for axis, name in zip(axes, GROWTH, strict=True):
        axis.plot(minutes, [getattr(one, name) for one in samples])
        axis.set_ylabel(name)
    axes[-1].set_xlabel("minutes")
    figure.savefig(path)
