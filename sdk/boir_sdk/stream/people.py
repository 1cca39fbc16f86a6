"""People over time: identities and smoothing of one source, begun anew after a gap."""

from __future__ import annotations

import time

from boir_sdk.poses import Poses
from boir_sdk.skeleton import Skeleton
from boir_sdk.smooth import Smoother
from boir_sdk.track import Tracker


class People:
    """Tracker and smoother of one source; the smoother needs identities, so it brings a tracker along."""

    def __init__(self, skeleton: Skeleton, *, track: bool, smooth: bool, new_score: float) -> None:
        """Start without people; `new_score` as for `Tracker`."""
        self.skeleton = skeleton
        self._ids = track
        self._tracker = Tracker(skeleton, new_score=new_score) if track or smooth else None
        self._smoother = Smoother(skeleton) if smooth else None

    def follow(self, poses: Poses, time_s: float) -> tuple[Poses, dict[str, float]]:
        """Return the people with identities and smoothed, as far as asked for, and the milliseconds of both."""
        timings: dict[str, float] = {}
        if self._tracker is not None:
            start = time.perf_counter()
            poses = self._tracker.update(poses, time_s)
            timings["track"] = (time.perf_counter() - start) * 1000
        if self._smoother is not None:
            start = time.perf_counter()
            poses = self._smoother.update(poses, time_s)
            timings["smooth"] = (time.perf_counter() - start) * 1000
            if not self._ids:
                poses = Poses(poses.keypoints, poses.keypoint_scores, poses.scores, poses.skeleton)
        return poses, timings

    def reset(self) -> None:
        """Forget everyone: what comes next has nothing to do with what was."""
        if self._tracker is not None:
            self._tracker.reset()
        if self._smoother is not None:
            self._smoother.reset()
