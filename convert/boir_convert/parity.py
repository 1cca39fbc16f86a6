"""What a conversion costs: the same annotated pictures through the checkpoint and through a bundle's precisions.

Everything is measured by one protocol and one code path (`boir_train.subject` and `boir_train.evaluation`, which
`boir-eval` uses too), so a difference is the conversion's.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_convert import agreement, parity_page
from boir_convert.progress import Progress
from boir_sdk import bundle as bundles
from boir_sdk import image, looks
from boir_sdk.bundle import Bundle
from boir_sdk.errors import ConfigError, DataError
from boir_sdk.poses import Poses
from boir_train import benchmark, bootstrap, checkpoint, subject
from boir_train.evaluation import Evaluation, evaluate, load_annotations, picture_files

REFERENCE = "pytorch"
ORDER = ("fp32", "fp16", "int8")
RESAMPLES = 500
MOST_SHOWN = 50
CALIBRATION_LIST = "calibration.txt"  # of a bundle: names of the pictures that int8 was calibrated with, a line each


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure.

    Attributes:
        bundle: folder of the bundle, `default` or `small`.
        checkpoint: the weights it was made from.
        annotations: COCO-style keypoint file.
        images: folder of its pictures.
        further: folder of a bundle of the same checkpoint whose precisions are measured too, where `bundle` lacks them.
        size: network size in pixels; None for the bundle's default.
        limit: only the first so many pictures; None for all.
        threads: CPU threads; None for the libraries' choice.
        shown: pictures with the largest disagreement to show side by side; 0 keeps every picture out of the bundle.
    """

    bundle: Path
    checkpoint: Path
    annotations: Path
    images: Path
    further: Path | None = None
    size: int | None = None
    limit: int | None = None
    threads: int | None = None
    shown: int = 4


@dataclass(frozen=True, slots=True)
class Parity:
    """Result of `measure`.

    Attributes:
        report: the content of `parity.json`.
        files: what goes into the bundle, by name: `parity.json`, its page, `parity/*.jpg`, and the model
            card with the figures.
    """

    report: dict[str, Any]
    files: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class _Run:
    """One model on all pictures."""

    poses: tuple[Poses, ...]
    evaluation: Evaluation
    settings: dict[str, Any]


def measure(request: Request, progress: Progress) -> Parity:
    """Measure a bundle against its checkpoint; nothing is written.

    Raises:
        BundleError, CheckpointError: a model can't be used.
        ConfigError: checkpoint and bundle are of different networks, or more overlays are asked for than fit.
        DataError: annotations or pictures are missing or malformed, or nobody is annotated.
        InputError: the bundle doesn't offer the size, or a picture can't be read.
    """
    check_shown(request.shown)
    bundle = bundles.read(request.bundle)
    manifest = bundle.manifest
    size = request.size or manifest.default_size
    dataset = manifest.protocol
    if not request.annotations.is_file():
        raise DataError(f"no annotation file at {request.annotations}: name a COCO-style keypoint file")
    annotations = load_annotations(request.annotations, dataset)  # type: ignore[arg-type]  # checked in there
    pictures = picture_files(annotations["images"][: request.limit], request.images)
    if not pictures:
        raise DataError(f"{request.annotations} lists no pictures")
    second_look = looks.by_default(manifest.second_look_px, manifest.second_look_from, size)
    runs: dict[str, _Run] = {}
    for name, model in _models(request, bundle).items():
        options = subject.Options(
            size=size,
            precision=None if name == REFERENCE else name,
            # As the bundle does it: it may be older than its network's second look.
            second_look=second_look,
            threads=request.threads,
            dataset=dataset,
        )
        runs[name] = _run(name, model, options, annotations, pictures, manifest.preset, progress)
        if runs[name].evaluation.stats["AP"] < 0:
            raise DataError(f"nobody is annotated in the {len(pictures)} pictures of {request.annotations}")
    comparisons = {
        name: [
            agreement.compare(
                mine,
                other,
                score_threshold=manifest.score_threshold,
                keypoint_threshold=manifest.keypoint_threshold,
            )
            for mine, other in zip(runs[REFERENCE].poses, run.poses, strict=True)
        ]
        for name, run in runs.items()
        if name != REFERENCE
    }
    progress.step("comparing")
    report = _report(request, bundle, runs, comparisons, size)
    overlays = _overlays(request, bundle, runs, comparisons[manifest.default_precision], pictures, report["worst"])
    files = {
        "parity.json": parity_page.dumped(report),
        parity_page.NAME: parity_page.page(report).encode(),
        "README.md": parity_page.model_card(manifest, report).encode(),
        **overlays,
    }
    return Parity(report, files)


