"""One estimator from many threads, and the three ways to call it: every result has the bits of a serial one."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray
from tests.conftest import ROOT

from boir_sdk import PoseEstimator, Poses

Picture = NDArray[np.uint8]


def mixed(count: int, longest: int = 480) -> list[Picture]:
    """The demo picture in `count` sizes of different aspects, no side longer than so many pixels."""
    whole = cv2.imread(str(ROOT / "demos" / "people.jpg"))
    generator = np.random.default_rng(0)
    sides = [(int(generator.uniform(0.5, 1) * longest), int(generator.uniform(0.5, 1) * longest)) for _ in range(count)]
    return [np.asarray(cv2.resize(whole, side), dtype=np.uint8) for side in sides]


def bits(poses: Poses) -> bytes:
    """All that was found, as bytes."""
    return poses.keypoints.tobytes() + poses.keypoint_scores.tobytes() + poses.scores.tobytes()


def check(estimator: PoseEstimator, pictures: Sequence[Picture], calls: int, threads: int) -> list[str]:
    """Call from several threads; what differed from serial calls, or failed."""
    expected = [bits(estimator(image)) for image in pictures]
    wrong: list[str] = []

    def work(first: int) -> None:
        for number in range(first, calls, threads):
            place = number % len(pictures)
            try:
                if bits(estimator(pictures[place])) != expected[place]:
                    wrong.append(f"call {number}: other bits")
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
                wrong.append(f"call {number}: {type(error).__name__}: {error}")

    workers = [threading.Thread(target=work, args=(first,)) for first in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return wrong


def three_ways(estimator: PoseEstimator, pictures: Sequence[Picture], calls: int) -> list[str]:
    """Serial calls, the pipelined stream and four threads over the same pictures; what differed."""
    sequence = [pictures[number % len(pictures)] for number in range(calls)]
    serial = [bits(estimator(image)) for image in sequence]
    with estimator.stream(sequence) as stream:
        streamed = [bits(result.poses) for result in stream if result.frame is not None]
    with ThreadPoolExecutor(4) as pool:
        threaded = [bits(poses) for poses in pool.map(estimator, sequence)]
    wrong = [] if len(streamed) == calls else [f"the stream gave {len(streamed)} results of {calls}"]
    for way, found in (("stream", streamed), ("threads", threaded)):
        wrong += [
            f"{way}: picture {n} differs" for n, (one, two) in enumerate(zip(serial, found, strict=False)) if one != two
        ]
    return wrong


def run(calls: int) -> bool:
    """Both checks with the embedded model as it is; True when every bit was the same."""
    with PoseEstimator() as estimator:
        pictures = mixed(5)  # two looks at each: no more shapes than are kept compiled
        people = sum(len(estimator(image)) for image in pictures)
        begin_s = time.monotonic()
        wrong = check(estimator, pictures, calls, 16)
        took_s = time.monotonic() - begin_s
        print(f"16 threads, {calls} calls, 5 sizes, {people} people: {len(wrong)} wrong, {took_s:.0f} s", flush=True)
        begin_s = time.monotonic()
        ways = three_ways(estimator, pictures, calls // 2)
        print(f"serial, stream, 4 threads, {calls // 2} calls: {len(ways)} wrong, {time.monotonic() - begin_s:.0f} s")
    for line in [*wrong, *ways][:20]:
        print(f"    {line}")
    return not wrong and not ways
