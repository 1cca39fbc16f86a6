"""Scale, rotate, translate and mirror a picture with its people and ignore mask (SPEC-training T2.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from boir_sdk.skeleton import Skeleton
from boir_train.data.draws import Draws

STRIDE = 4
# Below this many network pixels a source pixel bilinear sampling skips too much: `area_resample` shrinks first.
SHRINK_BELOW = 0.75


@dataclass(frozen=True, slots=True)
class AugmentSettings:
    """Ranges of the random changes; the defaults are those of all published runs (T1.3).

    Attributes:
        min_scale, max_scale: window side as a multiple of the picture's side.
        scale_side: the side that is meant, "short" (published) or "long".
        max_rotation: degrees to either side.
        max_translate: per cent of half the window side, to either side of the picture's middle.
        flip: probability of mirroring.
        mirror: where a mirrored picture's targets lie, "published" (R - 1 - x, three network pixels off the picture;
            T2.5) or "exact".
        colour: strength of the brightness, contrast and saturation change, 0 (published: none) to 1.
        align: which points of the pixels lie on each other, their indices ("published", as `cv2.warpAffine` has it), or
            their "edges", as `cv2.resize` has it and inference where `resample` is "area" (SPEC-model M4.8).
        area_resample: average the source before a strong reduction (published: no, plain bilinear).
        mosaic: probability that four pictures become one first (`crowd.mosaic`; published: 0).
        paste: probability that somebody of another picture is set before or beside somebody first (`crowd.paste`;
            published: 0).
    """

    min_scale: float = 0.75
    max_scale: float = 1.5
    scale_side: Literal["short", "long"] = "short"
    max_rotation: float = 30.0
    max_translate: float = 40.0
    flip: float = 0.5
    mirror: Literal["published", "exact"] = "published"
    colour: float = 0.0
    align: Literal["published", "edges"] = "published"
    area_resample: bool = False
    mosaic: float = 0.0
    paste: float = 0.0


@dataclass(frozen=True, slots=True)
class Window:
    """The square of the source picture that becomes the network's input.

    Attributes:
        side: source pixels.
        angle: degrees.
        centre: (x, y) source pixels.
    """

    side: float
    angle: float
    centre: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Augmented:
    """A picture after the warp and flip. I = network side, R = I / 4.

    Attributes:
        image_rgb: uint8 [I, I, 3].
        valid: bool [R, R], False where nothing may be learned from the heatmaps.
        keypoints: [P, K, 3] x, y in cells and v.
        corners: [P, 4, 2] box corners TL, TR, BL, BR (as seen in this picture) in cells.
        area: [P] box area in network pixels squared.
    """

    image_rgb: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    keypoints: NDArray[np.float64]
    corners: NDArray[np.float64]
    area: NDArray[np.float64]


def draw_window(width: int, height: int, settings: AugmentSettings, draws: Draws) -> Window:
    """Draw scale, rotation and translation, in this order, for a picture of `width` x `height` pixels."""
    base = min(width, height) if settings.scale_side == "short" else max(width, height)
    side = base * (settings.min_scale + draws.uniform() * (settings.max_scale - settings.min_scale))
    angle = (2 * draws.uniform() - 1) * settings.max_rotation
    reach = int(settings.max_translate * side / 200)
    dx = draws.integer(-reach, reach - 1) if reach else 0
    dy = draws.integer(-reach, reach - 1) if reach else 0
    return Window(side, angle, (width / 2 + dx, height / 2 + dy))


def matrix(window: Window, target: int) -> NDArray[np.float64]:
    """Return the affine [2, 3] that maps source pixels to a square target of side `target` (input pixels or cells)."""
    scale = target / window.side
    cos, sin = math.cos(-math.radians(window.angle)), math.sin(-math.radians(window.angle))
    x, y = window.centre
    return np.array(
        [
            [cos * scale, -sin * scale, target / 2 - scale * (cos * x - sin * y)],
            [sin * scale, cos * scale, target / 2 - scale * (sin * x + cos * y)],
        ]
    )


def box_corners(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the corners [P, 4, 2] TL, TR, BL, BR of `boxes` [P, 4] x, y, w, h."""
    x1, y1, width, height = boxes.T
    x2, y2 = x1 + width, y1 + height
    return np.stack([x1, y1, x2, y1, x1, y2, x2, y2], axis=1).reshape(-1, 4, 2)