def check_shown(count: int) -> None:
    """Refuse more overlays than fit into a bundle, whose number of files is limited.

    Raises:
        ConfigError: more than `MOST_SHOWN`, or fewer than none.
    """
    if not 0 <= count <= MOST_SHOWN:
        raise ConfigError(f"{count} overlays of pictures are asked for: 0 to {MOST_SHOWN} fit into a bundle")


def _overlays(
    request: Request,
    bundle: Bundle,
    runs: Mapping[str, _Run],
    comparisons: Sequence[agreement.Comparison],
    pictures: Sequence[tuple[Any, Path]],
    told: list[dict[str, Any]],
) -> dict[str, bytes]:
    """PyTorch beside the bundle's default precision where they agree least; `told` gets a record of each picture."""
    manifest = bundle.manifest
    shown = manifest.default_precision
    overlays: dict[str, bytes] = {}
    for rank, index in enumerate(_worst(comparisons, request.shown), start=1):
        (image_id, path), one = pictures[index], comparisons[index]
        name = f"parity/worst-{rank}.jpg"
        mine, other = (runs[side].poses[index] for side in (REFERENCE, shown))
        overlays[name] = parity_page.side_by_side(
            image.read(path, exif=False),
            dict(zip((REFERENCE, shown), agreement.same_ids(mine, other, one, manifest.score_threshold), strict=True)),
            keypoint_threshold=manifest.keypoint_threshold,
        )
        told.append(
            {
                "picture": name,
                "file_name": path.name,
                "image_id": image_id,
                "precision": shown,
                "disagreement": round(one.disagreement, 4),
                "people": {"reference": one.reference, "other": one.other, "matched": len(one.likeness)},
            }
        )
    return overlays


def drops(report: Mapping[str, Any]) -> dict[str, float]:
    """AP that each precision of a report loses against PyTorch, in points of 100; negative where it gains."""
    return {
        name: -100 * part["difference"]["AP"] for name, part in report["precisions"].items() if "difference" in part
    }


def difference(
    first: bootstrap.Matches, second: bootstrap.Matches, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float, float]:
    """AP of `second` minus AP of `first`, with its 95 % paired bootstrap interval over pictures.

    Both are weighted with the same draw of pictures each time, so what makes a picture hard for both cancels.

    Args:
        first: of an evaluation.
        second: of an evaluation of the same pictures.
        resamples: how many draws; those without people are left out.
        seed: of the draws.

    Returns:
        The difference and the interval's bounds, fractions; zeros when nobody is there.
    """
    pictures = len(first.people)
    if len(second.people) != pictures:
        raise ConfigError(f"a paired difference needs the same pictures: got {pictures} and {len(second.people)}")
    draws = np.random.default_rng(seed).multinomial(pictures, np.full(pictures, 1 / pictures), size=resamples)
    values = [_difference(first, second, draw) for draw in draws if draw @ first.people > 0]
    if not values:
        return 0.0, 0.0, 0.0
    low, high = np.quantile(values, (0.025, 0.975))
    return _difference(first, second, None), float(low), float(high)


def _difference(first: bootstrap.Matches, second: bootstrap.Matches, weights: NDArray[np.int64] | None) -> float:
    return bootstrap.average_precision(second, weights) - bootstrap.average_precision(first, weights)


def _models(request: Request, bundle: Bundle) -> dict[str, Path]:
    """What to run, by name: the checkpoint, then each precision from the bundle that has it."""
    models = {REFERENCE: request.checkpoint}
    offered = dict.fromkeys(bundle.manifest.precisions, bundle.path)
    if request.further is not None:
        further = bundles.read(request.further)
        offered = dict.fromkeys(further.manifest.precisions, further.path) | offered
    return models | {name: offered[name] for name in ORDER if name in offered}


