"""Identities over time: who of this picture was who in the last ones.

A track predicts where its person is now: the pose last seen, moved on with the speed of the body. The speed is that of
the whole body, not of single keypoints, because arms and legs that swing would fly apart while a person is hidden. It
comes from a Kalman filter with constant velocity (R. E. Kalman, 1960) in the person's own size, so nothing depends on
the resolution or the frame rate. New people are compared with the predictions by OKS and by overlap of boxes, and all
are assigned at once at the least total cost. The longer a person is hidden, the less sure the prediction, and the wider
the filter makes the search.

Who steps behind somebody is found with a lower score than before, and is still there. So people too faint to be
believed in one picture alone may go on with a track that nobody else went on with, as in ByteTrack (Zhang et al., ECCV
2022); they never begin one.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk.assignment import assign
from boir_sdk.errors import InputError
from boir_sdk.poses import Poses
from boir_sdk.skeleton import Skeleton

# Lengths below are in sizes of the person: the root of the area of the box round the keypoints.
_MEASURED = 0.05  # standard deviation of where a body is found
_FIRST_SPEED = 1.0  # standard deviation of the speed of someone just seen, per second: a walk
_ACCELERATION = 1.0  # white noise that changes the speed: in a second by about this much per second
_SURE_AFTER = 3  # pictures in which a person was found before the track counts as sure
_UNSURE_MEMORY = 0.5  # share of the memory that a track gets before that
_ALIKE = 0.5  # share of OKS in the likeness, beside the overlap of boxes
_LIMIT = 0.7  # cost, 1 - likeness, from which on no pair is made
_WIDEST = 0.6  # unsure predictions count as this unsure at most: nobody is looked for everywhere
_DOUBT = 0.1  # cost of each size that a prediction is unsure: at equal likeness who was seen just now goes first
_SLACK = 0.15  # keypoints may be so much off beside what OKS allows: predictions aren't annotations
_SLIMMEST = 0.35  # a box's shorter side counts as at least so much of the longer one
_MOST_HIDDEN = 300  # people out of sight that are remembered, the last seen first
_LONGEST_S = 60.0  # of a memory: after a minute a straight line says nothing
_FAR = 1e6  # pixels; nobody is tracked beyond, and squares and areas stay finite


@dataclass(frozen=True, slots=True)
class _Tracks:
    """T tracks at one time.

    Attributes:
        ids: int64 [T].
        keypoints: float64 [T, K, 2], pixels.
        velocity: float64 [T, 2], pixels a second.
        covariance: float64 [T, 2, 2] of position and speed along one axis (the same on both), in sizes and seconds.
        size: float64 [T], pixels.
        seen_s: float64 [T], when last found.
        found: int64 [T], in how many pictures.
    """

    ids: NDArray[np.int64]
    keypoints: NDArray[np.float64]
    velocity: NDArray[np.float64]
    covariance: NDArray[np.float64]
    size: NDArray[np.float64]
    seen_s: NDArray[np.float64]
    found: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: NDArray[Any]) -> _Tracks:
        return _Tracks(*(getattr(self, one.name)[index] for one in fields(self)))


class Tracker:
    """Gives the people of a stream identities.

    Everybody gets an id at once; it is never given to another person, not after `reset` either. A track lives on for
    `memory_s` after its person was last found, one found in fewer than three pictures so far for half of that. People
    scored below `new_score` go on with the track of somebody found in three pictures before, or are left out.

    Holds the state of one stream: use one a stream, from one thread at a time.

    Example:
        >>> from boir_sdk.skeleton import COCO17
        >>> tracker = Tracker(COCO17)
        >>> pose = [[[10.0 + x, 20.0 + 3 * x] for x in range(17)]]
        >>> [tracker.update(Poses(pose, [[0.9] * 17], [0.8], COCO17), t / 30).ids.tolist() for t in range(2)]
        [[1], [1]]
    """

    def __init__(self, skeleton: Skeleton, *, memory_s: float = 2.0, new_score: float = 0.0) -> None:
        """Start without people.

        Args:
            skeleton: what the keypoints are.
            memory_s: seconds that a person may be hidden and still be known again, at most 60.
            new_score: score, 0..1, from which on somebody new is believed.

        Raises:
            InputError: `memory_s` or `new_score` is out of range.
        """
        if not 0 < memory_s <= _LONGEST_S:
            raise InputError(f"memory_s is {memory_s!r}, expected seconds above 0, at most {_LONGEST_S:g}")
        if not 0 <= new_score <= 1:
            raise InputError(f"new_score is {new_score!r}, expected 0 to 1")
        self._skeleton = skeleton
        self._new_score = float(new_score)
        self._memory_s = float(memory_s)
        self._tracks = _nobody(len(skeleton))
        self._time_s: float | None = None
        self._next_id = 1
        self._busy = threading.Lock()

    def update(self, poses: Poses, time_s: float) -> Poses:
        """Return the people in the same order with `ids` set, without those below `new_score` who are nobody known.

        Args:
            poses: the people of the next picture; ids they may have are not read.
            time_s: its time in the stream, in seconds. A time before the last one counts as no time having passed, or,
                if it is more than the memory before, as a new beginning.

        Raises:
            InputError: another skeleton, a time that isn't finite, or a call while another is running.
        """
        if poses.skeleton != self._skeleton:
            raise InputError(f"poses are of {poses.skeleton.name}, this tracker is for {self._skeleton.name}")
        if not math.isfinite(time_s):
            raise InputError(f"time_s is {time_s!r}, expected a finite number of seconds")
        if not self._busy.acquire(blocking=False):
            raise InputError(
                "Tracker.update was called while another call was running: make one tracker for each stream"
            )
        try:
            return self._update(poses, float(time_s))
        finally:
            self._busy.release()

    def reset(self) -> None:
        """Forget everybody, as after a gap in the stream; ids go on counting."""
        self._tracks = _nobody(len(self._skeleton))
        self._time_s = None

    def _update(self, poses: Poses, time_s: float) -> Poses:
        tracks = self._at(time_s)
        keypoints = np.clip(poses.keypoints.astype(np.float64), -_FAR, _FAR)
        rows, people = self._matched(tracks, keypoints, poses.scores)
        known = _corrected(tracks[rows], keypoints[people], poses.keypoint_scores[people], time_s)
        hidden = tracks[np.setdiff1d(np.arange(len(tracks)), rows)]
        hidden = hidden[np.argsort(-hidden.seen_s, kind="stable")[:_MOST_HIDDEN]]
        strangers = np.setdiff1d(np.flatnonzero(poses.scores >= self._new_score), people)
        new = _new(np.arange(self._next_id, self._next_id + len(strangers)), keypoints[strangers], time_s)
        self._next_id += len(strangers)
        ids = np.zeros(len(poses), dtype=np.int64)
        ids[people], ids[strangers] = known.ids, new.ids
        self._tracks = _joined(known, hidden, new)
        return replace(poses, ids=ids)[ids > 0]

    def _matched(
        self, tracks: _Tracks, keypoints: NDArray[np.float64], scores: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which tracks go on with which people, int64 [P] each: the believable people choose first."""
        faint = np.flatnonzero(scores < self._new_score)
        clear = np.flatnonzero(scores >= self._new_score)
        rows, columns = assign(_cost(tracks, keypoints[clear], self._skeleton), _LIMIT + _DOUBT)
        people = clear[columns]
        if not len(faint):
            return rows, people
        left = np.setdiff1d(np.flatnonzero(tracks.found >= _SURE_AFTER), rows)
        more, columns = assign(_cost(tracks[left], keypoints[faint], self._skeleton), _LIMIT + _DOUBT)
        return np.concatenate([rows, left[more]]), np.concatenate([people, faint[columns]])

    def _at(self, time_s: float) -> _Tracks:
        """Move to a time: the clock, and the tracks that aren't forgotten by then."""
        last_s, self._time_s = self._time_s, time_s
        if last_s is None:
            return self._tracks
        if time_s < last_s:
            if last_s - time_s > self._memory_s:
                return _nobody(len(self._skeleton))
            return replace(self._tracks, seen_s=self._tracks.seen_s - (last_s - time_s))
        memory = np.where(self._tracks.found < _SURE_AFTER, _UNSURE_MEMORY, 1.0) * self._memory_s
        alive = self._tracks[time_s - self._tracks.seen_s <= memory]
        return _predicted(alive, min(time_s - last_s, self._memory_s))  # after a longer step nobody is alive


