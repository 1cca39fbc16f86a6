"""Training targets of one picture: Gaussian heatmaps, instance cells and boxes (SPEC-training T2.6 to T2.9)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from boir_train.data.draws import Draws

BoxClip = Literal["published", "corners"]
CentreRule = Literal["keypoints", "box"]
KeypointWidth = Literal["published", "oks"]

MIN_OVERLAP = 0.7


@dataclass(frozen=True, slots=True)
class Targets:
    """What the losses compare one picture with. R is the map's side, N the number of rows kept (at least 1).

    Attributes:
        multi_heatmap: [K + 1, R, R], everybody's keypoints and, last, the centres.
        instance_coord: [N, 2] cells (y, x) after jitter.
        instance_heatmap: [N, K, R, R].
        instance_mask: [N, K, 1, 1], 1 where the keypoint is annotated.
        keypoints: [N, K, 3] x, y in cells and v.
        boxes: [N, 4] x, y, w, h in cells.
        num_inst: people among the N rows; 0 means that the single row is the placeholder of T2.9.
    """

    multi_heatmap: NDArray[np.float32]
    instance_coord: NDArray[np.int64]
    instance_heatmap: NDArray[np.float32]
    instance_mask: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    boxes: NDArray[np.float64]
    num_inst: int


def gaussian_radius(height: float, width: float, min_overlap: float = MIN_OVERLAP) -> float:
    """Return the radius in cells that CornerNet's formulas, as published, give for a box (T2.7)."""
    total, product = height + width, height * width
    first = (total + math.sqrt(total**2 - 4 * product * (1 - min_overlap) / (1 + min_overlap))) / 2
    second = (2 * total + math.sqrt(4 * total**2 - 16 * (1 - min_overlap) * product)) / 2
    third_root = math.sqrt(4 * min_overlap**2 * total**2 + 16 * min_overlap * (1 - min_overlap) * product)
    third = (-2 * min_overlap * total + third_root) / 2
    return min(first, second, third)


@lru_cache(maxsize=256)
def gaussian(radius: int) -> NDArray[np.float64]:
    """Return the read-only kernel [2r + 1, 2r + 1] with sigma (2r + 1) / 6, exactly 1 in the middle."""
    sigma = (2 * radius + 1) / 6
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    kernel = np.exp(-(x * x + y * y) / (2 * sigma * sigma))
    kernel[kernel < np.finfo(np.float64).eps] = 0
    kernel.flags.writeable = False
    return kernel


def draw(heatmap: NDArray[np.float32], x: float, y: float, radius: int) -> None:
    """Draw a Gaussian into `heatmap` [R, R] at cell (trunc x, trunc y), keeping larger values; outside does nothing."""
    side_y, side_x = heatmap.shape
    # Truncation, not floor: a coordinate in (-1, 0) is drawn in cell 0 (T2.7).
    cell_x, cell_y = int(x), int(y)
    if not (0 <= cell_x < side_x and 0 <= cell_y < side_y):
        return
    left, top = max(cell_x - radius, 0), max(cell_y - radius, 0)
    right, bottom = min(cell_x + radius + 1, side_x), min(cell_y + radius + 1, side_y)
    origin_x, origin_y = cell_x - radius, cell_y - radius
    kernel = gaussian(radius)[top - origin_y : bottom - origin_y, left - origin_x : right - origin_x]
    patch = heatmap[top:bottom, left:right]
    np.maximum(patch, kernel.astype(np.float32), out=patch)


def keypoint_radii(radius: int, sigmas: Sequence[float]) -> tuple[int, ...]:
    """Return a radius for every keypoint, `radius` times ten times its OKS sigma (0.25 for eyes, 1.07 for hips).

    So a heatmap is as wide as the error that OKS forgives. With one radius for all keypoints an eye's Gaussian on a
    large person is as wide as his face.
    """
    return tuple(round(10 * sigma * radius) for sigma in sigmas)


def person_radius(corners: NDArray[np.float64], side: int) -> int:
    """Return one person's Gaussian radius from box `corners` [4, 2] (TL, TR, BL, BR in cells), clipped to the map."""
    clipped = np.clip(corners, 0, side - 1)
    height = math.ceil(np.linalg.norm(clipped[2] - clipped[0]))
    width = math.ceil(np.linalg.norm(clipped[1] - clipped[0]))
    return max(0, int(gaussian_radius(height, width)))


def person_centre(keypoints: NDArray[np.float64], area: float, min_area: float) -> NDArray[np.float64] | None:
    """Return the mean of the annotated keypoints as (x, y) cells; None for a small person or one without keypoints.

    Args:
        keypoints: [K, 3] x, y in cells and v.
        area: of the box, in network pixels squared.
        min_area: 1024 for the COCO family, 0 (no rule) for CrowdPose.
    """
    visible = keypoints[:, 2] > 0
    if area < min_area or not visible.any():
        return None
    return np.asarray(keypoints[visible, :2].mean(axis=0))


