"""Overlays: people drawn on a copy of the picture.

A colour is a person; within it the left side of the body is lighter and the right side darker. Lines get thinner with
small pictures and with small people, so that a crowd stays readable.
"""

from __future__ import annotations

import colorsys
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from boir_sdk import image
from boir_sdk.poses import Poses
from boir_sdk.skeleton import Skeleton

Colour = tuple[int, int, int]
_RIM: Colour = (25, 25, 25)

# cv2 takes fixed-point coordinates: this many fractional bits make motion smooth.
_SHIFT = 4
_FAR = 1e6  # pixels; beyond it fixed-point coordinates would overflow
_GOLDEN = 0.61803398875  # steps of the golden ratio keep neighbouring people's hues apart
_PICTURE_PER_LINE = 300.0  # line width in pixels: the picture's mean side over this,
_PERSON_PER_LINE = 45.0  # but not more than the person's larger side over this


def draw(
    image_bgr: Any,
    poses: Poses,
    *,
    keypoint_threshold: float = 0.1,
    boxes: bool = False,
    labels: bool = False,
) -> NDArray[np.uint8]:
    """Return a copy of the picture with limbs and joints drawn on it.

    Args:
        image_bgr: the picture that the poses are of; anything `image.read` takes.
        poses: people in the pixels of that picture.
        keypoint_threshold: keypoints with a lower score, and limbs that end in one, aren't drawn; nor is a keypoint
            that no limb is left to (an ankle without its knee is seldom right).
        boxes: draw each person's box too.
        labels: write each person's id (if known) and score at the box.

    Raises:
        InputError: the picture can't be read.
    """
    canvas = image.read(image_bgr).copy()
    base = max(2.0, math.sqrt(canvas.shape[0] * canvas.shape[1]) / _PICTURE_PER_LINE)
    for i in np.argsort(poses.scores, kind="stable"):  # the surest person ends on top
        person = int(poses.ids[i]) if poses.ids is not None else int(i)
        colour = person_colour(person)
        visible = poses.keypoint_scores[i] >= keypoint_threshold
        if visible.any():
            _draw_person(canvas, poses.keypoints[i], visible, poses.skeleton, colour, base)
        if boxes:
            _draw_box(canvas, poses.boxes[i], colour, base)
        if labels:
            known = f"#{person} " if poses.ids is not None else ""
            _draw_label(canvas, f"{known}{poses.scores[i]:.2f}", poses.boxes[i], colour, base)
    return canvas


def person_colour(number: int) -> Colour:
    """Return a person's colour as BGR 0..255; the same number always has the same one.

    Args:
        number: a person's id, or place in the picture's people.
    """
    hue = number * _GOLDEN % 1.0
    value = (1.0, 0.88)[number // 2 % 2]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.9, value)
    return round(255 * blue), round(255 * green), round(255 * red)


def _draw_person(
    canvas: NDArray[np.uint8],
    xy: NDArray[np.float32],
    visible: NDArray[np.bool_],
    skeleton: Skeleton,
    colour: Colour,
    base: float,
) -> None:
    extent = float(np.ptp(xy[visible], axis=0).max())
    width = min(base, max(1.0, extent / _PERSON_PER_LINE))
    rim = round(width / 3)  # dark, so that the colour shows on any ground; the thinnest lines have none
    points = [_fixed(x, y) for x, y in xy.tolist()]
    limbs = [(a, b) for a, b in skeleton.limbs if visible[a] and visible[b]]
    if rim:
        for a, b in limbs:
            _line(canvas, points[a], points[b], _RIM, round(width) + 2 * rim)
    for a, b in limbs:
        sides = {_side(skeleton.keypoints[a]), _side(skeleton.keypoints[b])} - {"middle"}
        shade = _shaded(colour, sides.pop() if len(sides) == 1 else "middle")
        _line(canvas, points[a], points[b], shade, max(1, round(width)))
    radius = max(1.2, 1.25 * width)
    for k in sorted({k for limb in limbs for k in limb}):
        side = _side(skeleton.keypoints[k])
        _disc(canvas, points[k], radius + max(0.6, 0.75 * rim), _RIM)
        _disc(canvas, points[k], radius, _shaded(colour, side))


def _side(keypoint: str) -> str:
    return keypoint.partition("_")[0] if keypoint.startswith(("left_", "right_")) else "middle"


def _shaded(colour: Colour, side: str) -> Colour:
    """Mix a person's colour with white for the left side, with black for the right side."""
    if side == "middle":
        return colour
    target, share = (255, 0.5) if side == "left" else (0, 0.35)
    blue, green, red = (round((1 - share) * channel + share * target) for channel in colour)
    return blue, green, red


def _fixed(x: float, y: float) -> tuple[int, int]:
    """Return a position in cv2's fixed point."""
    scale = 1 << _SHIFT
    return round(min(max(x, -_FAR), _FAR) * scale), round(min(max(y, -_FAR), _FAR) * scale)


def _line(canvas: NDArray[np.uint8], a: tuple[int, int], b: tuple[int, int], colour: Colour, width: int) -> None:
    cv2.line(canvas, a, b, colour, width, cv2.LINE_AA, _SHIFT)


def _disc(canvas: NDArray[np.uint8], centre: tuple[int, int], radius: float, colour: Colour) -> None:
    cv2.circle(canvas, centre, round(radius * (1 << _SHIFT)), colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _draw_box(canvas: NDArray[np.uint8], box: NDArray[np.float32], colour: Colour, base: float) -> None:
    x1, y1, x2, y2 = box.tolist()
    cv2.rectangle(canvas, _fixed(x1, y1), _fixed(x2, y2), colour, max(1, round(base * 0.6)), cv2.LINE_AA, _SHIFT)


def _draw_label(canvas: NDArray[np.uint8], text: str, box: NDArray[np.float32], colour: Colour, base: float) -> None:
    """Write `text` on a plate above the box, moved inside the picture where it would leave it."""
    font, scale, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(0.35, 0.2 * base), max(1, round(0.5 * base))
    (text_width, text_height), baseline = cv2.getTextSize(text, font, scale, thickness)
    pad = max(1, round(base))
    width, height = text_width + 2 * pad, text_height + baseline + 2 * pad
    left = int(np.clip(box[0], 0, max(0, canvas.shape[1] - width)))
    top = int(np.clip(box[1] - height, 0, max(0, canvas.shape[0] - height)))
    cv2.rectangle(canvas, (left, top), (left + width, top + height), colour, cv2.FILLED)
    bright = 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2] > 130
    ink = (0, 0, 0) if bright else (255, 255, 255)
    cv2.putText(canvas, text, (left + pad, top + pad + text_height), font, scale, ink, thickness, cv2.LINE_AA)