def _nobody(joints: int) -> _Tracks:
    return _new(np.zeros(0, dtype=np.int64), np.zeros((0, joints, 2)), 0.0)


def _new(ids: NDArray[np.int64], keypoints: NDArray[np.float64], time_s: float) -> _Tracks:
    count = len(ids)
    return _Tracks(
        ids=ids.astype(np.int64),
        keypoints=keypoints,
        velocity=np.zeros((count, 2)),
        covariance=np.tile(np.diag([_MEASURED**2, _FIRST_SPEED**2]), (count, 1, 1)),
        size=body_sizes(keypoints),
        seen_s=np.full(count, time_s),
        found=np.ones(count, dtype=np.int64),
    )


def _joined(*parts: _Tracks) -> _Tracks:
    return _Tracks(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(_Tracks)))


def _boxes(keypoints: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Low and high corners of the boxes round [N, K, 2] keypoints, float64 [N, 2] each, pixels.

    Keypoints of someone seen from the side stand nearly in a line, and the box would nearly vanish while the person
    turns; so no side is taken for less than a share of the other, nor for less than a pixel.
    """
    low, high = keypoints.min(axis=1), keypoints.max(axis=1)
    missing = (_sides(keypoints) - (high - low)) / 2
    return low - missing, high + missing


def _sides(keypoints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Width and height of the boxes of `_boxes`, float64 [N, 2], pixels."""
    sides = np.ptp(keypoints, axis=1)
    least: NDArray[np.float64] = np.maximum(np.maximum(sides, sides[:, ::-1] * _SLIMMEST), 1.0)
    return least


def body_sizes(keypoints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sizes of N people: the root of the area of the box round the keypoints, with a least width.

    Args:
        keypoints: float64 [N, K, 2], pixels.

    Returns:
        float64 [N], pixels, at least 1. Someone seen from the side is about as large as from the front.
    """
    sizes: NDArray[np.float64] = np.sqrt(_sides(keypoints).prod(axis=-1))
    return sizes


def _predicted(tracks: _Tracks, step_s: float) -> _Tracks:
    """The tracks `step_s` seconds (0 or more) later."""
    move = np.array([[1.0, step_s], [0.0, 1.0]])
    noise = _ACCELERATION**2 * np.array([[step_s**3 / 3, step_s**2 / 2], [step_s**2 / 2, step_s]])
    return replace(
        tracks,
        keypoints=tracks.keypoints + (tracks.velocity * step_s)[:, None],
        covariance=move @ tracks.covariance @ move.T + noise,
    )


def _corrected(
    tracks: _Tracks, keypoints: NDArray[np.float64], keypoint_scores: NDArray[np.float32], time_s: float
) -> _Tracks:
    """The tracks after their people were found: [T, K, 2] and [T, K] in the order of the tracks."""
    weight = keypoint_scores.astype(np.float64) + 1e-6  # the sum is never 0
    weight /= weight.sum(axis=1, keepdims=True)
    shift = ((keypoints - tracks.keypoints) * weight[:, :, None]).sum(axis=1)
    gain = tracks.covariance[:, :, 0] / (tracks.covariance[:, 0, 0] + _MEASURED**2)[:, None]
    covariance = tracks.covariance - gain[:, :, None] * tracks.covariance[:, None, 0, :]
    return replace(
        tracks,
        # the pose as found, standing where the filter believes it
        keypoints=keypoints - shift[:, None] * (1 - gain[:, None, :1]),
        velocity=tracks.velocity + shift * gain[:, 1:],
        covariance=covariance,
        size=body_sizes(keypoints),
        seen_s=np.full(len(tracks), time_s),
        found=tracks.found + 1,
    )


def _cost(tracks: _Tracks, keypoints: NDArray[np.float64], skeleton: Skeleton) -> NDArray[np.float64]:
    """What each track pays for each person, float64 [T, N]: 0 for the same pose up to 1.1; infinity for never."""
    likeness = _likeness(tracks, keypoints, skeleton) * _ALIKE + _overlap(tracks, keypoints) * (1 - _ALIKE)
    cost = 1 - likeness
    return np.where(cost > _LIMIT, np.inf, cost + _DOUBT * _unsure(tracks)[:, None])


def _unsure(tracks: _Tracks) -> NDArray[np.float64]:
    """How unsure the predictions are: standard deviations of T positions in sizes, at most `_WIDEST`."""
    return np.minimum(np.sqrt(tracks.covariance[:, 0, 0]), _WIDEST)


def _likeness(tracks: _Tracks, keypoints: NDArray[np.float64], skeleton: Skeleton) -> NDArray[np.float64]:
    """OKS of T predicted poses with N found ones, as in `oks.similarity` but for the fall-off; float64 [T, N] in 0..1.

    The fall-off is wider by a slack and by how unsure the prediction is, and people's sizes are those of `body_sizes`.
    """
    area = (tracks.size[:, None] ** 2 + body_sizes(keypoints) ** 2) / 2
    squared = ((tracks.keypoints[:, None] - keypoints) ** 2).sum(axis=-1)
    fall_off = (2 * np.asarray(skeleton.sigmas)) ** 2 + _SLACK**2 + _unsure(tracks)[:, None] ** 2
    alike: NDArray[np.float64] = np.exp(-squared / (area[..., None] * fall_off[:, None] * 2)).mean(axis=-1)
    return alike


def _overlap(tracks: _Tracks, keypoints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of T predicted and N found boxes, float64 [T, N].

    Both boxes of a pair are wider on each side by how unsure the prediction is, so that people who walk a box's width
    between two pictures still meet.
    """
    (low_a, high_a), (low_b, high_b) = _boxes(tracks.keypoints), _boxes(keypoints)
    margin = (_unsure(tracks) * tracks.size)[:, None]
    shared = np.minimum(high_a[:, None], high_b) - np.maximum(low_a[:, None], low_b) + 2 * margin[..., None]
    both = np.maximum(shared, 0).prod(axis=-1)
    union = (
        (high_a - low_a + 2 * margin).prod(axis=-1)[:, None]
        + (high_b - low_b + 2 * margin[:, None]).prod(axis=-1)
        - both
    )
    share: NDArray[np.float64] = both / union
    return share
