"""How long a live source may be silent, and how long to wait before the next attempt to reach it."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields

from boir_sdk.errors import InputError

SLOW_CODES = frozenset({"auth", "not_found"})
"""Causes that an attempt a second later won't cure, and that hammering makes worse (cameras lock users out)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits of a stream, in seconds.

    Attributes:
        connect_s: for an address to be reached and to describe its stream; below `stall_s`, so that a camera that
            doesn't answer is reported as that.
        first_frame_s: from then to the first frame; a camera sends a whole picture only every few seconds.
        stall_s: between two frames; a longer silence is a gap.
        retry_s: before the first new attempt; doubles with each one that fails.
        retry_cap_s: the longest such wait.
        slow_retry_s: the wait after a refused password or an unknown path.
        jitter: share by which a wait is made longer or shorter at random, so that many clients don't return at once.
        close_s: for threads to end when a stream is closed.

    Raises:
        InputError: a limit isn't a positive number.
    """

    connect_s: float = 4.0
    first_frame_s: float = 10.0
    stall_s: float = 5.0
    retry_s: float = 0.5
    retry_cap_s: float = 10.0
    slow_retry_s: float = 30.0
    jitter: float = 0.2
    close_s: float = 3.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < float("inf") and not (field.name == "jitter" and value == 0):
                raise InputError(f"limit {field.name} is {value!r}, expected seconds above 0")
        if self.jitter >= 1:
            raise InputError(f"limit jitter is {self.jitter!r}, expected a share below 1")


class Backoff:
    """Waits between attempts: doubling up to a cap, slow at once where haste is useless, with jitter."""

    def __init__(self, limits: Limits, seed: int | None = None) -> None:
        """Start with the shortest wait; a seed makes the jitter repeatable."""
        self._limits = limits
        self._random = random.Random(seed)  # noqa: S311 - jitter, not a secret
        self._failures = 0

    def next_wait(self, code: str) -> float:
        """Return the seconds to wait after one more failure with this cause."""
        limits = self._limits
        doubled = limits.retry_s * 2 ** min(self._failures, 30)
        wait = limits.slow_retry_s if code in SLOW_CODES else min(doubled, limits.retry_cap_s)
        self._failures += 1
        return wait * (1 + self._random.uniform(-limits.jitter, limits.jitter))

    def reset(self) -> None:
        """A frame has come: the next failure is a first one again."""
        self._failures = 0
