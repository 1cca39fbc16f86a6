"""COCO-style annotation files as checked, typed records (SPEC-training T2.1 to T2.4, T4.5)."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from boir_sdk.errors import DataError
from boir_sdk.skeleton import Skeleton
from boir_train.data import regions
from boir_train.downloads import hint

Rules = Literal["coco", "crowdpose"]

log = logging.getLogger("boir_train.data")

# Larger coordinates are no pixels; NaN and infinity aren't smaller either.
MAX_NUMBER = 1e9
MAX_NAME = 1000

# How far a person's box is enlarged, as a fraction of its sides, before the cells outside all boxes are ignored.
UNLABELLED_MARGIN = 0.1

# The names that the annotation files of T4.5 have where they are downloaded.
ORIGINAL_NAMES = {
    "coco_train.json": "person_keypoints_train2017.json",
    "coco_val.json": "person_keypoints_val2017.json",
    "coco_test.json": "image_info_test-dev2017.json",
    "ochuman_val.json": "ochuman_coco_format_val_range_0.00_1.00.json",
    "ochuman_test.json": "ochuman_coco_format_test_range_0.00_1.00.json",
}


@dataclass(frozen=True, slots=True)
class Source:
    """One annotation file and the folder of its pictures."""

    annotations: str
    images: str


@dataclass(frozen=True, slots=True)
class Picture:
    """One training picture and its P usable people.

    Attributes:
        image_id: of the annotation file.
        path: of the picture.
        height, width: pixels, as annotated (and as the ignore mask).
        keypoints: [P, K, 3] x, y in pixels and v.
        boxes: [P, 4] x, y, w, h in pixels.
        ignore: regions where people aren't annotated, each in a form that `decode_region` reads.
        complete: False when people without any annotation may be visible.
        outlines: P segmentations in forms that `decode_region` reads, None for people without; empty if
            they were not asked for.
    """

    image_id: int
    path: Path
    height: int
    width: int
    keypoints: NDArray[np.float64]
    boxes: NDArray[np.float64]
    ignore: tuple[Any, ...]
    complete: bool
    outlines: tuple[Any, ...]


def find_annotations(path: Path) -> Path:
    """Return `path`, or the file of the same content under its original name beside it.

    Raises:
        DataError: neither is there.
    """
    if path.is_file():
        return path
    original = path.with_name(ORIGINAL_NAMES.get(path.name, path.name))
    if original.is_file():
        return original
    raise DataError(
        f"no annotation file at {path}: set data.root or the source's `annotations` to where it lies{hint(path)}"
    )


def load(
    sources: Sequence[Source], skeleton: Skeleton, rules: Rules, root: str = ".", *, outlines: bool = False
) -> list[Picture]:
    """Read the pictures of all `sources` that training uses, in file order.

    COCO keeps pictures with a usable person, CrowdPose every picture with an annotation of any kind.

    Args:
        sources: joined in this order; relative paths start at `root`.
        skeleton: whose keypoints the annotations must have.
        rules: "coco" or "crowdpose", the differences of T2.
        root: folder of relative paths.
        outlines: keep people's segmentations, which take more memory than all the rest; `Picture.outlines` is empty
            otherwise.

    Raises:
        DataError: a file or key is missing or malformed, or no picture is left.
    """
    pictures = [
        picture
        for source in sources
        for picture in _load_one(
            find_annotations(Path(root, source.annotations)), Path(root, source.images), skeleton, rules, outlines
        )
    ]
    if not pictures:
        raise DataError("the training sources hold no picture with a usable person: check data.train")
    return pictures


def read_json(path: Path) -> dict[str, Any]:
    """Read an annotation file.

    Raises:
        DataError: it isn't JSON with the lists `images` and `annotations`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} can't be read as JSON: {error}") from error
    for key in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"{path} has no list {key!r}: it isn't a COCO-style annotation file")
    return content


