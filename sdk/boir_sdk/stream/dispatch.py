"""Which frame is inferred next: sources take turns, a few frames are in flight, results come in order.

Frames wait in the inboxes of their sources and are taken as late as possible, so that under `latest` the newest counts.
Taking happens whenever a frame arrives, a result is fetched or an inference ends, in whatever thread that is; there is
no thread that only moves frames about.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boir_sdk.poses import Poses
from boir_sdk.stream.inbox import Inbox
from boir_sdk.stream.result import StreamEvent
from boir_sdk.stream.source import Frame

Infer = Callable[[NDArray[np.uint8]], Poses]

_SLACK_S = 0.1  # how much older than two inferences a frame under `latest` may become
_STEP = 0.3  # weight of the newest inference in the running mean of its time


@dataclass(frozen=True, slots=True, eq=False)
class Inferred:
    """The people of a frame, and how long it waited for its turn and then took, in ms."""

    poses: Poses
    queue_ms: float
    infer_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """An item on its way out.

    Attributes:
        lane: number of its source.
        item: a frame or an event.
        dropped: frames of that source left out since the item before.
        inferred: of a frame, what comes of it.
    """

    lane: int
    item: Frame | StreamEvent
    dropped: int
    inferred: Future[Inferred] | None


class Dispatcher:
    """Takes turns among inboxes and keeps inference busy."""

    def __init__(self, infer: Infer, inboxes: Sequence[Inbox], workers: int) -> None:
        """Start without frames.

        Args:
            infer: uint8 [H, W, 3] BGR -> people; called from `workers` threads at a time.
            inboxes: one a source.
            workers: inferences at a time.
        """
        self._infer, self._inboxes, self._workers = infer, inboxes, workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="boir-infer")
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._turn = 0
        self._closed = False
        self._waiting = False
        self._fetched_s = time.monotonic()
        self._away_s = 0.0  # how long the consumer was busy between the last two fetches
        self._infer_s = 0.0

    def fill(self) -> None:
        """Take what may be taken now; called whenever that may have changed."""
        with self._changed:
            while not self._closed and self._take_one():
                pass
            self._changed.notify_all()

    def fetch(self, timeout_s: float) -> Job | None:
        """Return the oldest job once its frame has been inferred, or None when nothing is ready in time."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            if not self._waiting:
                self._away_s = time.monotonic() - self._fetched_s
            self._waiting = True
            self._leave_out_stale()
            while not self._closed:
                self.fill()
                if self._jobs and (self._jobs[0].inferred is None or self._jobs[0].inferred.done()):
                    job = self._jobs.popleft()
                    self._waiting, self._fetched_s = False, time.monotonic()
                    self.fill()  # the next frame is inferred while this one is drawn
                    return job
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
            return None

    def count(self, lane: int) -> tuple[int, int]:
        """Frames that a source gave so far, and how many of them wait or are being inferred."""
        with self._changed:  # nothing moves from the inbox meanwhile
            captured, waiting = self._inboxes[lane].count()
            return captured, waiting + self.in_flight(lane)

    def in_flight(self, lane: int) -> int:
        """Frames of a source that were taken and not fetched yet."""
        with self._changed:
            return sum(job.lane == lane and job.inferred is not None for job in self._jobs)

    def stop(self) -> None:
        """Forget what isn't running."""
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Wait for the inferences that run."""
        self._pool.shutdown(wait=True)

    def _take_one(self) -> bool:
        """Take an item of the next source that has one; False when there is none."""
        for step in range(len(self._inboxes)):
            lane = (self._turn + step) % len(self._inboxes)
            if any(job.lane == lane and job.inferred is None for job in self._jobs):
                continue  # one event at a time, so that they pile up in the inbox, which is bounded
            taken = self._inboxes[lane].take(frames=self._may_take(lane))
            if taken is not None:
                item, dropped = taken
                if isinstance(item, StreamEvent):
                    self._jobs.append(Job(lane, item, dropped, None))
                    return True
                self._turn = lane + 1
                future = self._pool.submit(self._work, item)
                self._jobs.append(Job(lane, item, dropped, future))
                # Last: of a future that is done already the callback runs here and now, and takes the next item.
                future.add_done_callback(lambda _: self.fill())
                return True
        return False

    def _may_take(self, lane: int) -> bool:
        """Whether one more frame of a source fits.

        Under `all` one finished result waits while the workers are busy. Under `latest` a frame must not grow old: one
        of a source at a time, only when a worker is free, and only while somebody waits for it or is about to. A worker
        becomes free for it because a source under `all` takes no place in advance while such a frame waits.
        """
        taken = [job.lane for job in self._jobs if job.inferred is not None]
        prompt = self._waiting or self._away_s <= self._infer_s + _SLACK_S
        if self._inboxes[lane].policy == "all":
            due = prompt and any(
                inbox.policy == "latest" and number not in taken and inbox.frames
                for number, inbox in enumerate(self._inboxes)
            )
            return len(taken) < self._workers + (not due)
        return prompt and len(taken) < self._workers and lane not in taken

    def _leave_out_stale(self) -> None:
        """Under `latest`, drop results that grew old because nobody fetched them, if there is something newer."""
        limit = time.monotonic() - 2 * self._infer_s - _SLACK_S
        for job in list(self._jobs):
            inbox = self._inboxes[job.lane]
            ready = job.inferred is not None and job.inferred.done() and job.inferred.exception() is None
            old = isinstance(job.item, Frame) and job.item.captured_s < limit
            if inbox.policy == "latest" and ready and old and inbox.frames:
                self._jobs.remove(job)
                inbox.drop(job.dropped + 1)

    def _work(self, frame: Frame) -> Inferred:
        start = time.monotonic()
        poses = self._infer(frame.image)
        took = time.monotonic() - start
        self._infer_s += (took - self._infer_s) * (_STEP if self._infer_s else 1.0)
        return Inferred(poses, (start - frame.captured_s) * 1000, took * 1000)
