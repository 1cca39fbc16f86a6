"""`Stream` and its dispatcher with scripted sources: order, counts, events, fairness, and nothing left behind."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time

import numpy as np
import pytest

from boir_sdk.errors import InferenceError, InputError
from boir_sdk.poses import Poses
from boir_sdk.skeleton import COCO17
from boir_sdk.stream import Limits, SourceError, Stream, open_source
from boir_sdk.stream.dispatch import Dispatcher
from boir_sdk.stream.inbox import Inbox
from boir_sdk.stream.result import StreamEvent
from boir_sdk.stream.source import Frame
from tests.support.fake_camera_scripted import ScriptedSource, endless, number, picture, wait_for
from tests.support.fake_estimator import FakeEstimator

LIMITS = Limits(stall_s=20, retry_s=0.01, retry_cap_s=0.02, slow_retry_s=0.02)
SIZE = (24, 32)


def stream(*sources: object, infer=None, limits: Limits = LIMITS, **options: object) -> Stream:
    opened = [open_source(source, limits) for source in sources]
    return Stream(infer or FakeEstimator(), opened, COCO17, limits=limits, **options)  # type: ignore[arg-type]


def no_threads() -> bool:
    return wait_for(lambda: not [t for t in threading.enumerate() if t.name.startswith("boir-")], 3.0)


def test_every_frame_once_and_in_order_whatever_inference_takes() -> None:
    def uneven(image: np.ndarray) -> Poses:
        time.sleep(0.004 * (number(image) % 3))
        return Poses.empty(COCO17)

    with stream((picture(i) for i in range(60)), infer=uneven) as running:
        results = list(running)
        counts = next(iter(running.counts.values()))
    assert [number(r.frame) for r in results if r.frame is not None] == list(range(60)) == [r.index for r in results]
    assert [(r.dropped, r.event) for r in results] == [(0, None)] * 60
    assert (counts.captured, counts.given, counts.dropped, counts.waiting) == (60, 60, 0, 0)
    assert no_threads()


def test_timings_and_times_are_there() -> None:
    pairs = [(2.5, picture(0)), (4.0, picture(1))]
    with stream(pairs, track=True, smooth=True) as running:
        results = list(running)
    assert [r.time_s for r in results] == [2.5, 4.0]
    assert all(set(r.timings_ms) == {"read", "queue", "infer", "track", "smooth"} for r in results)
    assert all(value >= 0 for r in results for value in r.timings_ms.values())
    assert all(r.age_s >= 0 for r in results)


@pytest.mark.parametrize(("infer_s", "consumer_s"), [(0.02, 0.0), (0.004, 0.02), (0.0, 0.0)])
def test_latest_counts_drops_exactly_and_keeps_little(infer_s, consumer_s) -> None:
    def slow(image: np.ndarray) -> Poses:
        time.sleep(infer_s)
        return Poses.empty(COCO17)

    source = ScriptedSource(endless(250, frames=120))
    with stream(source, infer=slow) as running:
        results = []
        for result in running:
            results.append(result)
            lane = running._lanes[0]
            assert lane.inbox.frames <= 1 and running._dispatcher.in_flight(0) <= 1
            time.sleep(consumer_s)
            if result.frame is None:
                break
            assert number(result.frame) == result.index
            if result.index >= 100:
                break
        counts = running.counts["scripted"]
    indices = [r.index for r in results]
    assert indices == sorted(set(indices))
    expected = np.cumsum([1 + r.dropped for r in results]) - 1
    assert indices == expected.tolist()
    assert counts.captured == counts.given + counts.dropped + counts.waiting
    assert counts.given == len(results)


@pytest.mark.parametrize(
    ("policy", "live", "dropped"), [("all", True, False), (None, False, False), ("latest", False, True)]
)
def test_the_policy_decides_not_the_kind_of_source(policy, live, dropped) -> None:
    def slow(image: np.ndarray) -> Poses:
        time.sleep(0.01)
        return Poses.empty(COCO17)

    source = ScriptedSource([SIZE] * 40 + ["end"], live=live)
    with stream(source, infer=slow, policy=policy) as running:
        results = [result for result in running if result.frame is not None]
    assert sum(r.dropped for r in results) + len(results) == 40
    assert (len(results) < 40) is dropped


def test_a_gap_is_an_event_and_identities_begin_anew() -> None:
    def one(image: np.ndarray) -> Poses:
        return Poses([[[10.0 + x, 20.0 + 2 * x] for x in range(17)]], [[0.9] * 17], [0.8], COCO17)

    steps = [SIZE, SIZE, "lost", "refused", "auth", (30, 40), SIZE]
    with stream(ScriptedSource(steps, live=False), infer=one, track=True, policy="all") as running:
        results = list(running)
    assert [r.event and (r.event.kind, r.event.code) for r in results] == [
        None,
        None,
        ("gap", "lost"),
        ("reconnecting", "refused"),
        ("reconnecting", "auth"),
        ("recovered", "lost"),
        ("size_changed", "size_changed"),
    ]
    assert "32 x 24 to 40 x 30" in results[5].event.message  # type: ignore[union-attr]
    assert [None if r.poses.ids is None else r.poses.ids.tolist() for r in results] == [
        [1],
        [1],
        None,
        None,
        None,
        [2],
        [2],
    ]
    assert [r.index for r in results] == [0, 1, 2, 2, 2, 2, 3]


def test_a_silent_source_is_reported_before_it_returns_from_reading() -> None:
    limits = Limits(stall_s=0.1)
    with stream(ScriptedSource([SIZE, "block"]), limits=limits) as running:
        assert next(running).event is None
        event = next(running).event
    assert event is not None and (event.kind, event.code) == ("gap", "stalled")
    assert no_threads()


def test_smoothing_without_tracking_gives_no_ids() -> None:
    pictures = [np.full((24, 32, 3), 2, np.uint8)] * 3
    with stream(pictures, smooth=True) as running:
        results = list(running)
    assert [(len(r.poses), r.poses.ids) for r in results] == [(2, None)] * 3


def test_a_picture_that_cannot_be_read_is_skipped_and_named(tmp_path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with stream([picture(0), tmp_path / "bad.png", picture(2)]) as running:
        results = list(running)
    assert [r.event and r.event.kind for r in results] == [None, "skipped", None]
    assert [r.index for r in results] == [0, 1, 2]
    assert "bad.png" in results[1].event.message  # type: ignore[union-attr]


def test_an_iterable_that_raises_ends_with_a_failed_event() -> None:
    def broken():
        yield picture(0)
        raise RuntimeError("rtsp://u:canary@h is gone")

    with stream(broken()) as running:
        results = list(running)
    assert [r.event and r.event.kind for r in results] == [None, "failed"]
    assert "RuntimeError" in repr(results[1].event) and "canary" not in repr(results[1].event)


def test_what_the_estimator_raises_is_raised_and_closes() -> None:
    def closed(image: np.ndarray) -> Poses:
        raise InferenceError("closed")

    running = stream(ScriptedSource(endless(100)), infer=closed)
    with pytest.raises(InferenceError):
        next(running)
    assert no_threads()
    assert list(running) == []


def test_several_sources_end_each_for_itself_and_one_that_fails_holds_up_none() -> None:
    good = [[picture(i) for i in range(30)], (picture(i) for i in range(10))]
    dead, stuck = ScriptedSource(["refused"] * 10_000, name="dead"), ScriptedSource(["block"], name="stuck")
    with stream(*good, dead, stuck) as running:
        ended, frames = [], {}
        for result in running:
            if result.frame is not None:
                frames.setdefault(result.source, []).append(number(result.frame))
            if result.event is not None and result.event.kind == "ended":
                ended.append(result.source)
            if len(ended) == 2:
                break
    assert frames == {"<list>": list(range(30)), "<generator>": list(range(10))}
    assert no_threads()


def test_the_stream_is_over_when_the_last_of_several_is() -> None:
    with stream([picture(0)], [picture(0)]) as running:
        results = list(running)
    assert sorted((r.source, r.event.kind if r.event else "") for r in results) == [
        ("<list>", ""),
        ("<list>", "ended"),
        ("<list> (2)", ""),
        ("<list> (2)", "ended"),
    ]


def test_sources_take_turns() -> None:
    inboxes = [Inbox("all"), Inbox("all"), Inbox("latest")]
    for i in range(3):
        for inbox in inboxes:
            inbox.put_frame(Frame(picture(i), i, 0.0, time.monotonic(), 0.0))
    dispatcher = Dispatcher(FakeEstimator(), inboxes, workers=2)
    lanes = []
    while (job := dispatcher.fetch(5.0 if len(lanes) < 7 else 0.0)) is not None:
        lanes.append(job.lane)
    dispatcher.stop()
    assert lanes[:2] in ([0, 1], [0, 2])
    assert sorted(lanes) == [0, 0, 0, 1, 1, 1, 2]
    assert max(np.diff([i for i, lane in enumerate(lanes) if lane == 0])) <= 3


def test_a_result_that_grew_old_gives_way_to_a_newer_frame() -> None:
    inbox = Inbox("latest")
    dispatcher = Dispatcher(FakeEstimator(), [inbox], workers=1)
    inbox.put_frame(Frame(picture(0), 0, 0.0, time.monotonic() - 100, 0.0))
    dispatcher.fill()
    assert wait_for(lambda: dispatcher.in_flight(0) == 1 and dispatcher._jobs[0].inferred.done())  # type: ignore[union-attr]
    inbox.put_frame(Frame(picture(1), 1, 0.0, time.monotonic(), 0.0))
    job = dispatcher.fetch(5.0)
    dispatcher.stop()
    assert job is not None and isinstance(job.item, Frame)
    assert (job.item.index, job.dropped) == (1, 1)


def test_nothing_is_inferred_in_advance_for_a_consumer_that_comes_late() -> None:
    inbox = Inbox("latest")
    dispatcher = Dispatcher(FakeEstimator(), [inbox], workers=1)
    for i in range(2):
        inbox.put_frame(Frame(picture(i), i, 0.0, time.monotonic(), 0.0))
        assert dispatcher.fetch(5.0) is not None
        time.sleep(0.3)
    inbox.put_frame(Frame(picture(2), 2, 0.0, time.monotonic(), 0.0))
    dispatcher.fill()
    assert (dispatcher.in_flight(0), inbox.frames) == (0, 1)
    job = dispatcher.fetch(5.0)
    dispatcher.stop()
    assert job is not None and isinstance(job.item, Frame) and job.item.index == 2


@pytest.mark.parametrize("source", [ScriptedSource(["block"]), [picture(i) for i in range(1000)]], ids=["live", "file"])
def test_letting_go_of_a_stream_ends_its_threads(source) -> None:
    running = stream(source, policy="all")
    if isinstance(source, list):
        next(running)
    del running
    gc.collect()
    assert no_threads()


def test_leaving_a_loop_early_ends_the_threads() -> None:
    for _ in stream(ScriptedSource(endless(100))):
        break
    gc.collect()
    assert no_threads()


def test_ctrl_c_while_waiting_ends_the_threads() -> None:
    running = stream(ScriptedSource(["block"]))
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        next(running)
    timer.join()
    assert no_threads()


def test_stop_ends_the_iteration_from_a_signal_handler() -> None:
    running = stream(ScriptedSource(["block"]))
    before = signal.signal(signal.SIGUSR1, lambda *_: running.stop())
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        assert list(running) == []
    finally:
        signal.signal(signal.SIGUSR1, before)
        timer.join()
    assert no_threads()


def test_closing_twice_and_from_another_thread() -> None:
    running = stream(ScriptedSource(endless(100)))
    next(running)
    thread = threading.Thread(target=running.close)
    thread.start()
    running.close()
    thread.join(5)
    assert not thread.is_alive() and list(running) == []


@pytest.mark.parametrize("options", [{"policy": "newest"}])
def test_impossible_options(options) -> None:
    with pytest.raises(InputError, match="policy"):
        stream([picture(0)], **options)
    with pytest.raises(InputError, match="at least one"):
        Stream(FakeEstimator(), [], COCO17)


def test_events_have_the_codes_of_their_failures() -> None:
    assert SourceError("auth", "no").code == "auth"
    assert StreamEvent("gap", "auth", "no").code == "auth"


def test_thousands_of_frames_leave_nothing_behind() -> None:
    def objects() -> int:
        gc.collect()
        return len(gc.get_objects())

    with stream((picture(i) for i in range(1000)), track=True, smooth=True) as running:
        for _ in range(150):
            next(running)
        before = objects()
        for _ in range(700):
            next(running)
        after = objects()
    assert after - before < 200  # one object a frame would be 700
