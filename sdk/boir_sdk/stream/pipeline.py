"""`Stream`: sources in, one result a frame out, in order, for as long as it takes."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, TracebackType

from boir_sdk.errors import InferenceError, InputError
from boir_sdk.poses import Poses
from boir_sdk.skeleton import Skeleton
from boir_sdk.stream.capture import Capture
from boir_sdk.stream.dispatch import Dispatcher, Infer, Inferred
from boir_sdk.stream.health import Limits
from boir_sdk.stream.inbox import POLICIES, Inbox, Policy
from boir_sdk.stream.people import People
from boir_sdk.stream.result import StreamEvent, StreamResult
from boir_sdk.stream.source import Frame, Source

log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())  # events say it all to who asks for no log

_POLL_S = 0.1
_NO_TIMINGS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of a source's frames; `captured` is the sum of the other three.

    Attributes:
        captured: frames that the source gave.
        given: frames in results.
        dropped: frames left out, also those that waited when the stream was closed.
        waiting: frames on their way.
    """

    captured: int
    given: int
    dropped: int
    waiting: int


class _Lane:
    """One source and what is known of it from the results given out so far."""

    def __init__(self, source: Source, name: str, people: People, policy: Policy) -> None:
        self.source, self.name, self.people = source, name, people
        self.inbox = Inbox(policy)
        self.gap: tuple[StreamEvent, float] | None = None
        self.size: tuple[int, int] | None = None
        self.next_index, self.time_s = 0, 0.0
        self.given = self.dropped = 0
        self.over = False

    def result(self, item: Frame | StreamEvent, dropped: int, inferred: Inferred | None) -> StreamResult:
        """Make the result of an item, in order."""
        self.dropped += dropped
        if isinstance(item, StreamEvent) or inferred is None:
            assert isinstance(item, StreamEvent)  # noqa: S101 - for the type checker: only frames are inferred
            return self._without_frame(item, dropped)
        event = self._event_of(item)
        if event is not None and event.kind == "recovered":
            self.people.reset()
        poses, timings = self.people.follow(inferred.poses, item.time_s)
        stages = {"read": item.read_ms, "queue": inferred.queue_ms, "infer": inferred.infer_ms, **timings}
        self.next_index, self.time_s = item.index + 1, item.time_s
        self.given += 1
        age_s = time.monotonic() - item.captured_s
        return StreamResult(
            item.image, poses, item.index, item.time_s, age_s, dropped, event, self.name, MappingProxyType(stages)
        )

    def _without_frame(self, event: StreamEvent, dropped: int) -> StreamResult:
        index = self.next_index
        if event.kind == "skipped":
            self.next_index += 1
        elif event.kind in ("gap", "reconnecting"):
            self.gap = self.gap or (event, time.monotonic())
        elif event.kind in ("ended", "failed"):
            self.over = True
        nobody = Poses.empty(self.people.skeleton)
        return StreamResult(None, nobody, index, self.time_s, 0.0, dropped, event, self.name, _NO_TIMINGS)

    def _event_of(self, frame: Frame) -> StreamEvent | None:
        """What a frame says by being there or by its size."""
        size, before = (frame.image.shape[1], frame.image.shape[0]), self.size
        gap, self.size, self.gap = self.gap, size, None
        text = "" if before in (None, size) else f"{before[0]} x {before[1]} to {size[0]} x {size[1]}" if before else ""
        if gap is not None:
            cause, since = gap
            now = f"; the size changed from {text}" if text else ""
            lasted = time.monotonic() - since
            return StreamEvent("recovered", cause.code, f"{self.name}: frames again after {lasted:.1f} s{now}")
        if text:
            return StreamEvent("size_changed", "size_changed", f"{self.name}: the size changed from {text}")
        return None