def _run(
    name: str,
    model: Path,
    options: subject.Options,
    annotations: Mapping[str, Any],
    pictures: Sequence[tuple[Any, Path]],
    preset: str,
    progress: Progress,
) -> _Run:
    if name == REFERENCE and model.is_file():
        # Before it is opened, which would speak of the second look that another network isn't made for.
        held, _ = checkpoint.identify(checkpoint.read(model))
        if held != preset:
            raise ConfigError(f"{model} holds a {held}, the bundle was made from a {preset}: name its checkpoint")
    with subject.opened(str(model), options) as opened:
        images = (image.read(path, exif=False) for _, path in pictures)
        poses = tuple(progress.each(opened.poses_of(images), f"measuring {name}", len(pictures), "picture"))
        settings = opened.settings()
    found = [record for (image_id, _), one in zip(pictures, poses, strict=True) for record in one.to_coco(image_id)]
    evaluation = evaluate(annotations, found, opened.dataset, image_ids=[image_id for image_id, _ in pictures])  # type: ignore[arg-type]
    return _Run(poses, evaluation, settings)


def _worst(comparisons: Sequence[agreement.Comparison], count: int) -> list[int]:
    """Indices of the pictures that agree least, the worst first; those that agree perfectly are never among them."""
    order = sorted(range(len(comparisons)), key=lambda index: -comparisons[index].disagreement)
    return [index for index in order[:count] if comparisons[index].disagreement > 0]


def _report(
    request: Request,
    bundle: Bundle,
    runs: Mapping[str, _Run],
    comparisons: Mapping[str, Sequence[agreement.Comparison]],
    size: int,
) -> dict[str, Any]:
    manifest = bundle.manifest
    reference = runs[REFERENCE].evaluation
    parts: dict[str, Any] = {}
    for name, run in runs.items():
        low, high = bootstrap.interval(run.evaluation.matches, resamples=RESAMPLES)
        parts[name] = {
            "from": _origin(name, manifest.precisions),
            "effective": run.settings["precision"]["effective"],
            **run.evaluation.stats,
            "interval_95": [low, high],
        }
        if name != REFERENCE:
            change, low, high = difference(reference.matches, run.evaluation.matches)
            parts[name]["difference"] = {"AP": change, "interval_95": [low, high]}
            parts[name]["agreement"] = agreement.summary(comparisons[name])
    checkpoint_sha256 = subject.sha256_of(request.checkpoint)
    return {
        "format": 1,
        "unit": "fraction of 1 for AP, AR, OKS and scores; pixels of the picture for distances",
        "bundle": {"name": manifest.name, "version": manifest.version, "default_precision": manifest.default_precision},
        "precisions": parts,
        "worst": [],
        "protocol": {
            "dataset": manifest.protocol,
            "annotations": request.annotations.name,
            "annotations_sha256": subject.sha256_of(request.annotations),
            "images": reference.images,
            "people": reference.people,
            "limit": request.limit,
            "size": size,
            "flip_test": False,
            "second_look": looks.by_default(manifest.second_look_px, manifest.second_look_from, size),
            "interval": f"percentile bootstrap over pictures, {RESAMPLES} resamples; differences paired",
            "agreement_score_threshold": manifest.score_threshold,
            "agreement_keypoint_threshold": manifest.keypoint_threshold,
            "agreement_oks": agreement.SAME_PERSON,
        },
        "checkpoint": {
            "name": request.checkpoint.name,
            "sha256": checkpoint_sha256,
            "is_the_bundles": checkpoint_sha256 == manifest.provenance.get("checkpoint_sha256"),
        },
        "calibration": _calibration(bundle),
        "machine": benchmark.machine(request.threads or os.cpu_count() or 1),
        "versions": subject.versions(),
        "measured": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def _origin(name: str, offered: Sequence[str]) -> str:
    if name == REFERENCE:
        return "checkpoint"
    return "bundle" if name in offered else "built for this"


def _calibration(bundle: Bundle) -> dict[str, Any] | None:
    """What the bundle says about its calibration, with the list of pictures where it has one."""
    facts = bundle.manifest.provenance.get("calibration")
    if not isinstance(facts, Mapping):
        return None
    if CALIBRATION_LIST not in bundle.manifest.files:
        return dict(facts)
    return {**facts, "files": (bundle.path / CALIBRATION_LIST).read_text(encoding="utf-8").splitlines()}
