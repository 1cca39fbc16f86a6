"""A checkpoint becomes a bundle: read, export, write, verify."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import openvino as ov
import torch

from boir_convert import calibration as calibrating
from boir_convert import card, telemetry, writer
from boir_convert.centring import centred
from boir_convert.export import export
from boir_convert.quantize import FLOAT_FROM, FLOAT_MODULES, quantise
from boir_sdk import __version__
from boir_sdk.errors import CheckpointError, ConfigError
from boir_sdk.manifest import FileEntry, Manifest
from boir_train import build_model, checkpoint
from boir_train.inference import get_protocol
from boir_train.model import nano_start
from boir_train.model.nano import Nano
from boir_train.subject import sha256_of

PRECISIONS = ("fp32", "fp16", "int8")
CENTER_THRESHOLD = 0.01  # SPEC-model M4.5


@dataclass(frozen=True, slots=True)
class Offer:
    """What a preset's bundles offer the runtime: network sizes, and batch sizes of the person graph."""

    sizes: tuple[int, ...]
    person_batches: tuple[int, ...]
    max_side: int


OFFERS = {
    # one at a time: batches of four were no faster on two cores and cost 20 MB
    "nano": Offer(sizes=(192, 256, 320, 384, 448, 512, 576, 640), person_batches=(1,), max_side=2048),
    "w32": Offer(sizes=tuple(range(256, 1025, 64)), person_batches=(1, 4), max_side=4096),
    "w48": Offer(sizes=tuple(range(256, 1025, 64)), person_batches=(1, 4), max_side=4096),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What to build.

    Attributes:
        checkpoint: file of weights, any form that `boir_train.checkpoint.read` knows.
        out: folder of the bundle.
        preset: `w32`, `w48` or `nano`; None to tell it from the weights.
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
    provenance: Mapping[str, Any] = field(default_factory=dict)
    overwrite: bool = False


def build(request: Request, progress: Callable[[str], None] = lambda step: None) -> Manifest:
    """Build a bundle.

    Args:
        request: what to build.
        progress: called with a word before each long step.

    Raises:
        CheckpointError: the weights can't be read or don't fit.
        ConfigError: preset, protocol or precision is unknown, or contradicts the weights; `int8` is asked for without
            `calibration`, or the reverse, or of another preset than `nano`.
        DataError: there are no pictures to calibrate with.
        InputError: the bundle can't be written there, or a picture to calibrate with can't be read.
        InferenceError: OpenVINO can't convert the network.
    """
    protocol = get_protocol(request.protocol)
    unknown = [precision for precision in request.precisions if precision not in PRECISIONS]
    if unknown or not request.precisions:
        raise ConfigError(f"unknown precision {', '.join(unknown) or '(none)'}: known are {', '.join(PRECISIONS)}")
    if "int8" in request.precisions and request.calibration is None:
        raise ConfigError("int8 needs pictures to calibrate with: name a folder of them (--calibration)")
    if "int8" not in request.precisions and request.calibration is not None:
        raise ConfigError("calibration pictures are for int8, which isn't asked for: add it (--precision fp16 int8)")
    writer.check_place(request.out, overwrite=request.overwrite)  # before minutes of work, not after
    progress("reading the checkpoint")
    model = load(request.checkpoint, request.preset, request.skeleton)
    settings = model.settings
    if "int8" in request.precisions and not isinstance(model, Nano):
        raise ConfigError(f"int8 is offered for nano so far, not for {settings.preset}: use fp16")
    kernel = protocol.pool_kernel or settings.pool_kernel
    offer = OFFERS[settings.preset]
    default_size = request.default_size or settings.default_size
    if default_size not in offer.sizes:
        offered = ", ".join(map(str, offer.sizes))
        raise ConfigError(f"size {default_size} is not offered by {settings.preset}: {offered}")
    calibration = _calibration(request, offer, default_size)
    progress("exporting to OpenVINO")
    with telemetry.off():
        graphs = export(model, kernel)
    kinds = dict.fromkeys(request.precisions, graphs)
    calibrated: dict[str, Any] = {}
    if calibration is not None:
        progress("calibrating int8")
        kinds["int8"], calibrated["calibration"] = _int8(model, kernel, calibration)

    manifest = Manifest(
        name=request.name or f"boir-{settings.preset}-{settings.skeleton.name}",
        version=request.version,
        preset=settings.preset,
        skeleton=settings.skeleton.name,
        protocol=request.protocol,
        stride=4,
        multiple=settings.multiple,
        fit_rule=settings.fit_rule,
        resample=settings.resample,
        sizes=offer.sizes,
        default_size=default_size,
        max_side=offer.max_side,
        precisions=tuple(sorted(set(request.precisions))),
        default_precision=request.precisions[-1],
        max_people=30,
        person_batches=offer.person_batches,
        center_threshold=CENTER_THRESHOLD,
        score_threshold=request.score_threshold,
        keypoint_threshold=request.keypoint_threshold,
        pool_kernel=kernel,
        oks_threshold=protocol.oks_threshold,
        provenance={
            "checkpoint": request.checkpoint.name,
            "checkpoint_sha256": sha256_of(request.checkpoint),
            "versions": f"boir-sdk {__version__}, torch {torch.__version__}, openvino {ov.__version__}, "
            f"python {platform.python_version()}",
            **calibrated,
            **request.provenance,
        },
        files={},
    )

    def complete(files: Mapping[str, FileEntry]) -> Manifest:
        return dataclasses.replace(manifest, files=dict(files))

    progress("writing the bundle")
    return writer.write(
        request.out,
        complete,
        kinds,
        {"README.md": card.write(manifest)},
        overwrite=request.overwrite,
    )


def _calibration(request: Request, offer: Offer, default_size: int) -> calibrating.Calibration | None:
    """The pictures to calibrate with, at the default size and its neighbours; None if nothing is to be quantised."""
    if "int8" not in request.precisions or request.calibration is None:
        return None
    middle = offer.sizes.index(default_size)
    sizes = offer.sizes[max(0, middle - 1) : middle + 2]
    return calibrating.choose(request.calibration, request.calibration_count, sizes, request.calibration_images)


def _int8(model: Nano, kernel: int, calibration: calibrating.Calibration) -> tuple[writer.Graphs, dict[str, Any]]:
    """Both graphs with the dense one quantised, and what the provenance says of it."""
    pictures = list(calibrating.pictures(calibration, model.settings))
    with telemetry.off():
        dense, person = export(centred(model, pictures), kernel)
    in_float = [*FLOAT_MODULES, *(f"{pattern} and what follows" for pattern in FLOAT_FROM)]
    return (quantise(dense, pictures), person), {**calibrating.facts(calibration), "in_float": in_float}


def load(path: Path, preset: str | None, skeleton: str | None) -> Any:
    """Build the network that a file of weights is for, in inference form, and fill it.

    The public start of `nano` counts as one of `nano` in which BoIR's part is still nothing.

    Raises:
        CheckpointError: the file can't be read, or it holds another preset or skeleton than asked for.
    """
    state = checkpoint.read(path)
    from_start = nano_start.is_start(state)
    found = ("nano", "coco17") if from_start else checkpoint.identify(state)
    for what, asked, holds in zip(("preset", "skeleton"), (preset, skeleton), found, strict=True):
        if asked is not None and asked != holds:
            raise CheckpointError(f"{path} holds weights of {what} {holds}, not of {asked}: leave --{what} away")
    if not from_start:
        model = build_model(*found)
        checkpoint.fill(model, state, path)
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # what the start doesn't fill has no effect yet, but the same command makes the same bytes
        fresh = cast(Nano, build_model(*found))
    nano_start.load_start(fresh, path)
    return fresh
