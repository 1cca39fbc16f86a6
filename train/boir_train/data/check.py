"""Is a data set whole, and does it share pictures with another one?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from boir_sdk import image_header
from boir_sdk.errors import DataError
from boir_sdk.skeleton import SKELETONS, Skeleton
from boir_train.data import datasets, regions
from boir_train.data.datasets import Source
from boir_train.data.perceptual import BITS, NEAR, Bits, distances, mirrored, perceptual_hash
from boir_train.downloads import hint

JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
# Rows of the table of distances that are in memory at once.
BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What leakage is found by.

    Attributes:
        image_id: of the annotation file.
        name: of the picture's file.
        bits: perceptual hash [64], None when the picture can't be read.
    """

    image_id: int
    name: str
    bits: Bits | None


@dataclass(frozen=True, slots=True)
class Checked:
    """One data set after reading everything in it.

    Attributes:
        skeleton: name of the skeleton that the annotations have; None when there are none, or of no known one.
        pictures, people, keypoints: counts; people are well-formed annotations with keypoints that aren't crowds,
            keypoints those of them with v > 0.
        problems: what is wrong with it, one sentence each; empty when all is well.
        swapped: pictures whose width and height are exchanged in the annotation, which training corrects.
        fingerprints: of all well-formed image records, also of those whose picture can't be read.
    """

    skeleton: str | None
    pictures: int
    people: int
    keypoints: int
    problems: tuple[str, ...]
    swapped: tuple[str, ...]
    fingerprints: tuple[Fingerprint, ...]


@dataclass(frozen=True, slots=True)
class Leak:
    """A picture of the training set that is also in the evaluation set.

    Attributes:
        training, evaluation: names of the two files.
        same_id: both have the same image id.
        distance: bits of 64 between their hashes, plain or mirrored, whichever is smaller; None without a hash.
        mirrored: one looks more like the mirror image of the other.
    """

    training: str
    evaluation: str
    same_id: bool
    distance: int | None
    mirrored: bool


def check(
    source: Source,
    root: str = ".",
    skeleton: Skeleton | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Checked:
    """Read every picture of a COCO-style data set and compare it with its annotations.

    Args:
        source: annotation file and picture folder.
        root: folder of relative paths.
        skeleton: whose keypoints the annotations must have; without it the one that most of them have.
        progress: wraps the list of image records that is gone through.

    Raises:
        DataError: the annotation file or the folder is missing, or the file is no JSON with the lists `images` and
            `annotations`.
    """
    path = datasets.find_annotations(Path(root, source.annotations))
    content, folder = datasets.read_json(path), Path(root, source.images)
    if content["images"] and not folder.is_dir():
        raise DataError(f"no folder of pictures at {folder}{hint(folder)}")
    wanted = skeleton or _skeleton(content["annotations"])
    records, problems = _records(content["images"], path)
    annotations, found = _annotations(content["annotations"], {one["id"]: one for one in records}, wanted, path)
    problems += found
    boxes: dict[int, list[list[float]]] = defaultdict(list)
    for annotation in annotations:
        boxes[annotation["image_id"]].append(annotation["bbox"])
    prints: list[Fingerprint] = []
    swapped: list[str] = []
    for record in progress(records):
        name, size = record["file_name"], (record["width"], record["height"])
        bits = None
        try:
            grey = read_grey(folder / name)
        except DataError as error:
            problems.append(f"{error} (image id {record['id']} in {path})")
        else:
            bits = perceptual_hash(grey)
            height, width = grey.shape
            turned = f"picture {name} is {width} x {height} pixels, but annotated as {size[0]} x {size[1]}"
            if size == (height, width) and size != (width, height):
                # Either the two numbers were exchanged, or the picture lies on its side: the boxes tell.
                if datasets.looks_swapped(boxes[record["id"]], width, height):
                    problems.append(f"{turned}, and so are its boxes: turn the picture (EXIF orientation is ignored)")
                else:
                    swapped.append(name)
            elif size != (width, height):
                problems.append(turned)
        prints.append(Fingerprint(record["id"], name, bits))
    seen = [sum(v > 0 for v in entry["keypoints"][2::3]) for entry in annotations if not entry["iscrowd"]]
    return Checked(
        skeleton=wanted.name if wanted else None,
        pictures=len(content["images"]),
        people=sum(count > 0 for count in seen),
        keypoints=sum(seen),
        problems=tuple(problems),
        swapped=tuple(swapped),
        fingerprints=tuple(prints),
    )


def _skeleton(annotations: list[Any]) -> Skeleton | None:
    """Return the skeleton that most annotations have."""
    known = {3 * len(skeleton): skeleton for skeleton in SKELETONS.values()}
    lists = (entry.get("keypoints") for entry in annotations if isinstance(entry, dict))
    counts = Counter(len(values) for values in lists if isinstance(values, list))
    return known.get(counts.most_common(1)[0][0]) if counts else None


def _records(images: list[Any], path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the image records that can be used, and what is wrong with the others."""
    usable, problems = [], []
    for record in images:
        try:
            datasets.check_image(record, path)
        except DataError as error:
            problems.append(str(error))
            continue
        whole = all(type(record[key]) is int and record[key] >= 0 for key in ("id", "width", "height"))
        if whole and isinstance(record["file_name"], str) and record["file_name"]:
            usable.append(record)
        else:
            problems.append(f"{path}: image {record['id']} must have whole id, width and height, and a file_name")
    for key in ("id", "file_name"):
        counts = Counter(record[key] for record in usable)
        problems += [f"{path}: image {key} {value} occurs {n} times" for value, n in counts.items() if n > 1]
    return usable, problems


def _annotations(
    entries: list[Any], images: dict[int, dict[str, Any]], skeleton: Skeleton | None, path: Path
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the annotations that can be used, and what is wrong with the others."""
    if entries and skeleton is None:
        known = ", ".join(f"{len(one)} ({name})" for name, one in SKELETONS.items())
        return [], [f"{path}: most annotations have no list of 3 numbers a keypoint for one of {known} keypoints"]
    usable, problems = [], []
    for entry in entries:
        try:
            datasets.check_annotation(entry, len(skeleton or ()), path)
        except DataError as error:
            problems.append(str(error))
            continue
        name = f"{path}: annotation {datasets.label(entry.get('id', 'without id'))}"
        if type(entry["image_id"]) is not int or entry["image_id"] not in images:
            problems.append(
                f"{name} names image id {datasets.label(entry['image_id'])}, which isn't among the usable images"
            )
        elif type(entry["num_keypoints"]) is not int or entry["iscrowd"] not in (0, 1):
            problems.append(f"{name} must have a whole num_keypoints, and 0 or 1 as iscrowd")
        elif not {0, 1, 2}.issuperset(entry["keypoints"][2::3]):
            problems.append(f"{name} has a keypoint whose v isn't 0, 1 or 2")
        elif min(entry["bbox"][2:]) < 0:
            problems.append(f"{name} has a box of negative size")
        elif region := _region(entry, images[entry["image_id"]]):
            problems.append(f"{path}: the segmentation of {name.removeprefix(f'{path}: ')} {region}")
        else:
            usable.append(entry)
    counts = Counter(datasets.label(entry["id"]) for entry in usable if "id" in entry)
    problems += [f"{path}: annotation id {value} occurs {n} times" for value, n in counts.items() if n > 1]
    return usable, problems


def _region(entry: dict[str, Any], image: dict[str, Any]) -> str | None:
    """What is wrong with an annotation's segmentation; a picture may have its sides exchanged (T4.5)."""
    height, width = image["height"], image["width"]
    found = regions.problem(entry.get("segmentation"), height, width)
    return found and regions.problem(entry.get("segmentation"), width, height) and found


def read_grey(path: Path) -> NDArray[np.uint8]:
    """Read a picture file as grey values [H, W], EXIF orientation ignored.

    Raises:
        DataError: it is missing, or can't be read or decoded to its end.
    """
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"picture {path} isn't a file")
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"picture {path} is missing") from None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise DataError(f"picture {path} can't be read: {error}") from error
    grey = decode_grey(data)
    if grey is None:
        raise DataError(f"picture {path} can't be decoded, is cut off or over {regions.MAX_PIXELS} pixels: replace it")
    return grey


