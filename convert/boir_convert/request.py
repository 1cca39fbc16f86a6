"""What `boir-convert build` is asked for, what a preset's bundles can offer, and whether the two can meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boir_convert import calibration as calibrating
from boir_convert import parity
from boir_sdk.errors import ConfigError, DataError

PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a preset's bundles offer the runtime: network sizes, and batch sizes of the person graph.

    Attributes:
        sizes: network sizes, pixels, ascending.
        person_batches: batch sizes of the person graph, ascending.
        max_side: largest network side, pixels.
        calibrated_at: sizes that INT8 is calibrated at, in turn.
    """

    sizes: tuple[int, ...]
    person_batches: tuple[int, ...]
    max_side: int
    calibrated_at: tuple[int, ...]


_PAPER = (448, 512)  # NNCF keeps every activation of a picture at once: w48 at 640 would take twice the memory

# one at a time: batches of four were no faster on two cores and cost 20 MB
_NANO = Offer(
    sizes=(192, 256, 320, 384, 448, 512, 576, 640),
    person_batches=(1,),
    max_side=2048,
    calibrated_at=(448, 512, 576),
)
OFFERS = {
    "nano": _NANO,
    "nano-pure": _NANO,
    "small": _NANO,
    "w32": Offer(sizes=tuple(range(256, 1025, 64)), person_batches=(1, 4), max_side=4096, calibrated_at=_PAPER),
    "w48": Offer(sizes=tuple(range(256, 1025, 64)), person_batches=(1, 4), max_side=4096, calibrated_at=_PAPER),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What to build.

    Attributes:
        checkpoint: file of weights, any form that `boir_train.checkpoint.read` knows.
        out: folder of the bundle.
        preset: `w32`, `w48`, `nano`, `nano-pure` or `small`; None to tell it from the weights.
        skeleton: keypoint convention; None to tell it from the weights.
        protocol: whose smoothing and suppression are built in.
        precisions: any of `PRECISIONS`; the last one named is the default.
        name: of the bundle; None for the preset's.
        version: of the weights.
        default_size: None for the preset's.
        score_threshold: people below it are left out by default.
        keypoint_threshold: keypoints below it are better not drawn.
        calibration: folder of pictures, or COCO-style file, that `int8` is calibrated with; not those it is judged on.
        calibration_images: folder of such a file's pictures; None for the file's own.
        calibration_count: pictures of it at most.
        annotations: COCO-style keypoint file to measure the bundle on, against the checkpoint; the report goes into it.
        images: folder of its pictures.
        max_drop: refuse to write a bundle of which a precision loses more AP than this against PyTorch there, in points
            of 100; None to write it whatever it loses.
        shown: pictures of the report (`boir_convert.parity.Request`).
        provenance: further facts for manifest and card.
        overwrite: replace a bundle that is already there.
    """

    checkpoint: Path
    out: Path
    preset: str | None = None
    skeleton: str | None = None
    protocol: str = "coco"
    precisions: tuple[str, ...] = ("fp16",)
    name: str | None = None
    version: str = "1"
    default_size: int | None = None
    score_threshold: float = 0.1
    keypoint_threshold: float = 0.1
    calibration: Path | None = None
    calibration_images: Path | None = None
    calibration_count: int = calibrating.DEFAULT_COUNT
    annotations: Path | None = None
    images: Path | None = None
    max_drop: float | None = None
    shown: int = 4
    provenance: Mapping[str, Any] = field(default_factory=dict)
    overwrite: bool = False


def check(request: Request) -> None:
    """Refuse what can't be built, before anything is read.

    Raises:
        ConfigError: a precision is unknown, or options contradict each other.
        DataError: the annotation file isn't there.
    """
    unknown = [precision for precision in request.precisions if precision not in PRECISIONS]
    if unknown or not request.precisions:
        raise ConfigError(f"unknown precision {', '.join(unknown) or '(none)'}: known are {', '.join(PRECISIONS)}")
    if "int8" in request.precisions and request.calibration is None:
        raise ConfigError("int8 needs pictures to calibrate with: name a folder of them (--calibration)")
    if "int8" not in request.precisions and request.calibration is not None:
        raise ConfigError("calibration pictures are for int8, which isn't asked for: add it (--precision fp16 int8)")
    if (request.annotations is None) != (request.images is None):
        raise ConfigError("to measure the bundle, name both --annotations and --images, or neither")
    if request.max_drop is not None and request.annotations is None:
        raise ConfigError("--max-drop needs pictures to measure the loss on: name --annotations and --images")
    if request.max_drop is not None and not 0 <= request.max_drop <= 100:
        raise ConfigError(f"--max-drop is {request.max_drop:g}, expected points of AP from 0 to 100")
    if request.annotations is not None and not request.annotations.is_file():
        raise DataError(f"no annotation file at {request.annotations}: name a COCO-style keypoint file (--annotations)")
    parity.check_shown(request.shown)
