"""Overlay pictures of a run: where each goes, and the picture drawn and encoded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from boir_sdk.errors import ConfigError
from boir_sdk.inputs import PICTURE_ENDINGS, Source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from boir_sdk.poses import Poses


def targets(target: Path, sources: Sequence[Source]) -> dict[int, Path]:
    """Say where the overlay of each picture goes.

    One picture and a target with a picture's ending: that file. Otherwise the target is a folder, in which the overlays
    lie as their pictures do below the folder given; a name that is taken gets the picture's number.

    Returns:
        `Source.number` -> path.

    Raises:
        ConfigError: one file for several pictures, or an overlay would replace a picture it is made from.
    """
    as_file = target.suffix.lower() in PICTURE_ENDINGS and not os.path.isdir(target)  # noqa: PTH112 - which no name is too long for
    if as_file and len(sources) > 1:
        raise ConfigError(f"--overlay {target} is one file but there are {len(sources)} pictures: give a folder")
    places: dict[int, Path] = {}
    taken: set[Path] = set()
    for source in sources:
        place = target if as_file else target / _drawable(source.relative)
        if place in taken:
            place = place.with_name(f"{place.stem}-{source.number}{place.suffix}")
        taken.add(place)
        places[source.number] = place
    originals = {os.path.realpath(source.path) for source in sources}
    for place in places.values():
        if os.path.realpath(place) in originals:
            raise ConfigError(f"the overlay {place} would replace a picture it is made from: choose another --overlay")
    return places


def _drawable(relative: Path) -> Path:
    """The overlay's name: the picture's own, with .jpg added where its ending is none that can be written."""
    return relative if relative.suffix.lower() in PICTURE_ENDINGS else relative.with_name(f"{relative.name}.jpg")


def encoded(image_bgr: NDArray[np.uint8], poses: Poses, ending: str, *, keypoint_threshold: float) -> bytes:
    """Draw the people over their picture and encode it.

    Args:
        image_bgr: uint8 [H, W, 3].
        poses: its people, in pixels of that picture.
        ending: one of `PICTURE_ENDINGS`, which chooses the format.
        keypoint_threshold: keypoints with a lower score aren't drawn.
    """
    import cv2

    from boir_sdk.draw import draw

    done, data = cv2.imencode(ending.lower(), draw(image_bgr, poses, keypoint_threshold=keypoint_threshold))
    if not done:
        raise ConfigError(f"this OpenCV can't write {ending} pictures: name the overlay .jpg or .png")
    return data.tobytes()
