"""An estimator that finds as many people as it is told to, so that their cost can be measured.

The person graph is fed the best places of the picture, whatever their scores, and all the rest of `PoseEstimator` runs
on them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from boir_sdk import runtime
from boir_sdk.estimator import PoseEstimator


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to run a bundle.

    Attributes:
        model: folder of the bundle, `default` or `small`.
        size: network pixels; None for the bundle's default.
        precision: as `PoseEstimator` takes it; None for the bundle's default.
        threads: CPU threads; None for OpenVINO's choice.
        device: OpenVINO's name of it.
        second_look: as `PoseEstimator` takes it.
    """

    model: str
    size: int | None
    precision: str | None
    threads: int | None
    device: str = "CPU"
    second_look: bool | None = None

    def estimator(self, cache_dir: Path | None = None) -> PoseEstimator:
        """Make an estimator that keeps everybody, so that as many come out as go in (but for suppression)."""
        options = {"size": self.size, "precision": self.precision, "threads": self.threads}
        return PoseEstimator(
            self.model,
            device=self.device,
            cache_dir=cache_dir,
            score_threshold=0.0,
            second_look=self.second_look,
            **options,  # type: ignore[arg-type]
        )


class Fed:
    """A runtime that finds as many people as it is told to, and keeps when it was asked and what it took.

    One call of an estimator may look more than once; every look is fed the same number of people.
    """

    def __init__(self, inner: runtime.Runtime, people: int) -> None:
        self._inner = inner
        self.people = people
        self.begin()

    def begin(self) -> None:
        """Forget the looks so far: a call of the estimator follows."""
        self.asked_s: float | None = None
        self.networks: list[tuple[int, int]] = []
        self.found: list[runtime.Found] = []

    def infer(self, picture: NDArray[np.uint8], *, max_people: int, threshold: float) -> runtime.Found:
        """As `Runtime.infer`, but for `people` of the best places, whatever their score."""
        if self.asked_s is None:
            self.asked_s = time.perf_counter()
        found = self._inner.infer(picture, max_people=self.people, threshold=-1.0)
        self.networks.append((picture.shape[1], picture.shape[2]))
        self.found.append(found)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def frame(height: int = 720, width: int = 1280) -> NDArray[np.uint8]:
    """A picture of coloured blots, always the same: what is on it changes no time, because people are fed."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def feed(estimator: PoseEstimator) -> Fed:
    """Put a `Fed` between an estimator and its runtime."""
    source = Fed(estimator._runtime, 0)
    estimator._runtime = source  # type: ignore[assignment]
    return source
