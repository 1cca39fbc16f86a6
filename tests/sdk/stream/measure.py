"""Figures of streaming that no test should assert: throughput, ages, memory. Each prints one line of JSON.

    python -m tests.sdk.stream.measure pipelined      # against a loop that decodes, infers and draws in turn
    python -m tests.sdk.stream.measure scheduling     # the same on a device that works by itself
    python -m tests.sdk.stream.measure faults         # how soon each is noticed and got over
    python -m tests.sdk.stream.measure streams        # four sources against one
    python -m tests.sdk.stream.measure age            # of frames under `latest`, slow inference or slow consumer
    python -m tests.sdk.stream.measure memory         # over 10,000 frames of a scripted source with gaps
    python -m tests.sdk.stream.measure cycles         # threads and descriptors over 200 streams opened and closed
    python -m tests.sdk.stream.measure isolation      # the pace of three sources beside one that always fails

Run from the top folder with `sdk` and `.` on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np
import psutil

from boir_sdk.poses import Poses
from boir_sdk.skeleton import COCO17
from boir_sdk.stream import Limits, Stream, open_source
from tests.conftest import SHARED
from tests.support.fake_camera_scripted import ScriptedSource, endless
from tests.support.fake_estimator import FakeEstimator

CLIP = SHARED / "data" / "videos" / "one-by-one-person-detection.mp4"


def busy(seconds: float) -> None:
    """Work of so much processor time of this thread, letting other threads run as decoding and drawing in C do."""
    image = np.zeros((240, 320, 3), np.uint8)
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        cv2.GaussianBlur(image, (0, 0), 2)


def pictures(count: int) -> list[np.ndarray]:
    """The first frames of a real clip."""
    capture = cv2.VideoCapture(str(CLIP))
    taken = [capture.read()[1] for _ in range(count)]
    capture.release()
    return taken


def pipelined(rounds: int, frames: int) -> dict[str, object]:
    """Ratio of the sync loop's time to the stream's, interleaved, without and with work around the inference."""
    from boir_sdk import PoseEstimator

    cv2.setNumThreads(1)
    images = pictures(frames)
    found: dict[str, object] = {"frames": frames, "rounds": rounds, "load": psutil.getloadavg()[0]}
    with PoseEstimator() as estimator:
        for image in images[:3]:
            estimator(image)
        start = time.thread_time(), time.perf_counter()
        for image in images[:8]:
            estimator(image)
        one = (time.perf_counter() - start[1]) / 8
        found["inference_ms"] = round(one * 1000, 1)
        for name, share in (("calm", 0.0), ("decode_and_draw_half", 0.25)):

            def decoded(share: float = share) -> Iterator[np.ndarray]:
                for image in images:
                    busy(share * one)
                    yield image

            times: dict[str, list[float]] = {"sync": [], "stream": []}
            for _ in range(rounds):
                began = time.perf_counter()
                for image in decoded():
                    estimator(image)
                    busy(share * one)
                times["sync"].append(time.perf_counter() - began)
                began = time.perf_counter()
                with estimator.stream(decoded()) as stream:
                    for _result in stream:
                        busy(share * one)
                times["stream"].append(time.perf_counter() - began)
            ratios = [sync / streamed for sync, streamed in zip(times["sync"], times["stream"], strict=True)]
            found[name] = {"median": round(statistics.median(ratios), 3), "all": [round(ratio, 2) for ratio in ratios]}
    return found


def scheduling(frames: int) -> dict[str, object]:
    """The same ratio on a device of its own: inference, decoding and drawing only wait, whatever the machine's load."""
    found: dict[str, object] = {}
    one_at_a_time = threading.Lock()
    for name, around_s in (("calm", 0.0), ("decode_and_draw_half", 0.01)):

        def infer(image: np.ndarray) -> Poses:
            with one_at_a_time:
                time.sleep(0.04)
            return Poses.empty(COCO17)

        def decoded(seconds: float = around_s) -> Iterator[np.ndarray]:
            for _ in range(frames):
                time.sleep(seconds)
                yield np.zeros((48, 64, 3), np.uint8)

        began = time.perf_counter()
        for image in decoded():
            infer(image)
            time.sleep(around_s)
        sync = time.perf_counter() - began
        began = time.perf_counter()
        with Stream(infer, [open_source(decoded())], COCO17) as stream:
            for _ in stream:
                time.sleep(around_s)
        found[name] = round(sync / (time.perf_counter() - began), 3)
    return found


def streams(rounds: int, frames: int) -> dict[str, object]:
    """Frames a second of four sources together by that of one, interleaved."""
    from boir_sdk import PoseEstimator

    images = pictures(frames)
    ratios = []
    with PoseEstimator() as estimator:
        list(estimator.stream(images[:4]))
        for _ in range(rounds):
            took = []
            for count in (1, 4):
                began = time.perf_counter()
                with estimator.streams([images[i::count] for i in range(count)]) as stream:
                    done = sum(result.frame is not None for result in stream)
                assert done == frames
                took.append(time.perf_counter() - began)
            ratios.append(took[0] / took[1])
    return {"median": round(statistics.median(ratios), 3), "all": [round(ratio, 2) for ratio in ratios]}