def transform(points: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply `affine` [2, 3] to `points` [..., 2]."""
    return np.asarray(points @ affine[:, :2].T + affine[:, 2])


def edge_aligned(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what maps pixel indices as `affine` [2, 3] maps positions counted from the edge of the first pixel."""
    half = np.array([0.5, 0.5])
    return np.column_stack([affine[:, :2], transform(half, affine) - half])


def warp_picture(
    image_rgb: NDArray[np.uint8], affine: NDArray[np.float64], side: int, *, area_resample: bool
) -> NDArray[np.uint8]:
    """Warp `image_rgb` [H, W, 3] to [side, side, 3], black outside.

    With `area_resample` a picture that shrinks by much is averaged down first; positions stay those of `affine`.
    """
    scale = math.hypot(affine[0, 0], affine[1, 0])
    if area_resample and scale < SHRINK_BELOW:
        height, width = image_rgb.shape[:2]
        small_w, small_h = max(1, round(width * scale)), max(1, round(height * scale))
        image_rgb = cv2.resize(image_rgb, (small_w, small_h), interpolation=cv2.INTER_AREA)
        # Pixel centres: source = (small + 0.5) * ratio - 0.5.
        ratio = np.array([width / small_w, height / small_h])
        affine = np.column_stack([affine[:, :2] * ratio, transform(ratio / 2 - 0.5, affine)])
    return np.asarray(cv2.warpAffine(image_rgb, affine, (side, side)), np.uint8)


def warp_valid(valid: NDArray[np.bool_], affine: NDArray[np.float64], side: int) -> NDArray[np.bool_]:
    """Warp the ignore mask `valid` [H, W] to [side, side] cells; cells from outside the picture are invalid."""
    warped = cv2.warpAffine(valid.astype(np.uint8) * 255, affine, (side, side))
    return np.asarray(warped / 255 > 0.5)


def change_colours(image_rgb: NDArray[np.uint8], strength: float, draws: Draws) -> NDArray[np.uint8]:
    """Change brightness, contrast and saturation of `image_rgb` by factors drawn from 1 - strength to 1 + strength."""
    brightness, contrast, saturation = (1 + (2 * draws.uniform() - 1) * strength for _ in range(3))
    picture = image_rgb.astype(np.float32) * np.float32(brightness)
    grey = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    picture = grey[..., None] + (picture - grey[..., None]) * np.float32(saturation)
    mean = grey.mean()
    picture = mean + (picture - mean) * np.float32(contrast)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def augment(
    image_rgb: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    keypoints: NDArray[np.float64],
    boxes: NDArray[np.float64],
    size: int,
    skeleton: Skeleton,
    settings: AugmentSettings,
    draws: Draws,
) -> Augmented:
    """Change one picture and its people at random.

    Args:
        image_rgb: uint8 [H, W, 3].
        valid: [H, W], False in regions to ignore.
        keypoints: [P, K, 3] x, y in source pixels and v.
        boxes: [P, 4] x, y, w, h in source pixels.
        size: I, the network's side in pixels, a multiple of 4.
        skeleton: whose keypoints are exchanged by mirroring.
        settings: the ranges.
        draws: the random numbers, in the order scale, rotation, dx, dy, flip.
    """
    side = size // STRIDE
    height, width = image_rgb.shape[:2]
    window = draw_window(width, height, settings, draws)
    to_cells, to_input = matrix(window, side), matrix(window, size)
    edges = settings.align == "edges"
    onto = edge_aligned if edges else np.asarray
    picture = warp_picture(image_rgb, onto(to_input), size, area_resample=settings.area_resample)
    mask = warp_valid(valid, onto(to_cells), side)
    moved = np.concatenate([transform(keypoints[..., :2], to_cells), keypoints[..., 2:]], axis=-1)
    corners = transform(box_corners(boxes), to_cells)
    area = boxes[:, 2] * boxes[:, 3] * (size / window.side) ** 2
    if draws.uniform() < settings.flip:
        picture, mask = np.ascontiguousarray(picture[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
        moved = moved[:, list(skeleton.flip_index)]
        corners = corners[:, [1, 0, 3, 2]]
        # Input pixel i becomes size - 1 - i, so a cell coordinate x = i / 4 becomes side - 1/4 - x. With edges on edges
        # the source's pixel i becomes width - 1 - i, as annotations of a mirrored picture would say.
        pixel = size / window.side if edges else 1
        last = side - 1 if settings.mirror == "published" else side - pixel / STRIDE
        moved[..., 0] = last - moved[..., 0]
        corners[..., 0] = last - corners[..., 0]
    return Augmented(picture, mask, moved, corners, area)
