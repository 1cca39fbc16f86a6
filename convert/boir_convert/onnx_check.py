"""Does an ONNX file give PyTorch's people? The same network pictures through both, compared person by person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped,unused-ignore]
from numpy.typing import NDArray

from boir_convert import drawn_people
from boir_sdk import warp
from boir_sdk.errors import ConfigError, InferenceError
from boir_train.inference import ProtocolName, infer

CENTER_THRESHOLD = 0.01  # SPEC-model M4.5
SCORE_TOLERANCE = 1e-4
PIXEL_TOLERANCE = 1e-2
TIE = 2e-4  # heatmap values closer than this may change places (SPEC-model M6.2)
MOST_TIES = 0.03
QUARTER_SHIFT = 2.0  # network pixels that a keypoint moves when its two neighbours change places (M4.7)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How closely two runs of one network agree.

    Attributes:
        pictures: compared.
        people: found by both.
        unmatched: found by one only, and by so little that rounding decides.
        score: largest difference of a centre's, keypoint's or person's score.
        pixels: largest distance along an axis of the other keypoints, network pixels.
        ties: share of keypoints, 0..1, that lie elsewhere because two places are equally good within rounding.
    """

    pictures: int
    people: int
    unmatched: int
    score: float
    pixels: float
    ties: float


def check(data: bytes, model: Any, shape: tuple[int, int], flip_test: bool, protocol: ProtocolName) -> Agreement:
    """Compare on the drawn picture and on noise.

    Args:
        data: the file's bytes.
        model: the network in PyTorch, filled.
        shape: height and width of the network picture, pixels.
        flip_test: the file looks at the mirrored view too.
        protocol: whose smoothing the file has.

    Raises:
        InferenceError: onnxruntime can't run the file, or the people differ.
    """
    session = open_session(data)
    found = []
    for picture in pictures(*shape):
        reference = infer(model, picture, flip_test=flip_test, protocol=protocol, intermediates=True)
        found.append(compare(run(session, picture), reference))
    agreement = merged(found)
    if agreement.score > SCORE_TOLERANCE or agreement.pixels > PIXEL_TOLERANCE:
        raise InferenceError(
            f"onnxruntime {onnxruntime.__version__} and PyTorch disagree: scores by {agreement.score:.2g} (at most "
            f"{SCORE_TOLERANCE:g}), keypoints by {agreement.pixels:.2g} pixels (at most {PIXEL_TOLERANCE:g})"
        )
    if agreement.ties > MOST_TIES:
        raise InferenceError(f"onnxruntime and PyTorch put {agreement.ties:.1%} of the keypoints at different places")
    return agreement


