"""People made of numbers: walkers whose keypoints are known at any time, and what a network would say of them.

The noise is like that of the embedded model on people who sit still (`classroom.mp4`, INT8, 512): 0.4 % of a person's
size on each axis for keypoints that are seen, ten times that, with scores under half, for hidden ones.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boir_sdk import Poses
from boir_sdk.skeleton import COCO17

SEEN_NOISE, HIDDEN_NOISE = 0.004, 0.04  # standard deviations in sizes of the person
SEEN_SCORE, HIDDEN_SCORE = 0.27, 0.09

# COCO17 of someone who stands and faces the camera, 1 high; x is 0 in the middle, y 0 at the ankles and grows upwards.
_STANDING = np.array(
    [
        *([0.0, 0.97], [0.02, 0.99], [-0.02, 0.99], [0.045, 0.98], [-0.045, 0.98]),
        *([0.12, 0.83], [-0.12, 0.83], [0.15, 0.65], [-0.15, 0.65], [0.16, 0.48], [-0.16, 0.48]),
        *([0.08, 0.5], [-0.08, 0.5], [0.08, 0.25], [-0.08, 0.25], [0.08, 0.0], [-0.08, 0.0]),
    ]
)
# How far along the walk a step takes each keypoint; arms go against legs.
_SWING = np.zeros(17)
_SWING[[7, 8, 9, 10]] = [-0.04, 0.04, -0.09, 0.09]
_SWING[[13, 14, 15, 16]] = [0.07, -0.07, 0.14, -0.14]
_STEPS_PER_S = 0.9


@dataclass(frozen=True)
class Walker:
    """Somebody who goes in a straight line.

    Attributes:
        start: x, y in pixels where the ankles are at time 0.
        velocity: x, y in pixels a second; someone with none stands still, limbs too.
        height: pixels.
        slim: 1 facing the camera, towards 0 sideways.
    """

    start: tuple[float, float]
    velocity: tuple[float, float] = (0.0, 0.0)
    height: float = 200.0
    slim: float = 1.0

    def at(self, time_s: float) -> NDArray[np.float64]:
        """Keypoints [17, 2] in pixels."""
        moving = 1.0 if any(self.velocity) else 0.0
        swing = moving * np.sin(2 * np.pi * _STEPS_PER_S * time_s) * _SWING
        body = np.stack([_STANDING[:, 0] * self.slim + swing, -_STANDING[:, 1]], axis=1) * self.height
        return body + np.array(self.start) + np.array(self.velocity) * time_s

    @property
    def size(self) -> float:
        """Root of the area of the box round the keypoints of someone standing like this, pixels."""
        return float(np.sqrt(np.ptp(_STANDING[:, 0]) * self.slim * np.ptp(_STANDING[:, 1])) * self.height)


def seen(
    walkers: Sequence[Walker],
    time_s: float,
    rng: np.random.Generator,
    *,
    noise: float = SEEN_NOISE,
    hidden: Collection[int] = (),
) -> Poses:
    """What a network finds at a time: the walkers in any order, as ids their places in `walkers`.

    Args:
        walkers: whom there is.
        time_s: when.
        rng: draws the noise, the scores and the order.
        noise: standard deviation of seen keypoints in sizes; 0 for the truth in the order given.
        hidden: keypoints that are hidden: noise ten times that, low scores.
    """
    if not walkers:
        return Poses.empty(COCO17)
    ids = rng.permutation(len(walkers)) if noise else np.arange(len(walkers))
    sigma = np.full(17, noise)
    score = np.full(17, SEEN_SCORE)
    sigma[list(hidden)], score[list(hidden)] = noise * HIDDEN_NOISE / SEEN_NOISE, HIDDEN_SCORE
    keypoints = np.stack(
        [walkers[i].at(time_s) + rng.normal(size=(17, 2)) * sigma[:, None] * walkers[i].size for i in ids]
    )
    scores = np.clip(score * rng.uniform(0.85, 1.15, size=(len(ids), 17)), 0, 1)
    return Poses(keypoints, scores, scores.mean(axis=1), COCO17, ids)