def _load_one(path: Path, images: Path, skeleton: Skeleton, rules: Rules, outlines: bool) -> list[Picture]:
    content = read_json(path)
    people: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        check_annotation(annotation, len(skeleton), path)
        if type(annotation["image_id"]) is not int or type(annotation["num_keypoints"]) is not int:
            name = label(annotation.get("id", "without id"))
            raise DataError(f"{path}: annotation {name} must have a whole image_id and num_keypoints")
        people[annotation["image_id"]].append(annotation)
    pictures, swapped = [], 0
    for record in content["images"]:
        check_image(record, path)
        annotations = people.pop(record["id"], [])
        usable = [entry for entry in annotations if not entry["iscrowd"] and entry["num_keypoints"] > 0]
        seen = any(v > 0 for entry in usable for v in entry["keypoints"][2::3])
        if not (seen if rules == "coco" else annotations):
            continue
        file = images / record["file_name"]
        if not file.is_file():
            raise DataError(f"picture {file} of image id {record['id']} in {path} is missing{hint(images)}")
        height, width = int(record["height"]), int(record["width"])
        if looks_swapped([entry["bbox"] for entry in annotations], width, height):
            height, width, swapped = width, height, swapped + 1
        masked = [entry for entry in annotations if entry["iscrowd"] or entry["num_keypoints"] == 0]
        for entry in masked if rules == "coco" else ():
            if problem := regions.problem(entry.get("segmentation"), height, width):
                raise DataError(f"{path}: the segmentation of annotation {label(entry.get('id'))} {problem}")
        pictures.append(
            Picture(
                image_id=int(record["id"]),
                path=file,
                height=height,
                width=width,
                keypoints=np.array([entry["keypoints"] for entry in usable], np.float64).reshape(-1, len(skeleton), 3),
                boxes=np.array([entry["bbox"] for entry in usable], np.float64).reshape(-1, 4),
                ignore=tuple(_region(entry) for entry in masked) if rules == "coco" else (),
                complete=record.get("annotation_source") != "labels_only",
                outlines=tuple(_outline(entry, height, width) for entry in usable) if outlines else (),
            )
        )
    if people:
        raise DataError(f"{path}: annotations name image id {next(iter(people))}, which isn't among its images")
    if swapped:
        log.warning("%s: width and height of %d pictures were swapped and have been corrected", path, swapped)
    return pictures


def check_annotation(annotation: Any, count: int, path: Path) -> None:
    """Refuse an annotation of `path` without what training reads, or without `count` keypoints.

    Raises:
        DataError: which annotation, and what about it.
    """
    name = label(annotation.get("id", "without id") if isinstance(annotation, dict) else annotation)
    for key in ("image_id", "keypoints", "num_keypoints", "bbox", "iscrowd"):
        if not isinstance(annotation, dict) or key not in annotation:
            raise DataError(f"{path}: annotation {name} has no {key!r}")
    for key, length in (("keypoints", 3 * count), ("bbox", 4)):
        values = annotation[key]
        if not isinstance(values, list) or len(values) != length:
            raise DataError(f"{path}: {key!r} of annotation {name} must be a list of {length} numbers")
        if not all(isinstance(value, (int, float)) and abs(value) <= MAX_NUMBER for value in values):
            raise DataError(f"{path}: {key!r} of annotation {name} holds something that isn't a finite number")


def check_image(record: Any, path: Path) -> None:
    """Refuse an image record of `path` without usable id, file name or size.

    Raises:
        DataError: which image, and what about it.
    """
    for key in ("id", "file_name", "width", "height"):
        if not isinstance(record, dict) or key not in record:
            name = label(record.get("id") if isinstance(record, dict) else record)
            raise DataError(f"{path}: image {name} has no {key!r}")
    sides = (record["width"], record["height"])
    whole = all(isinstance(side, (int, float)) and 0 <= side <= MAX_NUMBER and side == int(side) for side in sides)
    file = record["file_name"]
    named = isinstance(file, str) and 0 < len(file) <= MAX_NAME and file.isprintable()
    if not whole or not named or type(record["id"]) is not int:
        name = label(record["id"])
        raise DataError(f"{path}: image {name} must have whole id, width and height, and a file_name")


