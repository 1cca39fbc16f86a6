"""Steady keypoints over time: the One-Euro filter of every keypoint of every person.

The filter (G. Casiez, N. Roussel, D. Vogel, "1 Euro Filter", CHI 2012) is a low-pass whose cutoff rises with speed:
who stands still doesn't jitter, who moves isn't late. Here it uses real time steps, takes the speed of a keypoint along
both axes together, and measures it in sizes of the person, so that one setting suits every resolution. A keypoint less
sure than it has lately been moves its state less, and goes with the body instead.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk.errors import InputError
from boir_sdk.poses import Poses
from boir_sdk.skeleton import Skeleton
from boir_sdk.track import body_sizes

_SPEED_CUTOFF_HZ = 1.0  # of the low-pass on speeds, as in the paper
_TRUST_S = 0.5  # how long a keypoint is remembered to have been surer than now
_INSTANT_S = 1e-6  # shorter steps tell nothing of speed
_MOST_UNSEEN = 300  # people out of sight that are remembered, the last seen first
_FINITE = float(np.finfo(np.float32).max)
_FLOOR = 0.01  # score that is as good as none: keeps ratios of scores sensible near 0


@dataclass(frozen=True, slots=True)
class _States:
    """What is remembered of T people.

    Attributes:
        ids: int64 [T].
        keypoints: float64 [T, K, 2] smoothed, pixels.
        velocity: float64 [T, K, 2] smoothed, pixels a second.
        trust: float64 [T, K] the scores that the state rests on.
        seen_s: float64 [T].
    """

    ids: NDArray[np.int64]
    keypoints: NDArray[np.float64]
    velocity: NDArray[np.float64]
    trust: NDArray[np.float64]
    seen_s: NDArray[np.float64]

    def __getitem__(self, index: NDArray[Any]) -> _States:
        return _States(*(getattr(self, one.name)[index] for one in fields(self)))


class Smoother:
    """Takes the jitter out of the keypoints of people with ids.

    Holds the state of one stream: use one a stream, from one thread at a time.

    Example:
        >>> from boir_sdk.skeleton import COCO17
        >>> smoother = Smoother(COCO17)
        >>> frame = lambda x: Poses([[[x + k, 9.0 * k] for k in range(17)]], [[0.9] * 17], [0.8], COCO17, [1])
        >>> [round(float(smoother.update(frame(x), t / 30).keypoints[0, 0, 0]), 1) for t, x in enumerate([5, 6, 5])]
        [5.0, 5.2, 5.2]
    """

    def __init__(
        self, skeleton: Skeleton, *, min_cutoff_hz: float = 1.0, beta: float = 4.0, memory_s: float = 1.0
    ) -> None:
        """Start without people.

        Args:
            skeleton: what the keypoints are.
            min_cutoff_hz: cutoff for someone who stands still: lower is steadier.
            beta: how many Hz more for each size of the person a second (a walk is about 1.5; a size is
                `track.body_sizes`): higher is less late.
            memory_s: seconds unseen after which a person begins anew.

        Raises:
            InputError: a setting is out of range.
        """
        for name, value in (("min_cutoff_hz", min_cutoff_hz), ("memory_s", memory_s)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value!r}, expected a finite number above 0")
        if not (math.isfinite(beta) and beta >= 0):
            raise InputError(f"beta is {beta!r}, expected a finite number of 0 or more")
        self._skeleton = skeleton
        self._min_cutoff_hz = float(min_cutoff_hz)
        self._beta = float(beta)
        self._memory_s = float(memory_s)
        self._states = _nobody(len(skeleton))
        self._time_s: float | None = None
        self._busy = threading.Lock()

    def update(self, poses: Poses, time_s: float) -> Poses:
        """Return the same people in the same order with smoothed keypoints; scores and ids stay.

        Args:
            poses: the people of the next picture, with ids.
            time_s: its time in the stream, in seconds. A time before the last one counts as no time having passed, or,
                if it is more than the memory before, as a new beginning.

        Raises:
            InputError: no ids or one twice, another skeleton, a time that isn't finite, or a call while another is
                running.
        """
        if poses.skeleton != self._skeleton:
            raise InputError(f"poses are of {poses.skeleton.name}, this smoother is for {self._skeleton.name}")
        if poses.ids is None:
            raise InputError("poses have no ids: give them to a Tracker first")
        if len(np.unique(poses.ids)) < len(poses):
            raise InputError(f"an id is there twice: {poses.ids.tolist()}")
        if not math.isfinite(time_s):
            raise InputError(f"time_s is {time_s!r}, expected a finite number of seconds")
        if not self._busy.acquire(blocking=False):
            raise InputError("Smoother.update was called while another call was running: make one for each stream")
        try:
            return self._update(poses, poses.ids, float(time_s))
        finally:
            self._busy.release()

    def reset(self) -> None:
        """Forget everybody, as after a gap in the stream."""
        self._states = _nobody(len(self._skeleton))
        self._time_s = None

    def _update(self, poses: Poses, ids: NDArray[np.int64], time_s: float) -> Poses:
        states = self._at(time_s)
        found = _States(
            ids=ids,
            keypoints=poses.keypoints.astype(np.float64),
            velocity=np.zeros((len(poses), len(self._skeleton), 2)),
            trust=poses.keypoint_scores.astype(np.float64),
            seen_s=np.full(len(poses), time_s),
        )
        _, people, rows = np.intersect1d(ids, states.ids, return_indices=True)
        known = _filtered(states[rows], found[people], self._min_cutoff_hz, self._beta)
        unseen = states[~np.isin(states.ids, ids)]
        unseen = unseen[np.argsort(-unseen.seen_s, kind="stable")[:_MOST_UNSEEN]]
        self._states = _joined(known, found[~np.isin(ids, known.ids)], unseen)
        keypoints = found.keypoints.copy()
        keypoints[people] = known.keypoints
        return replace(poses, keypoints=np.clip(keypoints, -_FINITE, _FINITE))

    def _at(self, time_s: float) -> _States:
        """Move to a time: the clock, and the people who aren't forgotten by then."""
        last_s, self._time_s = self._time_s, time_s
        states = self._states
        if last_s is not None and time_s < last_s:
            if last_s - time_s > self._memory_s:
                return _nobody(len(self._skeleton))
            states = replace(states, seen_s=states.seen_s - (last_s - time_s))
        return states[time_s - states.seen_s <= self._memory_s]


