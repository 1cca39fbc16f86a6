"""Is a data set whole, and does it share pictures with another one?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from boir_sdk.errors import DataError
from boir_train.data.datasets import Source, find_annotations, read_json
from boir_train.data.perceptual import NEAR, distances, perceptual_hash


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What leakage is found by.

    Attributes:
        image_id: of the annotation file.
        name: of the picture's file.
        plain, mirrored: perceptual hashes [63] of the picture and of its mirror image.
    """

    image_id: int
    name: str
    plain: NDArray[np.bool_]
    mirrored: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Checked:
    """One data set after reading everything in it.

    Attributes:
        pictures, people, keypoints: counts; people are annotations with keypoints, keypoints those annotated.
        problems: what is wrong with it, one sentence each; empty when all is well.
        remarks: what is worth knowing and harmless.
        fingerprints: of the pictures that can be read.
    """

    pictures: int
    people: int
    keypoints: int
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    fingerprints: tuple[Fingerprint, ...]


@dataclass(frozen=True, slots=True)
class Leak:
    """A picture of the training set that is also in the evaluation set.

    Attributes:
        train, evaluation: names of the two files.
        same_id: both have the same image id.
        distance: bits between their hashes, the smaller of plain and mirrored; of 63.
    """

    train: str
    evaluation: str
    same_id: bool
    distance: int


def check(source: Source, root: str = ".", progress: Callable[[Iterable[Any]], Iterable[Any]] = iter) -> Checked:
    """Read every picture of a COCO-style data set and compare it with its annotations.

    Args:
        source: annotation file and picture folder.
        root: folder of relative paths.
        progress: wraps the list of image records that is gone through.

    Raises:
        DataError: the annotation file can't be read, or an image has no id, name or size.
    """
    path = find_annotations(Path(root, source.annotations))
    content, folder = read_json(path), Path(root, source.images)
    records = content["images"]
    for record in records:
        absent = [key for key in ("id", "file_name", "width", "height") if key not in record]
        if absent:
            raise DataError(f"{path}: image {record.get('id')} has no {absent[0]!r}")
    problems: list[str] = []
    swapped = 0
    prints: list[Fingerprint] = []
    for record in progress(records):
        name = record["file_name"]
        grey = read_grey(folder / name)
        if grey is None:
            there = (folder / name).is_file()
            problems.append(f"picture {name} " + ("can't be decoded" if there else f"is missing from {folder}"))
            continue
        height, width = grey.shape
        if (height, width) != (record["height"], record["width"]):
            if (width, height) == (record["height"], record["width"]):
                swapped += 1
            else:
                annotated = f"{record['width']} x {record['height']}"
                problems.append(f"picture {name} is {width} x {height} pixels, but annotated as {annotated}")
        prints.append(fingerprint(record["id"], name, grey))
    ids = [record["id"] for record in records]
    problems += [f"image id {value} occurs twice" for value in sorted({x for x in ids if ids.count(x) > 1}, key=str)]
    known = set(ids)
    strangers = [entry for entry in content["annotations"] if entry.get("image_id") not in known]
    if strangers:
        problems.append(f"{len(strangers)} annotations name images that aren't in the file")
    seen = [sum(v > 0 for v in entry.get("keypoints", ())[2::3]) for entry in content["annotations"]]
    remarks = (
        [f"width and height of {swapped} pictures are exchanged in their annotations; training corrects that"]
        if swapped
        else []
    )
    return Checked(
        pictures=len(records),
        people=sum(count > 0 for count in seen),
        keypoints=sum(seen),
        problems=tuple(problems),
        remarks=tuple(remarks),
        fingerprints=tuple(prints),
    )


def read_grey(path: Path) -> NDArray[np.uint8] | None:
    """Decode a picture to grey values [H, W], EXIF orientation ignored; None if it can't be."""
    # IMREAD_GRAYSCALE lets JPEG's own luminance through, a conversion from BGR does not: one way for all formats.
    image_bgr = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if path.is_file() else None
    return None if image_bgr is None else np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), np.uint8)


def fingerprint(image_id: int, name: str, grey: NDArray[np.uint8]) -> Fingerprint:
    """Hash a picture [H, W] and its mirror image."""
    return Fingerprint(image_id, name, perceptual_hash(grey), perceptual_hash(np.ascontiguousarray(grey[:, ::-1])))


def leaks(
    train: Sequence[Fingerprint], evaluation: Sequence[Fingerprint], near: int = NEAR
) -> tuple[tuple[Leak, ...], int]:
    """Find pictures that are in both sets, by id or by hash, as they are or mirrored.

    Args:
        train: fingerprints of one set.
        evaluation: of the other.
        near: largest distance of two copies of one picture, bits of 63.

    Returns:
        The leaks, and the smallest distance of all pairs (63 without any pair).
    """
    if not train or not evaluation:
        return (), 63
    plain = [one.plain for one in train]
    bits = np.minimum(
        distances(plain, [one.plain for one in evaluation]), distances(plain, [one.mirrored for one in evaluation])
    )
    same = np.array([[a.image_id == b.image_id for b in evaluation] for a in train])
    found = tuple(
        Leak(train[i].name, evaluation[j].name, bool(same[i, j]), int(bits[i, j]))
        for i, j in np.argwhere(same | (bits <= near)).tolist()
    )
    return found, int(bits.min())