def label(value: object) -> str:
    """Return an id, or what stands in its place, for a message: short, and harmless to a terminal."""
    text = str(value)[:100]
    return text if text.isprintable() else ascii(text)


def looks_swapped(boxes: list[list[float]], width: int, height: int) -> bool:
    """Tell whether boxes leave width x height but fit height x width (old CrowdPose files, T4.5)."""
    if not boxes or width == height:
        return False
    right = max(x + w for x, _, w, _ in boxes)
    bottom = max(y + h for _, y, _, h in boxes)
    # One pixel of slack: boxes are rounded.
    fits = right <= width + 1 and bottom <= height + 1
    return not fits and right <= height + 1 and bottom <= width + 1


def _outline(annotation: dict[str, Any], height: int, width: int) -> Any:
    """Return the segmentation of a person, None if there is none that can be used."""
    segmentation = annotation.get("segmentation")
    return None if not segmentation or regions.problem(segmentation, height, width) else segmentation


def _region(annotation: dict[str, Any]) -> Any:
    """Return the segmentation of an annotation to ignore, or its box as a polygon when it has none."""
    segmentation = annotation.get("segmentation")
    if segmentation:
        return segmentation
    x, y, w, h = annotation["bbox"]
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def decode_region(region: Any, height: int, width: int) -> NDArray[np.int64]:
    """Return how often each pixel [H, W] is covered by a run-length region or by the polygons of a list."""
    if isinstance(region, dict):
        encoded = rle.frPyObjects(region, height, width) if isinstance(region["counts"], list) else region
        return np.asarray(rle.decode(encoded), np.int64)
    return np.asarray(rle.decode(rle.frPyObjects(region, height, width)), np.int64).sum(axis=2)


def valid_mask(picture: Picture, *, ignore_unlabelled: bool = False) -> NDArray[np.bool_]:
    """Return [H, W], False where the heatmaps of a picture may not be judged (T2.3).

    With `ignore_unlabelled` a picture that may show people without annotation is judged only inside the slightly
    enlarged boxes of its annotated people.
    """
    height, width = picture.height, picture.width
    valid = np.ones((height, width), np.bool_)
    if ignore_unlabelled and not picture.complete:
        valid[:] = False
        for x, y, w, h in picture.boxes:
            left, top = max(0, int(x - UNLABELLED_MARGIN * w)), max(0, int(y - UNLABELLED_MARGIN * h))
            right, bottom = int(x + (1 + UNLABELLED_MARGIN) * w) + 1, int(y + (1 + UNLABELLED_MARGIN) * h) + 1
            valid[top:bottom, left:right] = True
    for region in picture.ignore:
        valid &= decode_region(region, height, width) == 0
    return valid


def read_picture(picture: Picture) -> NDArray[np.uint8]:
    """Decode a picture to RGB uint8 [H, W, 3], EXIF orientation ignored.

    Raises:
        DataError: it can't be decoded.
    """
    image_bgr = cv2.imread(str(picture.path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image_bgr is None:
        raise DataError(f"picture {picture.path} (image id {picture.image_id}) can't be decoded: replace the file")
    return np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB), np.uint8)


def agree(picture: Picture, height: int, width: int) -> Picture:
    """Return `picture` with the decoded size, which may be the annotated one with width and height exchanged (T4.5).

    Raises:
        DataError: the sizes have nothing to do with each other.
    """
    if (picture.height, picture.width) == (height, width):
        return picture
    if (picture.height, picture.width) == (width, height):
        log.warning("%s: width and height are swapped in its annotation, using %d x %d", picture.path, width, height)
        return replace(picture, height=height, width=width)
    raise DataError(
        f"picture {picture.path} (image id {picture.image_id}) is {width} x {height} pixels, "
        f"but annotated as {picture.width} x {picture.height}"
    )