def box_centre(corners: NDArray[np.float64], area: float, side: int, min_area: float) -> NDArray[np.float64] | None:
    """Return the middle of the part of a box that lies in the map, as (x, y) cells; None for a small person.

    The start of `nano` puts its centres there, so its heads are right in these cells and wrong in those of T2.6: a
    person's keypoints have their mean a tenth of the person's size above the middle of the box.

    Args:
        corners: [4, 2] cells.
        area: of the box, in network pixels squared.
        side: R, the map's side in cells.
        min_area: see `person_centre`.
    """
    low, high = corners.min(axis=0), corners.max(axis=0)
    if area < min_area or (high < 0).any() or (low > side).any():
        return None
    return np.asarray((np.clip(low, 0, side) + np.clip(high, 0, side)) / 2)


def target_box(corners: NDArray[np.float64], side: int, clip: BoxClip) -> NDArray[np.float64]:
    """Return the hull x, y, w, h in cells of warped box `corners` [4, 2], clipped to the map (T2.8).

    "published" clips the four numbers x, y, w, h, so a box that sticks out on the left keeps its width; "corners" clips
    the two corners.
    """
    low, high = corners.min(axis=0), corners.max(axis=0)
    if clip == "corners":
        low, high = np.clip(low, 0, side - 1), np.clip(high, 0, side - 1)
    return np.clip(np.concatenate([low, high - low]), 0, side - 1)


def _jittered(centre: NDArray[np.float64], side: int, draws: Draws) -> tuple[int, int] | None:
    """Return the instance cell (y, x) of a centre, moved by at most one cell; None when it is outside the map."""
    x, y = int(centre[0]), int(centre[1])
    if not (0 <= x < side and 0 <= y < side):
        return None
    moved_x = x + draws.integer(-1, 1)
    moved_y = y + draws.integer(-1, 1)
    if 0 <= moved_x < side and 0 <= moved_y < side:
        return moved_y, moved_x
    return y, x


def build(
    keypoints: NDArray[np.float64],
    corners: NDArray[np.float64],
    area: NDArray[np.float64],
    side: int,
    draws: Draws,
    *,
    min_area: float,
    box_clip: BoxClip = "published",
    centre: CentreRule = "keypoints",
    sigmas: Sequence[float] | None = None,
    taught: NDArray[np.bool_] | None = None,
) -> Targets:
    """Make the targets of one augmented picture.

    Args:
        keypoints: [P, K, 3] x, y in cells and v, of all people.
        corners: [P, 4, 2] box corners TL, TR, BL, BR in cells.
        area: [P] box areas in network pixels squared.
        side: R, the map's side in cells.
        draws: gives jx, jy in {-1, 0, 1} for each person with a centre inside the map, smallest person first.
        min_area: people under it (strictly) get no centre.
        box_clip: see `target_box`.
        centre: what a person's centre is, the mean of the keypoints (T2.6) or the middle of the visible box.
        sigmas: [K] of OKS, to give every keypoint a width of its own (`keypoint_radii`); None for one width (T2.7).
        taught: [P], people who are an instance if they have a centre (`reach.within`); None for all.
    """
    count = keypoints.shape[1]
    multi = np.zeros((count + 1, side, side), np.float32)
    radii = [person_radius(person, side) for person in corners]
    if centre == "keypoints":
        centres = [person_centre(person, float(size), min_area) for person, size in zip(keypoints, area, strict=True)]
    else:
        centres = [box_centre(box, float(size), side, min_area) for box, size in zip(corners, area, strict=True)]
    widths = [(radius,) * count if sigmas is None else keypoint_radii(radius, sigmas) for radius in radii]
    for person, middle, radius, own in zip(keypoints, centres, radii, widths, strict=True):
        _draw_person(multi, person, own)
        if middle is not None:
            draw(multi[count], middle[0], middle[1], radius)

    # Smaller people first: of two that fall in one cell the smaller stays.
    cells: dict[tuple[int, int], int] = {}
    for index in np.argsort(area).tolist():
        middle = centres[index]
        cell = None if middle is None else _jittered(middle, side, draws)
        if cell is not None and (taught is None or taught[index]):
            cells.setdefault(cell, index)

    rows = max(len(cells), 1)
    targets = Targets(
        multi_heatmap=multi,
        instance_coord=np.zeros((rows, 2), np.int64),
        instance_heatmap=np.zeros((rows, count, side, side), np.float32),
        instance_mask=np.zeros((rows, count, 1, 1), np.float32),
        keypoints=np.zeros((rows, count, 3), np.float32),
        boxes=np.zeros((rows, 4), np.float64),
        num_inst=len(cells),
    )
    for row, (cell, index) in enumerate(cells.items()):
        targets.instance_coord[row] = cell
        _draw_person(targets.instance_heatmap[row], keypoints[index], widths[index])
        targets.instance_mask[row, :, 0, 0] = keypoints[index, :, 2] > 0
        targets.keypoints[row] = keypoints[index]
        targets.boxes[row] = target_box(corners[index], side, box_clip)
    return targets


def _draw_person(maps: NDArray[np.float32], keypoints: NDArray[np.float64], radii: Sequence[int]) -> None:
    for heatmap, (x, y, visibility), radius in zip(maps, keypoints, radii, strict=False):
        if visibility > 0:
            draw(heatmap, x, y, radius)