def _nobody(joints: int) -> _States:
    none = np.zeros((0, joints, 2))
    return _States(np.zeros(0, dtype=np.int64), none, none, np.zeros((0, joints)), np.zeros(0))


def _joined(*parts: _States) -> _States:
    return _States(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(_States)))


def _filtered(states: _States, found: _States, min_cutoff_hz: float, beta: float) -> _States:
    """The states of T people after they were found again: `found` holds their keypoints, scores and times."""
    step_s = np.maximum(found.seen_s - states.seen_s, 0.0)[:, None]
    trust = np.maximum(found.trust, found.trust + (states.trust - found.trust) * np.exp(-step_s / _TRUST_S))
    usual = np.maximum(trust, np.median(trust, axis=1, keepdims=True))
    share = (found.trust + _FLOOR) / (usual + _FLOOR)
    off = found.keypoints - states.keypoints
    # no time, no speed: a second picture of the same moment moves nothing
    raw = np.where(step_s > _INSTANT_S, 1.0, 0.0)[..., None] * off / np.maximum(step_s, _INSTANT_S)[..., None]
    pace = share * _gain(np.full_like(trust, _SPEED_CUTOFF_HZ), step_s)
    velocity = states.velocity + pace[..., None] * (raw - states.velocity)
    size = body_sizes(states.keypoints)
    gain = _gain(min_cutoff_hz + beta * np.linalg.norm(velocity, axis=-1) / size[:, None], step_s)
    move = gain[..., None] * off
    weight = share * (found.trust + _FLOOR)
    body = (weight[..., None] * move).sum(axis=1, keepdims=True) / weight.sum(axis=1)[:, None, None]
    move = share[..., None] * move + (1 - share[..., None]) * body
    return _States(states.ids, states.keypoints + move, velocity, trust, found.seen_s)


def _gain(cutoff_hz: NDArray[np.float64], step_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the way to a new value that a low-pass goes in a time step, 0..1."""
    angle = 2 * np.pi * cutoff_hz * step_s
    return angle / (angle + 1)
