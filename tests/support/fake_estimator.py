"""An estimator without a model: people from a rule, so that what surrounds an estimator can be tested alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk.poses import Poses
from boir_sdk.skeleton import COCO17


class FakeEstimator:
    """Finds as many people as the blue value of the picture's first pixel says, on a diagonal.

    Takes `PoseEstimator`'s arguments and keeps them in `made` (a class-wide list that a test clears).
    """

    made: list[FakeEstimator] = []  # noqa: RUF012 - shared on purpose
    info = {"thresholds": {"keypoint": 0.1}}  # noqa: RUF012

    def __init__(self, model: str = "default", **options: Any) -> None:
        self.model, self.options, self.seen, self.closed = model, options, 0, False
        FakeEstimator.made.append(self)

    def __call__(self, image_bgr: NDArray[np.uint8]) -> Poses:
        self.seen += 1
        height, width = image_bgr.shape[:2]
        count = int(image_bgr[0, 0, 0])
        steps = np.linspace(0.1, 0.9, len(COCO17))
        one = np.stack([steps * width, steps * height], axis=1)
        people = np.stack([one * (1 - 0.1 * i) for i in range(count)]) if count else np.zeros((0, len(COCO17), 2))
        scores = np.linspace(0.9, 0.5, count)
        return Poses(people, np.tile(np.linspace(0, 1, len(COCO17)), (count, 1)), scores, COCO17)

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> FakeEstimator:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