class Stream:
    """Results of one or several sources, to be iterated over by one thread.

    Reading, decoding and inference go on in threads of their own while the caller looks at a result. Close it, use it
    in a `with` statement, or let go of it: the threads end. They also end when the caller is interrupted while it
    waits for a result.

    Example:
        >>> with estimator.stream("rtsp://${USER}:${PASSWORD}@camera/live", track=True) as stream:  # doctest: +SKIP
        ...     for result in stream:
        ...         print(result.index, len(result.poses), result.event)
    """

    def __init__(
        self,
        infer: Infer,
        sources: Sequence[Source],
        skeleton: Skeleton,
        *,
        track: bool = False,
        smooth: bool = False,
        new_score: float = 0.0,
        policy: str | None = None,
        limits: Limits | None = None,
        workers: int = 2,
    ) -> None:
        """Start to read; `PoseEstimator.stream` is the usual way to make one.

        Args:
            infer: uint8 [H, W, 3] BGR -> people; called from `workers` threads at a time.
            sources: from `open_source`, each used once.
            skeleton: of the people.
            track: give people identities over time, apart for each source.
            smooth: smooth keypoints over time.
            new_score: of `Tracker`, when people are followed.
            policy: `latest` (of frames that arrive meanwhile only the newest counts: an age is bounded) or `all` (every
                frame once); None: `latest` for live sources and `all` for others.
            limits: time limits of live sources.
            workers: inferences at a time.

        Raises:
            InputError: no source, or an unknown policy.
        """
        if not sources:
            raise InputError("no source to stream: give at least one")
        if policy is not None and policy not in POLICIES:
            raise InputError(f"policy is {policy!r}, expected {' or '.join(POLICIES)}, or None for the source's own")
        limits = limits or Limits()
        self._lanes = [
            _Lane(
                source, name, People(skeleton, track=track, smooth=smooth, new_score=new_score), _policy(policy, source)
            )
            for source, name in zip(sources, _names(sources), strict=True)
        ]
        self._stop = threading.Event()
        self._dispatcher = Dispatcher(infer, [lane.inbox for lane in self._lanes], workers)
        self._captures = [Capture(lane.source, lane.inbox, limits, self._dispatcher.fill) for lane in self._lanes]
        # The threads know nothing of this object, so letting go of it ends them too.
        self._let_go = weakref.finalize(self, _let_go, self._captures, self._dispatcher, os.getpid())
        self._pid = os.getpid()
        self._close_s = limits.close_s

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> StreamResult:
        if os.getpid() != self._pid:
            raise InferenceError(
                "this stream was opened before the process forked, and its threads are not in the child: use "
                "the 'spawn' method"
            )
        try:
            while not self._stop.is_set():
                job = self._dispatcher.fetch(_POLL_S)
                if job is None:
                    for capture in self._captures:
                        capture.watch()
                    if all(lane.over for lane in self._lanes):
                        break
                    continue
                lane = self._lanes[job.lane]
                inferred = None if job.inferred is None else job.inferred.result()
                result = lane.result(job.item, job.dropped, inferred)
                if result.event is not None and result.event.kind == "ended" and len(self._lanes) == 1:
                    break  # the iterator's end says it all
                return result
        except BaseException:
            self.close()
            raise
        self.close()
        raise StopIteration

    @property
    def counts(self) -> dict[str, Counts]:
        """What became of the frames so far, by name of source."""
        found = {}
        for number, lane in enumerate(self._lanes):
            captured, waiting = self._dispatcher.count(number)
            found[lane.name] = Counts(captured, lane.given, captured - lane.given - waiting, waiting)
        return found

    def stop(self) -> None:
        """Let a running or the next `next()` end the iteration soon; safe in a signal handler and any thread."""
        self._stop.set()

    def close(self) -> None:
        """End all threads and let go of the sources; may be called more than once.

        Takes at most `Limits.close_s` and the inference at hand, unless an iterable of the caller's own doesn't return.
        """
        if os.getpid() != self._pid:
            return  # threads and sources belong to the process that forked, and a lock of theirs may be held for ever
        self._stop.set()
        self._let_go()
        self._dispatcher.join()
        deadline = time.monotonic() + self._close_s
        for capture in self._captures:
            if not capture.join(max(deadline - time.monotonic(), 0.1)):
                log.warning("%s doesn't return from reading: its thread is left behind", capture.name)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _let_go(captures: Sequence[Capture], dispatcher: Dispatcher, pid: int) -> None:
    """Let every thread end; waits for none, since the garbage collector may call this in one of them."""
    if os.getpid() != pid:
        return
    for capture in captures:
        capture.stop()
    dispatcher.stop()


def _policy(policy: str | None, source: Source) -> Policy:
    if policy is None:
        return "latest" if source.live else "all"
    return "latest" if policy == "latest" else "all"


def _names(sources: Sequence[Source]) -> list[str]:
    """Names that tell sources apart, also when one is given twice."""
    names: list[str] = []
    for source in sources:
        same = sum(other.name == source.name for other in sources[: len(names)])
        names.append(f"{source.name} ({same + 1})" if same else source.name)
    return names
