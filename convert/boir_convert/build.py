"""A checkpoint becomes a bundle: read, export, write, verify."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from boir_convert import calibration as calibrating
from boir_convert import card, parity, writer
from boir_convert.centring import centred
from boir_convert.export import export
from boir_convert.levelling import levelled
from boir_convert.progress import Progress
from boir_convert.quantize import ISLANDS, quantise
from boir_convert.request import OFFERS, PRECISIONS, Offer, Request, check
from boir_sdk import __version__, telemetry
from boir_sdk.bundle import Bundle
from boir_sdk.errors import CheckpointError, ConfigError, DataError, InputError
from boir_sdk.manifest import FileEntry, Manifest
from boir_sdk.quiet_openvino import ov
from boir_train import build_model, checkpoint
from boir_train.inference import get_protocol
from boir_train.model import nano_start
from boir_train.model.boir import BoIR
from boir_train.model.nano import Nano
from boir_train.subject import sha256_of

__all__ = ["CENTER_THRESHOLD", "OFFERS", "Request", "build", "build_further", "check_drop", "load"]

CENTER_THRESHOLD = 0.01  # SPEC-model M4.5


def build(request: Request, progress: Progress | None = None) -> Manifest:
    """Build a bundle.

    It appears whole or not at all: an older one stays until the new one is written, measured (if `annotations` are
    given) and verified.

    Args:
        request: what to build.
        progress: tells how far it is; None keeps quiet.

    Raises:
        CheckpointError: the weights can't be read or don't fit.
        ConfigError: preset, protocol or precision is unknown, or contradicts the weights; options contradict each
            other; `int8` is asked for without `calibration`, or the reverse.
        DataError: there are no pictures to calibrate or measure with, or a precision loses more than `max_drop`.
        InputError: the bundle can't be written there, or a picture can't be read.
        InferenceError: OpenVINO can't convert the network.
    """
    progress = progress or Progress(shown=False)
    check(request)
    protocol = get_protocol(request.protocol)
    writer.check_place(request.out, overwrite=request.overwrite)  # before minutes of work, not after
    progress.step("reading the checkpoint")
    model = load(request.checkpoint, request.preset, request.skeleton)
    settings = model.settings
    kernel = protocol.pool_kernel or settings.pool_kernel
    offer = OFFERS[settings.preset]
    default_size = request.default_size or settings.default_size
    if default_size not in offer.sizes:
        offered = ", ".join(map(str, offer.sizes))
        raise ConfigError(f"size {default_size} is not offered by {settings.preset}: {offered}")
    calibration = _calibration(request, offer)
    progress.step("exporting to OpenVINO")
    with telemetry.off():
        graphs = export(model, kernel)
    kinds = dict.fromkeys(request.precisions, graphs)
    calibrated: dict[str, Any] = {}
    if calibration is not None:
        kinds["int8"], calibrated["calibration"] = _int8(model, kernel, graphs, calibration, progress)

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
        second_look_px=settings.second_look_px,
        second_look_from=settings.second_look_from,
    )

    def complete(files: Mapping[str, FileEntry]) -> Manifest:
        return dataclasses.replace(manifest, files=dict(files))

    def write(out: Path, *, overwrite: bool) -> Manifest:
        progress.step("writing the bundle")
        texts = {"README.md": card.write(manifest)}
        if calibration is not None:
            texts[parity.CALIBRATION_LIST] = calibrating.listed(calibration)
        try:
            return writer.write(out, complete, kinds, texts, overwrite=overwrite)
        except RuntimeError as error:  # what OpenVINO makes of a disk that refuses
            raise InputError(f"can't write the bundle {out}: {error}; is the disk full?") from error

    if request.annotations is None or request.images is None:
        return write(request.out, overwrite=request.overwrite)
    with writer.folder(request.out) as finished:
        staged = finished / "bundle"
        write(staged, overwrite=False)
        measured = parity.measure(
            parity.Request(staged, request.checkpoint, request.annotations, request.images, shown=request.shown),
            progress,
        )
        check_drop(measured.report, request.max_drop)
        made = writer.extend(staged, measured.files)
        for path in staged.iterdir():
            path.rename(finished / path.name)
        staged.rmdir()
    return made


def build_further(
    bundle: Bundle,
    checkpoint_path: Path,
    out: Path,
    *,
    calibration: Path | None = None,
    calibration_images: Path | None = None,
    progress: Progress | None = None,
) -> Path | None:
    """Build the precisions that a bundle lacks, to measure them beside its own.

    Args:
        bundle: whose settings to take.
        checkpoint_path: the weights it was made from.
        out: folder of the bundle to make.
        calibration: pictures or file to calibrate `int8` with; without it `int8` is left out.
        calibration_images: folder of such a file's pictures.
        progress: as in `build`.

    Returns:
        `out`, or None when nothing is lacking.

    Raises:
        BoirError: as `build` does.
    """
    manifest = bundle.manifest
    wanted = PRECISIONS if calibration is not None else tuple(name for name in PRECISIONS if name != "int8")
    lacking = tuple(name for name in wanted if name not in manifest.precisions)
    if calibration is not None and "int8" not in lacking:
        raise ConfigError(f"{bundle.path} has int8 already: leave --calibration away")
    if not lacking:
        return None
    request = Request(
        checkpoint=checkpoint_path,
        out=out,
        preset=manifest.preset,
        skeleton=manifest.skeleton,
        protocol=manifest.protocol,
        precisions=lacking,
        default_size=manifest.default_size,
        calibration=calibration,
        calibration_images=calibration_images,
    )
    build(request, progress)
    return out


def check_drop(report: Mapping[str, Any], max_drop: float | None) -> None:
    """Refuse a bundle that loses too much; see `Request.max_drop`.

    Args:
        report: of `boir_convert.parity`.
        max_drop: points of AP of 100, or None for any loss.

    Raises:
        DataError: a precision loses more; the message has the figures.
    """
    if max_drop is None:
        return
    over = {name: drop for name, drop in parity.drops(report).items() if drop > max_drop}
    if not over:
        return
    parts, protocol = report["precisions"], report["protocol"]
    lost = []
    for name, drop in over.items():
        low, high = (-100 * bound for bound in reversed(parts[name]["difference"]["interval_95"]))
        ours, reference = (100 * parts[side]["AP"] for side in (name, parity.REFERENCE))
        lost.append(
            f"{name} has AP {ours:.1f}, PyTorch {reference:.1f}: a loss of {drop:.2f} (95 %: {low:.2f} to {high:.2f})"
        )
    raise DataError(
        f"not written, more than --max-drop {max_drop:g} is lost on {protocol['images']} pictures at size "
        f"{protocol['size']}: {'; '.join(lost)}. Calibrate with more pictures like those of use, or allow more"
    )


def _calibration(request: Request, offer: Offer) -> calibrating.Calibration | None:
    """The pictures to calibrate with, at the sizes of the preset; None if nothing is to be quantised."""
    if "int8" not in request.precisions or request.calibration is None:
        return None
    count, images = request.calibration_count, request.calibration_images
    return calibrating.choose(request.calibration, count, offer.calibrated_at, images)


def _int8(
    model: BoIR | Nano, kernel: int, graphs: writer.Graphs, calibration: calibrating.Calibration, progress: Progress
) -> tuple[writer.Graphs, dict[str, Any]]:
    """Both graphs with the dense one quantised, and what the provenance says of it."""
    count = len(calibration.paths)
    read = calibrating.pictures(calibration, model.settings)
    pictures = list(progress.each(read, "reading calibration pictures", count, "picture"))
    if isinstance(model, Nano):
        even = centred(model, progress.each(pictures, "centring channels", count, "picture"))
        even = levelled(even, progress.each(pictures, "levelling filters", count, "picture"))
        with telemetry.off():
            graphs = export(even, kernel)
    islands = ISLANDS[model.settings.preset]
    dense = quantise(graphs[0], pictures, islands, progress)
    return (dense, graphs[1]), {**calibrating.facts(calibration), "in_float": islands.described()}


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
