"""The golden self-test of a bundle: a small picture with the poses it gave where the bundle was built.

A bundle may carry `selftest.npz`. Running it tells whether this machine's kernels and this OpenVINO still compute what
the bundle's maker saw. Bundles from before it existed have none; that is no fault of theirs.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from boir_sdk import bundle as bundles
from boir_sdk.errors import BundleError, InputError
from boir_sdk.poses import Poses

FORMAT = 1
MAX_BYTES = 8 << 20  # unpacked
MAX_PEOPLE = 8
LOOKED_AT = MAX_PEOPLE + 4  # people that are decoded, so that one too many is noticed
PRECISIONS = ("fp32", "fp16", "int8")

# Other devices and bfloat16 may compute floats in half precision: so much may they be off.
HALF_PRECISION = (2.0, 0.05)

_ARRAYS = {
    "keypoints": ("f", 3),
    "keypoint_scores": ("f", 2),
    "scores": ("f", 1),
    "stable": ("b", 2),
    "tolerance": ("f", 1),
    "threshold": ("f", 0),
}


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """What one precision of a bundle gave where it was built.

    Attributes:
        picture_bgr: uint8 [H, W, 3].
        size: network size to run it at, one of the bundle's.
        keypoints: float32 [N, K, 2], x and y in pixels of the picture.
        keypoint_scores: float32 [N, K].
        scores: float32 [N], falling.
        stable: bool [N, K], keypoints that stay in place when the picture's values change a little; only these are
            compared, the others may have a second place as good as the first.
        pixels: how far such a keypoint may be off along an axis.
        score: how far a score may be off.
        threshold: people that score lower were left out.
    """

    picture_bgr: NDArray[np.uint8]
    size: int
    keypoints: NDArray[np.float32]
    keypoint_scores: NDArray[np.float32]
    scores: NDArray[np.float32]
    stable: NDArray[np.bool_]
    pixels: float
    score: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a self-test found.

    Attributes:
        status: `passed`, `failed`, or `absent` if the bundle has none for the precision.
        precision: of the bundle.
        effective: what floats and convolutions were really computed in; empty if absent.
        people: expected.
        pixels: largest distance of a stable keypoint along an axis, pixels of the small picture.
        score: largest difference of a score.
        allowed_pixels: the largest that passes.
        allowed_score: the largest that passes.
        problems: what is wrong, in words; empty if passed.
    """

    status: Literal["passed", "failed", "absent"]
    precision: str
    effective: str
    people: int
    pixels: float
    score: float
    allowed_pixels: float
    allowed_score: float
    problems: tuple[str, ...]


def run(
    model: str | Path = "default", *, precision: str | None = None, device: str = "CPU", threads: int | None = None
) -> Outcome:
    """Run a bundle's self-test here.

    Args:
        model: folder of a bundle, `default` or `small`.
        precision: one of the bundle's, or None for its default.
        device: OpenVINO's name of it. Other devices than the CPU get the tolerance of half precision.
        threads: CPU threads; None for OpenVINO's choice.

    Raises:
        BundleError: the bundle or its self-test is damaged.
        InputError: the bundle doesn't have the precision.
        InferenceError: the device isn't there, or OpenVINO failed.
    """
    from boir_sdk.estimator import PoseEstimator

    opened = bundles.read(model)
    precision = precision or opened.manifest.default_precision
    if precision not in opened.manifest.precisions:
        raise InputError(
            f"bundle {opened.manifest.name} has no precision {precision!r}: "
            f"it has {', '.join(opened.manifest.precisions)}"
        )
    golden = read(opened).get(precision)
    if golden is None:
        why = "the bundle has no self-test for this precision: build it again with this boir-convert"
        return Outcome("absent", precision, "", 0, 0.0, 0.0, 0.0, 0.0, (why,))
    estimator = PoseEstimator(
        model,
        device=device,
        size=golden.size,
        precision=precision,
        score_threshold=0.0,
        max_people=min(opened.manifest.max_people, LOOKED_AT),
        threads=threads,
    )
    with estimator:
        poses = estimator(golden.picture_bgr)
        effective = str(estimator.info["precision"]["effective"])
    half = not device.startswith("CPU") or not effective.endswith("f32")
    pixels, score = golden.pixels, golden.score
    if half:
        pixels, score = max(pixels, HALF_PRECISION[0]), max(score, HALF_PRECISION[1])
    return compare(golden, poses, precision=precision, effective=effective, pixels=pixels, score=score)


def compare(golden: Golden, poses: Poses, *, precision: str, effective: str, pixels: float, score: float) -> Outcome:
    """Compare everybody found now with everybody found then.

    Args:
        golden: what is expected.
        poses: what was found, down to score 0.
        precision: for the outcome.
        effective: for the outcome.
        pixels: how far a stable keypoint may be off along an axis.
        score: how far a score may be off.
    """
    problems: list[str] = []
    matched: set[int] = set()
    worst_pixels = worst_score = 0.0
    for person in range(len(golden.scores)):
        match = _nearest(golden, person, poses, matched)
        if match is None:
            problems.append(f"person {person + 1} of {len(golden.scores)} is missing")
            continue
        matched.add(match)
        off = np.abs(poses.keypoints[match] - golden.keypoints[person])[golden.stable[person]]
        worst_pixels = max(worst_pixels, float(off.max(initial=0.0)))
        kept = np.where(golden.stable[person], poses.keypoint_scores[match] - golden.keypoint_scores[person], 0)
        own = abs(float(poses.scores[match]) - float(golden.scores[person]))
        worst_score = max(worst_score, float(np.abs(kept).max(initial=0.0)), own)
    extra = [i for i in range(len(poses)) if i not in matched and poses.scores[i] > golden.threshold + score]
    if extra:
        problems.append(f"{len(extra)} more people than expected, the best with score {poses.scores[extra[0]]:.3f}")
    if worst_pixels > pixels:
        problems.append(f"a keypoint is {worst_pixels:.3g} pixels off, at most {pixels:g} are allowed")
    if worst_score > score:
        problems.append(f"a score is {worst_score:.3g} off, at most {score:g} is allowed")
    return Outcome(
        status="failed" if problems else "passed",
        precision=precision,
        effective=effective,
        people=len(golden.scores),
        pixels=worst_pixels,
        score=worst_score,
        allowed_pixels=pixels,
        allowed_score=score,
        problems=tuple(problems),
    )


