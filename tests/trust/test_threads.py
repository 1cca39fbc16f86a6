"""One estimator, many threads; several estimators in one process; sources of two kinds in one stream."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from soak.threads import bits, check, mixed, three_ways

from boir_sdk import PoseEstimator, Poses, processor
from boir_sdk import lanes as lanes_module
from boir_sdk.errors import InferenceError
from boir_sdk.lanes import LANES, Lanes
from boir_sdk.skeleton import COCO17
from boir_sdk.stream import Limits, Stream, open_source
from tests.support.fake_camera_scripted import ScriptedSource, endless, picture


def test_sixteen_threads_get_the_bits_of_one() -> None:
    """`python -m soak threads` has 2 000 calls with the default settings."""
    with PoseEstimator(size=192, threads=1, second_look=False) as estimator:
        assert check(estimator, mixed(4, longest=96), calls=320, threads=16) == []


def test_a_call_a_stream_and_four_threads_give_the_same_bits() -> None:
    with PoseEstimator(size=256, threads=1) as estimator:
        assert three_ways(estimator, mixed(3), calls=24) == []


def test_two_estimators_with_different_settings_leave_each_other_alone() -> None:
    one, other = {"size": 192, "max_people": 2}, {"size": 256, "score_threshold": 0.3, "flip_test": True, "threads": 1}
    pictures = mixed(2)
    alone = []
    for options in (one, other):
        with PoseEstimator(**options) as estimator:  # type: ignore[arg-type]
            alone.append([bits(estimator(image)) for image in pictures])
    assert alone[0] != alone[1]
    with PoseEstimator(**one) as first, PoseEstimator(**other) as second:  # type: ignore[arg-type]
        with ThreadPoolExecutor(4) as pool:
            calls = [(pool.submit(first, image), pool.submit(second, image)) for image in pictures * 3]
        together = [[bits(pair[which].result()) for pair in calls] for which in (0, 1)]
        assert together == [alone[0] * 3, alone[1] * 3]
        first.close()
        assert bits(second(pictures[0])) == alone[1][0], "closing one left the other as it was"


@pytest.mark.parametrize("cameras", [1, 2])
def test_a_camera_beside_a_file_gets_its_turns(cameras: int) -> None:
    """A file, of which every frame is taken, held all the places for ever: the camera gave nothing."""

    def slow(image: np.ndarray) -> Poses:
        time.sleep(0.01)
        return Poses.empty(COCO17)

    done = threading.Event()

    def file():
        number = 0
        while not done.is_set():
            yield picture(number % 60_000)
            number += 1

    limits = Limits(stall_s=100)
    live = [ScriptedSource(endless(200), name=f"camera {number}") for number in range(cameras)]
    sources = [*live, open_source(file())]
    seen = dict.fromkeys((source.name for source in sources), 0)
    with Stream(slow, sources, COCO17, limits=limits) as stream:
        for result in stream:
            seen[result.source] += result.frame is not None
            if sum(seen.values()) == 120:
                done.set()
                break
        counts = stream.counts
    assert min(seen.values()) >= 10, seen
    assert counts[sources[-1].name].dropped == 0


def test_callers_are_served_in_the_order_they_came() -> None:
    """With a common queue the thread that gave a lane back took it again at once; others waited beyond the limit."""
    lanes = Lanes()
    held = [lanes.take() for _ in range(LANES)]
    order: list[int] = []
    begun = threading.Semaphore(0)

    def wait(number: int) -> None:
        begun.release()
        lane = lanes.take()
        order.append(number)
        lanes.give(lane)

    threads = []
    for number in range(8):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        begun.acquire()
        while len(lanes._waiting) < number + 1:
            time.sleep(0.001)
    lanes.give(held[0])
    for thread in threads:
        thread.join()
    assert order == list(range(8))
    lanes.give(held[1])
    assert lanes.forget()  # only if nobody has one


def test_a_caller_that_gives_up_loses_no_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "TIMEOUT_S", 0.01)
    lanes = Lanes()
    held = [lanes.take() for _ in range(LANES)]
    with pytest.raises(InferenceError, match="fewer threads"):
        lanes.take()
    for lane in held:
        lanes.give(lane)
    assert lanes.forget()  # only if nobody has one


@pytest.mark.parametrize(("processors", "threads", "at_once"), [(1, 2, 1), (2, 2, 1), (2, 1, 2), (8, 2, LANES)])
def test_no_more_pictures_at_once_than_there_are_processors_for(
    monkeypatch: pytest.MonkeyPatch, processors: int, threads: int, at_once: int
) -> None:
    """Two pictures with all threads each take a tenth longer than in turns."""
    monkeypatch.setattr(processor, "count", lambda: processors)
    running, most, lock, people = [0], [0], threading.Lock(), lanes_module.Lane.people

    def counted(self: lanes_module.Lane, picture: np.ndarray) -> np.ndarray:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        try:
            time.sleep(0.02)  # long enough for the other to come
            return people(self, picture)
        finally:
            with lock:
                running[0] -= 1

    with PoseEstimator(size=192, threads=threads) as estimator:
        picture = np.zeros((96, 192, 3), dtype=np.uint8)
        estimator(picture)
        monkeypatch.setattr(lanes_module.Lane, "people", counted)
        assert len(list(estimator.batch([picture] * 8))) == 8
    assert most[0] == at_once