def age(frames: int) -> dict[str, object]:
    """Ages in ms under `latest`: inference five times slower than the camera, and a consumer five times too slow."""
    found: dict[str, object] = {}
    for name, infer_s, consumer_s in (("slow_inference", 0.2, 0.0), ("slow_consumer", 0.04, 0.2)):

        def infer(image: np.ndarray, seconds: float = infer_s) -> Poses:
            time.sleep(seconds)
            return Poses.empty(COCO17)

        ages, source = [], ScriptedSource(endless(25))
        with Stream(infer, [source], COCO17) as stream:
            for result in stream:
                ages.append(result.age_s * 1000)
                time.sleep(consumer_s)
                if len(ages) == frames:
                    break
            counts = stream.counts[source.name]
        assert counts.captured == counts.given + counts.dropped + counts.waiting
        p95 = float(np.percentile(ages[2:], 95))
        found[name] = {"p95": round(p95, 1), "limit": 2000 * infer_s + 100, "dropped": counts.dropped}
    return found


def memory(frames: int) -> dict[str, object]:
    """Least-squares slope of the resident set in MiB a 10,000 frames, after a tenth of them."""
    steps: list[object] = []
    for i in range(frames):
        steps += [(96, 128)] if i % 500 else ["lost", (96, 128)]
    limits = Limits(retry_s=0.01, retry_cap_s=0.01)
    process, sizes, places = psutil.Process(), [], []
    source = ScriptedSource([*steps, "end"], live=False)  # type: ignore[list-item]
    with Stream(FakeEstimator(), [source], COCO17, policy="all", track=True, smooth=True, limits=limits) as stream:
        for result in stream:
            if result.frame is not None and result.index % 100 == 0 and result.index > frames // 10:
                sizes.append(process.memory_info().rss / 2**20)
                places.append(result.index / 10_000)
    slope = float(np.polyfit(places, sizes, 1)[0])
    ends = {"first_mib": round(sizes[0], 2), "last_mib": round(sizes[-1], 2)}
    return {"frames": frames, **ends, "slope": round(slope, 3)}


def cycles(count: int) -> dict[str, object]:
    """Threads, descriptors and children before and after many streams of a fake camera."""
    from tests.support.fake_camera import FakeCamera

    def state() -> dict[str, int]:
        process = psutil.Process()
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith("boir")]
        return {"threads": len(names), "descriptors": process.num_fds(), "children": len(process.children())}

    limits, slowest = Limits(), 0.0
    with FakeCamera() as camera:
        before: dict[str, int] = {}
        for number in range(count + 1):
            stream = Stream(FakeEstimator(), [open_source(camera.url(), limits)], COCO17, limits=limits)
            if number % 4 == 0:
                next(stream)
            else:
                time.sleep(0.1 * (number % 4))
            began = time.perf_counter()
            stream.close()
            slowest = max(slowest, time.perf_counter() - began)
            before = before or state()
    return {"cycles": count, "slowest_close_s": round(slowest, 2), "after_one": before, "after_all": state()}


def faults() -> dict[str, object]:
    """Seconds until each fault is noticed, and from healing to the first new frame, with the default limits.

    Noticed: from the start, or from the last frame when the camera began well. The waits after a refused password or
    path are 5 s here instead of 30.
    """
    from tests.sdk.stream.test_faults import FAULTS
    from tests.support.fake_camera import FakeCamera

    limits, found = Limits(slow_retry_s=5.0), {}
    for kind, behaviour, login, code in FAULTS:
        first, heard, healed = "", time.monotonic(), 0.0
        with FakeCamera(behaviour) as camera:
            stream = Stream(FakeEstimator(), [open_source(camera.url(login), limits)], COCO17, limits=limits)
            for result in stream:
                now = time.monotonic()
                if result.event is not None and not healed:
                    noticed, healed, first = now - heard, now, result.event.code
                    camera.heal()
                elif result.frame is not None and healed:
                    break
                heard = now
            stream.close()
        found[f"{kind} {code}"] = [round(noticed, 1), round(now - healed, 1), first]
    return {"load": psutil.getloadavg()[0], "noticed_recovered_s": found}


def isolation(seconds: float) -> dict[str, object]:
    """Frames a second of three live sources alone, and beside one that fails all the time."""

    def pace(*more: ScriptedSource) -> float:
        sources = [ScriptedSource(endless(20), name=f"good {i}") for i in range(3)]
        limits, count = Limits(retry_s=0.01, retry_cap_s=0.01), 0
        with Stream(FakeEstimator(), [*sources, *more], COCO17, limits=limits) as stream:
            began = time.perf_counter()
            for result in stream:
                count += result.frame is not None
                if time.perf_counter() - began > seconds:
                    break
        return count / seconds

    alone = pace()
    beside = pace(ScriptedSource(["refused"] * 1_000_000, name="dead"))
    return {"alone_fps": round(alone, 1), "beside_fps": round(beside, 1), "ratio": round(beside / alone, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", choices=["faults", "pipelined", "scheduling", "streams", "age", "memory", "cycles", "isolation"]
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int)
    options = parser.parse_args()
    frames = options.frames
    done = {
        "pipelined": lambda: pipelined(options.rounds, frames or 40),
        "faults": faults,
        "scheduling": lambda: scheduling(frames or 100),
        "streams": lambda: streams(options.rounds, frames or 40),
        "age": lambda: age(frames or 60),
        "memory": lambda: memory(frames or 10_000),
        "cycles": lambda: cycles(frames or 200),
        "isolation": lambda: isolation(5.0),
    }[options.what]()
    print(json.dumps({options.what: done}))


if __name__ == "__main__":
    main()