def pictures(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The drawn people and noise with some structure, each as a network picture RGB [height, width, 3]."""
    fit = warp.fit(drawn_people.HEIGHT, drawn_people.WIDTH, 64, rule="long", multiple=1, resample="area")
    for size in range(64, 4097):  # the largest that fits
        larger = warp.fit(drawn_people.HEIGHT, drawn_people.WIDTH, size, rule="long", multiple=1, resample="area")
        if larger.height > height or larger.width > width:
            break
        fit = larger
    people = np.zeros((height, width, 3), dtype=np.uint8)
    people[: fit.height, : fit.width] = warp.apply(drawn_people.picture()[:, :, ::-1], fit)
    coarse = np.random.default_rng(0).integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    noise = np.kron(coarse, np.ones((16, 16, 1), dtype=np.uint8))
    return people, noise


def open_session(data: bytes) -> onnxruntime.InferenceSession:
    """Load a file's bytes on the CPU with as many threads as PyTorch has.

    Raises:
        InferenceError: onnxruntime can't load them.
    """
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no other base
        raise InferenceError(f"onnxruntime {onnxruntime.__version__} can't load the file: {error}") from error


def run(session: onnxruntime.InferenceSession, picture: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Run one network picture, RGB [H, W, 3], and return the outputs by name.

    Raises:
        InferenceError: onnxruntime fails.
    """
    names = [output.name for output in session.get_outputs()]
    try:
        values = session.run(names, {"picture": np.ascontiguousarray(picture[None, :, :, ::-1])})
    except Exception as error:
        raise InferenceError(f"onnxruntime {onnxruntime.__version__} can't run the file: {error}") from error
    return dict(zip(names, values, strict=True))


def compare(ours: dict[str, NDArray[np.float32]], reference: dict[str, NDArray[Any]]) -> Agreement:
    """Compare one picture's people, matched by the cell of their centre.

    Args:
        ours: outputs of the file.
        reference: what `boir_train.inference.infer` gives with `intermediates`.

    Raises:
        InferenceError: somebody is clearly found by one of the two only.
    """
    taken = int((ours["scores"] > 0).sum())
    here = {tuple(cell): i for i, cell in enumerate(ours["centers"][:taken, 1:].astype(int).tolist())}
    there = {tuple(cell): i for i, cell in enumerate(reference["instance_coord_yx"].tolist())}
    scores = {**{cell: float(ours["centers"][i, 0]) for cell, i in here.items()}}
    scores |= {cell: float(reference["instance_score"][i]) for cell, i in there.items()}
    alone = here.keys() ^ there.keys()
    lowest = min(scores.values(), default=0.0)
    for cell in alone:  # rounding may decide at the threshold, at the last of the places, and between flat neighbours
        edge = min(abs(scores[cell] - CENTER_THRESHOLD), scores[cell] - lowest)
        if edge > SCORE_TOLERANCE and not _flat(reference["center_map"], cell):
            raise InferenceError(f"only one of onnxruntime and PyTorch finds a person at cell y, x = {cell}")
    both = [cell for cell in there if cell in here]
    a, b = [here[cell] for cell in both], [there[cell] for cell in both]
    people = len(both)
    if not people:
        return Agreement(1, 0, len(alone), 0.0, 0.0, 0.0)
    poses, keypoints = reference["poses_net"][b], ours["keypoints"][a]
    score = max(
        _worst(ours["centers"][a, 0], reference["instance_score"][b]),
        _worst(keypoints[..., 2], poses[..., 2]),
        _worst(ours["scores"][a], reference["scores"][b]),
    )
    off = np.abs(keypoints[..., :2] - poses[..., :2]).max(axis=2)
    heat = reference["heatmaps_smoothed"][b].reshape(people, poses.shape[1], -1)
    best = np.partition(heat, -2, axis=2)[..., -2:]
    tied = best[..., 1] - best[..., 0] <= TIE
    tied |= (off <= QUARTER_SHIFT + PIXEL_TOLERANCE) & _level(reference, b)
    tied &= off > PIXEL_TOLERANCE
    return Agreement(1, people, len(alone), score, float(off[~tied].max(initial=0.0)), float(tied.mean()))


def merged(found: Sequence[Agreement]) -> Agreement:
    """Several pictures' agreement as one.

    Raises:
        ConfigError: there are none.
    """
    if not found:
        raise ConfigError("nothing was compared: give at least one picture")
    people = sum(one.people for one in found)
    return Agreement(
        pictures=sum(one.pictures for one in found),
        people=people,
        unmatched=sum(one.unmatched for one in found),
        score=max(one.score for one in found),
        pixels=max(one.pixels for one in found),
        ties=sum(one.ties * one.people for one in found) / max(people, 1),
    )


def _worst(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    return float(np.abs(ours.astype(np.float64) - theirs).max(initial=0.0))


def _flat(center_map: NDArray[np.float32], cell: tuple[int, ...]) -> bool:
    """Whether a cell's lead over its window, which makes it a person, is within rounding."""
    y, x = cell
    around = center_map[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4].copy()
    around[min(y, 3), min(x, 3)] = 0
    return bool(abs(float(center_map[y, x]) - float(around.max())) < SCORE_TOLERANCE)


def _level(reference: dict[str, NDArray[Any]], people: Sequence[int]) -> NDArray[np.bool_]:
    """Whether a keypoint's two neighbours are equal within rounding along an axis, bool [N, K]."""
    maps, cells = reference["heatmaps_smoothed"][people], reference["peak_yx"][people]
    height, width = maps.shape[2:]
    person, joint = np.indices(cells.shape[:2])
    y, x = cells[..., 0], cells[..., 1]
    up, down = maps[person, joint, np.maximum(y - 1, 0), x], maps[person, joint, np.minimum(y + 1, height - 1), x]
    left, right = maps[person, joint, y, np.maximum(x - 1, 0)], maps[person, joint, y, np.minimum(x + 1, width - 1)]
    level: NDArray[np.bool_] = (np.abs(up - down) <= TIE) | (np.abs(left - right) <= TIE)
    return level
