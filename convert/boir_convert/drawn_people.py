"""A picture of our own with two drawn people, for checks that need a picture and nobody's permission."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 192, 256

Colour = tuple[int, int, int]
_SKIN: Colour = (140, 170, 215)
_FINE = 4  # drawn this much larger and shrunk, so that edges are soft as in a photograph


def picture() -> NDArray[np.uint8]:
    """Return uint8 BGR [192, 256, 3]; the same bytes on every machine with the same OpenCV."""
    rows = np.linspace(0, 1, HEIGHT * _FINE)[:, None, None]
    wall, floor = np.array([205, 200, 190.0]), np.array([120, 130, 140.0])
    shade = np.where(rows < 0.8, wall * (1 - 0.2 * rows), floor * (0.7 + 0.3 * rows))
    canvas = np.ascontiguousarray(np.broadcast_to(shade, (HEIGHT * _FINE, WIDTH * _FINE, 3)).astype(np.uint8))
    _person(canvas, (78, 24), 1.0, shirt=(60, 60, 170), trousers=(90, 60, 40), hair=(30, 40, 60), arm=0.0)
    _person(canvas, (178, 40), 0.88, shirt=(150, 110, 50), trousers=(60, 60, 60), hair=(40, 30, 25), arm=0.9)
    return np.asarray(cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _person(
    canvas: NDArray[np.uint8],
    head_top: tuple[float, float],
    scale: float,
    *,
    shirt: Colour,
    trousers: Colour,
    hair: Colour,
    arm: float,
) -> None:
    """Draw somebody who stands facing us, 145 pixels tall at scale 1; `arm` lifts the left arm, 0 hanging, 1 up."""
    left, top = head_top

    def at(x: float, y: float) -> tuple[int, int]:
        return round((left + x * scale) * _FINE), round((top + y * scale) * _FINE)

    def limb(points: Sequence[tuple[float, float]], thickness: float, colour: Colour) -> None:
        corners = np.array([at(*point) for point in points], dtype=np.int32)
        cv2.polylines(canvas, [corners], False, colour, round(thickness * scale * _FINE), cv2.LINE_AA)

    def dot(x: float, y: float, radius_x: float, radius_y: float, colour: Colour) -> None:
        axes = round(radius_x * scale * _FINE), round(radius_y * scale * _FINE)
        cv2.ellipse(canvas, at(x, y), axes, 0, 0, 360, colour, -1, cv2.LINE_AA)

    dark = tuple(round(0.8 * value) for value in shirt)
    for side in (-1, 1):
        limb([(side * 7, 76), (side * 9, 106), (side * 9, 138)], 11, trousers)
        limb([(side * 9, 140), (side * 13, 143)], 7, (30, 30, 30))
        lift = arm if side == 1 else 0.0
        elbow = side * (19 + 8 * lift), 54 - 18 * lift
        wrist = side * (21 + 8 * lift), 76 - 66 * lift
        limb([(side * 14, 34), elbow], 8, (dark[0], dark[1], dark[2]))
        limb([elbow, wrist], 6, _SKIN)
        dot(*wrist, 3.5, 4, _SKIN)
    body = np.array([at(-16, 30), at(16, 30), at(13, 78), at(-13, 78)], dtype=np.int32)
    cv2.fillConvexPoly(canvas, body, shirt, cv2.LINE_AA)
    limb([(0, 20), (0, 30)], 8, _SKIN)
    dot(0, 10, 9.5, 11, hair)
    dot(0, 13, 8, 10.5, _SKIN)
    for side in (-1, 1):
        dot(side * 8.5, 13, 1.5, 2.5, _SKIN)
        dot(side * 3.2, 11, 1.3, 0.9, (40, 40, 40))
    limb([(0, 13), (0.8, 16)], 1.2, (110, 140, 185))
    limb([(-2.5, 19), (2.5, 19)], 1.2, (90, 90, 170))
