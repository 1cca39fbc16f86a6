"""Crowds made of annotated pictures: four pictures in one (mosaic), people cut out and set before others (paste)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from boir_train.data.augment import edge_aligned
from boir_train.data.datasets import decode_region
from boir_train.data.draws import Draws

HIDDEN = 0.6  # nobody may lose a larger share of his keypoints to somebody who is set before him
MIN_KEYPOINTS, MIN_SIDE = 5, 24  # of somebody worth cutting out; the side in pixels of his picture


@dataclass(frozen=True, slots=True)
class Scene:
    """A decoded picture with its P people.

    Attributes:
        image_rgb: uint8 [H, W, 3].
        valid: [H, W], False where heatmaps may not be judged.
        keypoints: [P, K, 3] x, y in pixels and v.
        boxes: [P, 4] x, y, w, h in pixels.
        outlines: P segmentations of the picture's people, in forms that `datasets.decode_region` reads, or None.
    """

    image_rgb: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    keypoints: NDArray[np.float64]
    boxes: NDArray[np.float64]
    outlines: tuple[Any, ...]


def mosaic(scenes: Sequence[Scene], *, edges: bool = False) -> Scene:
    """Put four pictures together, each at half the size that the first one's longer side has.

    What stays empty is not judged. People cut out of the result later have no outlines. `edges`: keypoints are counted
    from the edge of the first pixel (`AugmentSettings.align`), not from its middle.
    """
    side = max(scenes[0].image_rgb.shape[:2]) // 2
    image = np.zeros((2 * side, 2 * side, 3), np.uint8)
    valid = np.zeros((2 * side, 2 * side), np.bool_)
    keypoints, boxes = [], []
    for scene, corner in zip(scenes, ((0, 0), (0, side), (side, 0), (side, side)), strict=True):
        height, width = scene.image_rgb.shape[:2]
        scale = side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        resample = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        at = (slice(corner[0], corner[0] + size[1]), slice(corner[1], corner[1] + size[0]))
        image[at] = cv2.resize(scene.image_rgb, size, interpolation=resample)
        valid[at] = cv2.resize(scene.valid.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        ratio = np.array([size[0] / width, size[1] / height])
        moved = scene.keypoints.copy()
        middle = 0 if edges else 0.5  # of the first pixel
        moved[..., :2] = (moved[..., :2] + middle) * ratio - middle + corner[::-1]
        keypoints.append(moved)
        boxes.append(scene.boxes * np.tile(ratio, 2) + [corner[1], corner[0], 0, 0])
    people = sum(map(len, boxes))
    return Scene(image, valid, np.concatenate(keypoints), np.concatenate(boxes), (None,) * people)


def paste(scene: Scene, donor: Scene, draws: Draws, *, edges: bool = False) -> Scene:
    """Set one of the donor's people before or beside one of the scene's, about as large as he is.

    Args:
        scene: with at least one person, else it comes back as it is.
        donor: another picture.
        draws: whom, beside whom, how large, where.
        edges: as of `mosaic`.

    Returns:
        The scene with one person more; or as it was if that person is too small or too little annotated, would stand
        outside, or would hide another almost wholly.
    """
    if not len(scene.boxes) or not len(donor.boxes):
        return scene
    chosen = draws.integer(0, len(donor.boxes) - 1)
    beside = draws.integer(0, len(scene.boxes) - 1)
    size, across, along = (2 * draws.uniform() - 1 for _ in range(3))
    box, target = donor.boxes[chosen], scene.boxes[beside]
    cut = _cut_out(donor, chosen)
    if cut is None or target[2:].min() < 1:
        return scene
    scale = max(target[2:]) / max(box[2:]) * 1.25**size
    # From right before him to just beside him.
    reach = np.array([(target[2] + scale * box[2]) / 2, target[3] / 4])
    centre = target[:2] + target[2:] / 2 + np.array([across, along]) * reach
    shift = centre - scale * (box[:2] + box[2:] / 2)
    affine = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    if edges:
        affine = edge_aligned(affine)

    height, width = scene.image_rgb.shape[:2]
    mask = cv2.warpAffine(cut.astype(np.uint8) * 255, affine, (width, height)) > 127
    own = donor.keypoints[chosen].copy()
    own[:, :2] = own[:, :2] * scale + shift
    inside = (own[:, :2] >= 0).all(axis=1) & (own[:, 0] < width) & (own[:, 1] < height)
    if (own[:, 2] > 0).sum() > 2 * ((own[:, 2] > 0) & inside).sum() or _hides_somebody(mask, scene.keypoints):
        return scene
    own[~inside] = 0

    shrunk = donor.image_rgb
    if scale < 1:  # averaged down first, as a camera would have
        small = (max(1, round(shrunk.shape[1] * scale)), max(1, round(shrunk.shape[0] * scale)))
        ratio = np.array([shrunk.shape[1] / small[0], shrunk.shape[0] / small[1]])
        shrunk = cv2.resize(shrunk, small, interpolation=cv2.INTER_AREA)
        affine = np.column_stack([affine[:, :2] * ratio, affine[:, :2] @ (ratio / 2 - 0.5) + affine[:, 2]])
    image = scene.image_rgb.copy()
    image[mask] = cv2.warpAffine(shrunk, affine, (width, height))[mask]
    corners = np.clip([box[:2] * scale + shift, (box[:2] + box[2:]) * scale + shift], 0, [width, height])
    return replace(
        scene,
        image_rgb=image,
        valid=scene.valid | mask,
        keypoints=np.concatenate([scene.keypoints, own[None]]),
        boxes=np.concatenate([scene.boxes, [[*corners[0], *(corners[1] - corners[0])]]]),
        outlines=(*scene.outlines, None),
    )


def _cut_out(donor: Scene, person: int) -> NDArray[np.bool_] | None:
    """The pixels [H, W] of a person who is worth it."""
    outline = donor.outlines[person]
    labelled = (donor.keypoints[person, :, 2] > 0).sum()
    if not outline or labelled < MIN_KEYPOINTS or donor.boxes[person, 2:].min() < MIN_SIDE:
        return None
    return np.asarray(decode_region(outline, *donor.image_rgb.shape[:2]) > 0)


def _hides_somebody(mask: NDArray[np.bool_], keypoints: NDArray[np.float64]) -> bool:
    """Whether somebody [P, K, 3] would lose more than `HIDDEN` of his annotated keypoints behind `mask` [H, W]."""
    height, width = mask.shape
    x, y = (np.clip(keypoints[..., axis].astype(int), 0, limit - 1) for axis, limit in ((0, width), (1, height)))
    labelled = keypoints[..., 2] > 0
    covered = (mask[y, x] & labelled).sum(axis=1)
    return bool((covered > HIDDEN * labelled.sum(axis=1)).any())
