"""Work on many pictures a few at a time; give what became of each, in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from boir_sdk.cli import overlay
from boir_sdk.errors import InputError
from boir_sdk.inputs import Source

if TYPE_CHECKING:
    from boir_sdk.estimator import PoseEstimator
    from boir_sdk.poses import Poses

WORKERS = 2
"""One picture is decoded, drawn or encoded while another is on the device."""


@dataclass(frozen=True, slots=True)
class Done:
    """A picture and its people.

    Attributes:
        source: the picture.
        width: of the picture, px.
        height: of the picture, px.
        poses: its people, in pixels of the picture.
        drawing: the encoded overlay, when one is wanted.
    """

    source: Source
    width: int
    height: int
    poses: Poses
    drawing: bytes | None

    def record(self) -> dict[str, Any]:
        """What `--jsonl` and `--json` say of it: path, width, height and all of `Poses.to_dict`."""
        place = {"path": self.source.path.as_posix(), "width": self.width, "height": self.height}
        return {**place, **self.poses.to_dict()}


@dataclass(frozen=True, slots=True)
class Failed:
    """A picture that can't be used, and why."""

    source: Source
    error: InputError

    def record(self) -> dict[str, Any]:
        """What `--json` says of it: path, code and message of the error."""
        return {"path": self.source.path.as_posix(), "code": self.error.code, "message": str(self.error)}


Outcome: TypeAlias = Done | Failed


def outcomes(
    estimator: PoseEstimator, sources: Sequence[Source], places: dict[int, Path], stop: threading.Event
) -> Iterator[Outcome]:
    """Work on the pictures and give their outcomes in the pictures' order.

    After `stop` is set no new picture is begun; those at hand are finished. An error that isn't the picture's fault
    (the device, a time-out) ends the run.

    Args:
        estimator: used from several threads.
        sources: the pictures.
        places: `Source.number` -> file of its overlay, for those of which one is wanted.
        stop: ends the run early.
    """
    waiting = deque(sources)
    at_hand: deque[Future[Outcome]] = deque()
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="boir-predict") as pool:
        try:
            while True:
                while waiting and len(at_hand) < WORKERS and not stop.is_set():
                    source = waiting.popleft()
                    at_hand.append(pool.submit(_outcome, estimator, source, places.get(source.number)))
                if not at_hand:
                    return
                yield at_hand.popleft().result()
        finally:
            for future in at_hand:
                future.cancel()


def _outcome(estimator: PoseEstimator, source: Source, place: Path | None) -> Outcome:
    from boir_sdk import image

    try:
        image_bgr = image.read(source.path)
        poses = estimator(image_bgr)
    except InputError as error:
        return Failed(source, error)
    height, width = image_bgr.shape[:2]
    drawing = None
    if place is not None:
        seen = estimator.info["thresholds"]["keypoint"]
        drawing = overlay.encoded(image_bgr, poses, place.suffix, keypoint_threshold=seen)
    return Done(source, width, height, poses, drawing)
