"""What waits between capture and inference: a bounded queue with a policy, never out of order."""

from __future__ import annotations

import threading
from collections import deque
from typing import Literal

from boir_sdk.stream.result import StreamEvent
from boir_sdk.stream.source import Frame

Policy = Literal["latest", "all"]
POLICIES: tuple[Policy, ...] = ("latest", "all")
WAITING = 4  # items under `all`; each may be a whole picture
EVENTS_WAITING = 16  # under `latest`; more only pile up when nobody takes them


class Inbox:
    """Frames and events of one source in their order, bounded whatever happens.

    Under `latest` one frame waits at most: a newer one takes its place, and the older one is counted as dropped. Under
    `all` the one who puts waits for room. Of several failed attempts in a row that nobody has taken yet the last one is
    kept.
    """

    def __init__(self, policy: Policy) -> None:
        """Make an empty one."""
        self.policy = policy
        self.captured = 0
        self.closed = False
        self._items: deque[Frame | StreamEvent] = deque()
        self.drops_pending = 0  # dropped since the last item that was taken
        self._changed = threading.Condition()

    def put_frame(self, frame: Frame) -> bool:
        """Add a frame; False when the inbox was closed instead."""
        with self._changed:
            if self.policy == "latest":
                kept = [item for item in self._items if not isinstance(item, Frame)]
                self.drops_pending += len(self._items) - len(kept)
                self._items = deque(kept)
            return self._append(frame)

    def put_event(self, event: StreamEvent, *, wait: bool = True) -> bool:
        """Add an event; False when the inbox was closed instead.

        Args:
            event: what happened.
            wait: for room, under `all`; whoever takes items must not.
        """
        with self._changed:
            last = self._items[-1] if self._items else None
            if isinstance(last, StreamEvent) and last.kind == event.kind == "reconnecting":
                self._items.pop()
            elif self.policy == "latest" and len(self._items) > EVENTS_WAITING:
                oldest = next(item for item in self._items if isinstance(item, StreamEvent))
                self._items.remove(oldest)
            return self._append(event, wait=wait)

    def _append(self, item: Frame | StreamEvent, *, wait: bool = True) -> bool:
        while wait and self.policy == "all" and len(self._items) >= WAITING and not self.closed:
            self._changed.wait()
        if not self.closed:
            self._items.append(item)
            self.captured += isinstance(item, Frame)
        return not self.closed

    def take(self, *, frames: bool = True) -> tuple[Frame | StreamEvent, int] | None:
        """Return the next item and how many frames were dropped since the last one; None when there is none.

        Args:
            frames: whether a frame may be taken; an event always may.
        """
        with self._changed:
            if not self._items or (not frames and isinstance(self._items[0], Frame)):
                return None
            item = self._items.popleft()
            dropped, self.drops_pending = self.drops_pending, 0
            self._changed.notify_all()
            return item, dropped

    def drop(self, count: int) -> None:
        """Count frames that were taken and left out after all."""
        with self._changed:
            self.drops_pending += count

    @property
    def frames(self) -> int:
        """How many frames wait."""
        return self.count()[1]

    def count(self) -> tuple[int, int]:
        """Return how many frames were put so far and how many of them wait."""
        with self._changed:
            return self.captured, sum(isinstance(item, Frame) for item in self._items)

    def __len__(self) -> int:
        return len(self._items)

    def close(self) -> None:
        """Throw away what waits and let a waiting `put_frame` return."""
        with self._changed:
            self.closed = True
            self._items.clear()
            self._changed.notify_all()