def decode_grey(data: bytes) -> NDArray[np.uint8] | None:
    """Decode the bytes of a picture file to grey values [H, W], EXIF orientation ignored; None if they aren't whole."""
    size = image_header.size(data)
    if size is None or size[0] * size[1] > regions.MAX_PIXELS:  # the decoder would allocate whatever the header says
        return None
    # OpenCV fills the rest of a cut JPEG with grey and returns it; other formats it refuses.
    if not data or (data.startswith(JPEG_START) and _is_cut(data)):
        return None
    try:
        image_bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # more pixels than OpenCV takes
        return None
    # IMREAD_GRAYSCALE lets JPEG's own luminance through, a conversion from BGR does not: one way for all formats.
    return None if image_bgr is None else np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), np.uint8)


def _is_cut(jpeg: bytes) -> bool:
    """Tell whether the end marker is missing behind the pixels; one before them belongs to an embedded thumbnail."""
    at = len(JPEG_START)
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF and not jpeg.startswith(JPEG_SCAN, at):
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return jpeg.find(JPEG_END, at) < 0


def leaks(
    training: Sequence[Fingerprint], evaluation: Sequence[Fingerprint], near: int = NEAR
) -> tuple[tuple[Leak, ...], int | None]:
    """Find pictures that are in both sets, by id or by hash, as they are or mirrored.

    Args:
        training: fingerprints of one set.
        evaluation: of the other.
        near: largest distance of two copies of one picture, bits of 64.

    Returns:
        The leaks in the order of `training`, and the smallest distance of all pairs (None without any hashes).
    """
    ids: dict[int, list[int]] = defaultdict(list)
    for j, other in enumerate(evaluation):
        ids[other.image_id].append(j)
    pairs = {(i, j) for i, one in enumerate(training) for j in ids.get(one.image_id, ())}
    rows = [i for i, one in enumerate(training) if one.bits is not None]
    columns = np.array([j for j, other in enumerate(evaluation) if other.bits is not None], np.int64)
    smallest = None
    if rows and len(columns):
        plain = np.array([evaluation[j].bits for j in columns])
        for start in range(0, len(rows), BLOCK):
            block = np.array(rows[start : start + BLOCK])
            hashes = np.array([training[i].bits for i in block])
            bits = np.minimum(distances(hashes, plain), distances(hashes, mirrored(plain)))
            smallest = min(int(bits.min()), BITS if smallest is None else smallest)
            at = np.argwhere(bits <= near)
            pairs |= set(zip(block[at[:, 0]].tolist(), columns[at[:, 1]].tolist(), strict=True))
    return tuple(_leak(training[i], evaluation[j]) for i, j in sorted(pairs)), smallest


def _leak(one: Fingerprint, other: Fingerprint) -> Leak:
    same = one.image_id == other.image_id
    if one.bits is None or other.bits is None:
        return Leak(one.name, other.name, same, None, False)
    plain, turned = (int(np.count_nonzero(one.bits ^ bits)) for bits in (other.bits, mirrored(other.bits)))
    return Leak(one.name, other.name, same, min(plain, turned), turned < plain)
