"""The queue between capture and inference: order, bounds, exact counts."""

from __future__ import annotations

import threading
import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from boir_sdk.stream.inbox import EVENTS_WAITING, WAITING, Inbox
from boir_sdk.stream.result import StreamEvent
from boir_sdk.stream.source import Frame


def frame(index: int) -> Frame:
    return Frame(np.zeros((1, 1, 3), np.uint8), index, 0.0, 0.0, 0.0)


def event(kind: str, code: str = "x") -> StreamEvent:
    return StreamEvent(kind, code, "")


def test_latest_keeps_the_newest_frame_and_all_events() -> None:
    inbox = Inbox("latest")
    for item in (frame(0), frame(1), event("gap"), frame(2), frame(3)):
        _ = inbox.put_frame(item) if isinstance(item, Frame) else inbox.put_event(item)
    first, second = inbox.take(), inbox.take()
    assert first is not None and first[0] == event("gap")
    assert second is not None and isinstance(second[0], Frame) and second[0].index == 3
    assert first[1] + second[1] == 3
    assert inbox.take() is None


def test_repeated_attempts_collapse_to_the_last_one() -> None:
    inbox = Inbox("latest")
    inbox.put_event(event("gap"))
    for code in "abc":
        inbox.put_event(event("reconnecting", code))
    taken = [inbox.take(), inbox.take(), inbox.take()]
    assert [t and t[0] for t in taken] == [event("gap"), event("reconnecting", "c"), None]


def test_latest_is_bounded_when_nobody_takes_anything() -> None:
    inbox = Inbox("latest")
    for i in range(1000):
        inbox.put_event(event("gap"))
        inbox.put_frame(frame(i))
    assert len(inbox) <= EVENTS_WAITING + 2
    assert inbox.frames == 1


def test_all_makes_the_one_who_puts_wait_and_loses_nothing() -> None:
    inbox = Inbox("all")
    thread = threading.Thread(target=lambda: [inbox.put_frame(frame(i)) for i in range(20)])
    thread.start()
    seen, most = [], 0
    while len(seen) < 20:
        most = max(most, len(inbox))
        taken = inbox.take()
        if taken is None:
            time.sleep(0.001)
            continue
        assert taken[1] == 0 and isinstance(taken[0], Frame)
        seen.append(taken[0].index)
    thread.join(5)
    assert seen == list(range(20))
    assert 1 <= most <= WAITING


def test_whoever_takes_can_put_an_event_into_a_full_inbox() -> None:
    inbox = Inbox("all")
    for i in range(WAITING):
        inbox.put_frame(frame(i))
    assert inbox.put_event(event("gap"), wait=False)
    assert len(inbox) == WAITING + 1


def test_closing_lets_the_one_who_waits_go() -> None:
    inbox = Inbox("all")
    answers = []
    thread = threading.Thread(target=lambda: answers.extend(inbox.put_frame(frame(i)) for i in range(WAITING + 1)))
    thread.start()
    while len(inbox) < WAITING:
        time.sleep(0.001)
    inbox.close()
    thread.join(5)
    assert answers == [True] * WAITING + [False]
    assert inbox.captured == WAITING


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["frame", "gap", "reconnecting", "take", "take event"])))
def test_latest_counts_exactly_whatever_the_order(steps: list[str]) -> None:
    inbox, put, dropped, taken = Inbox("latest"), 0, 0, []
    for step in steps:
        if step == "frame":
            inbox.put_frame(frame(put))
            put += 1
        elif step.startswith("take"):
            got = inbox.take(frames=step == "take")
            if got is not None:
                dropped += got[1]
                if isinstance(got[0], Frame):
                    taken.append(got[0].index)
        else:
            inbox.put_event(event(step))
    while (got := inbox.take()) is not None:
        dropped += got[1]
        if isinstance(got[0], Frame):
            taken.append(got[0].index)
    assert taken == sorted(taken)
    assert len(taken) + dropped + inbox.drops_pending == put == inbox.captured