def _nearest(golden: Golden, person: int, poses: Poses, taken: set[int]) -> int | None:
    """Who lies closest to an expected person, if that is within a quarter of the person's size."""
    free = [i for i in range(len(poses)) if i not in taken]
    if not free:
        return None
    own = golden.keypoints[person]
    distance = np.abs(poses.keypoints[free] - own).max(axis=2)
    typical = np.median(distance, axis=1)
    best = int(typical.argmin())
    reach = max(4.0, float(np.ptp(own, axis=0).max()) / 4)
    return free[best] if typical[best] <= reach else None


def read(opened: bundles.Bundle) -> dict[str, Golden]:
    """Read a verified bundle's self-tests by precision; empty if it has none.

    Raises:
        BundleError: the file isn't what `dump` writes.
    """
    if bundles.SELFTEST_NAME not in opened.manifest.files:
        return {}
    path = opened.path / bundles.SELFTEST_NAME
    found = load(path.read_bytes(), str(path))
    for precision, golden in found.items():
        if golden.size not in opened.manifest.sizes:
            raise BundleError(f"{path}: {precision} is for size {golden.size}, which the bundle doesn't offer")
    return found


def dump(goldens: Mapping[str, Golden]) -> bytes:
    """Serialise self-tests by precision; they share one picture and size."""
    first = next(iter(goldens.values()))
    arrays: dict[str, Any] = {
        "format": np.int64(FORMAT),
        "picture_bgr": first.picture_bgr,
        "size": np.int64(first.size),
    }
    for precision, golden in goldens.items():
        arrays |= {
            f"{precision}_keypoints": golden.keypoints,
            f"{precision}_keypoint_scores": golden.keypoint_scores,
            f"{precision}_scores": golden.scores,
            f"{precision}_stable": golden.stable,
            f"{precision}_tolerance": np.array([golden.pixels, golden.score], dtype=np.float64),
            f"{precision}_threshold": np.float64(golden.threshold),
        }
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def load(data: bytes, where: str) -> dict[str, Golden]:
    """Parse and check what `dump` wrote.

    Raises:
        BundleError: it isn't that, of another format, or larger than `MAX_BYTES` unpacked.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_BYTES:
            raise BundleError(
                f"{where} unpacks to {unpacked} bytes, over the limit of {MAX_BYTES}: get the bundle again"
            )
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except BundleError:
        raise
    except Exception as error:  # NumPy, zipfile and zlib fail in a dozen ways, and none concerns the caller
        reason = str(error)[:200] or type(error).__name__
        raise BundleError(f"{where} is not a self-test ({reason}): get the bundle again") from error
    made = arrays.get("format")
    if made is None or made.dtype.kind != "i" or made.shape != () or int(made) != FORMAT:
        raise BundleError(f"{where} has another format than {FORMAT}: upgrade boir-sdk or build the bundle again")
    picture, size = arrays.get("picture_bgr"), arrays.get("size")
    if picture is None or picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise BundleError(f"{where}: picture_bgr is not a picture: get the bundle again")
    if size is None or size.dtype.kind != "i" or size.shape != ():
        raise BundleError(f"{where}: size is not a whole number: get the bundle again")
    found = {}
    for precision in PRECISIONS:
        parts = {name: arrays.get(f"{precision}_{name}") for name in _ARRAYS}
        if all(part is None for part in parts.values()):
            continue
        found[precision] = _golden(parts, picture, int(size), f"{where}: {precision}")
    return found


def _golden(parts: Mapping[str, NDArray[Any] | None], picture: NDArray[np.uint8], size: int, where: str) -> Golden:
    checked: dict[str, NDArray[Any]] = {}
    for name, (kind, dimensions) in _ARRAYS.items():
        part = parts[name]
        if part is None or part.dtype.kind != kind or part.ndim != dimensions or not np.isfinite(part).all():
            raise BundleError(f"{where}_{name} is missing or not what it should be")
        checked[name] = part
    people, joints = checked["keypoint_scores"].shape
    shapes = {"keypoints": (people, joints, 2), "scores": (people,), "stable": (people, joints), "tolerance": (2,)}
    wrong = [name for name, shape in shapes.items() if checked[name].shape != shape]
    if wrong or people > MAX_PEOPLE:
        raise BundleError(f"{where}: shapes of {', '.join(wrong) or 'too many people'} don't fit")
    pixels, score = (float(value) for value in checked["tolerance"])
    if pixels < 0 or score < 0:
        raise BundleError(f"{where}_tolerance is negative")
    return Golden(
        picture_bgr=picture,
        size=size,
        keypoints=checked["keypoints"].astype(np.float32),
        keypoint_scores=checked["keypoint_scores"].astype(np.float32),
        scores=checked["scores"].astype(np.float32),
        stable=checked["stable"].astype(np.bool_),
        pixels=pixels,
        score=score,
        threshold=float(checked["threshold"]),
    )
