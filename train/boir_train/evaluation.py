"""Average precision of keypoint detections by the COCO, OCHuman and CrowdPose protocols (SPEC-training T4).

pycocotools does the measuring; around it stand what it leaves out: checks at the door, empty results, CrowdPose's
recipe (T4.3), and the per-picture matches that `boir_train.bootstrap` takes.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from boir_sdk.errors import ConfigError, DataError
from boir_sdk.skeleton import COCO17, CROWDPOSE14, Skeleton
from boir_train.bootstrap import Matches
from boir_train.data.datasets import ORIGINAL_NAMES
from boir_train.downloads import hint

Protocol = Literal["coco", "crowdpose", "ochuman"]

COCO_NAMES = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")
CROWDPOSE_NAMES = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AP_easy", "AP_medium", "AP_hard")
CROWD_BOUNDS = {"AP_easy": (-np.inf, 0.2), "AP_medium": (0.2, 0.8), "AP_hard": (0.8, np.inf)}  # of crowdIndex
BOX_TO_AREA = 0.53  # a CrowdPose person's area from the box
MAX_DETECTIONS = 20  # a picture, by both protocols
PERSON = 1


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Result of `evaluate`.

    Attributes:
        protocol: the protocol measured by.
        stats: fractions 0..1 by name, in the protocol's order; -1 where no person of that kind exists.
            CrowdPose's AP_M and AP_L are always 0, as its evaluator leaves them unset.
        images: number of pictures evaluated.
        people: number of people that count (not crowds, with joints).
        matches: per-picture data for `boir_train.bootstrap.interval`.
    """

    protocol: Protocol
    stats: dict[str, float]
    images: int
    people: int
    matches: Matches


def protocol_skeleton(protocol: Protocol) -> Skeleton:
    """The keypoint convention a protocol's annotations and detections are in."""
    return CROWDPOSE14 if protocol == "crowdpose" else COCO17


def annotation_file(path: Path) -> Path:
    """The path itself, or, if it isn't there, the same file under the name that it was downloaded by (T4.5)."""
    original = path.with_name(ORIGINAL_NAMES.get(path.name, path.name))
    return original if original.is_file() and not path.is_file() else path


def load_annotations(path: Path, protocol: Protocol) -> dict[str, Any]:
    """Read a COCO-style annotation file and check it as `check_annotations` does.

    Raises:
        DataError: the file is missing, is no JSON, or lacks what the protocol reads.
    """
    content = _read(path)
    check_annotations(content, protocol, str(path))
    return content


def load_pictures(path: Path, protocol: Protocol) -> tuple[dict[str, Any], bool]:
    """Read an annotation file, or a list of pictures that has no annotations, as COCO's test sets have none.

    Returns:
        The content, and whether there are annotations to measure by.

    Raises:
        DataError: as in `load_annotations`, or a picture of such a list has no id.
    """
    content = _read(path)
    if not isinstance(content, dict) or "annotations" in content or not isinstance(content.get("images"), list):
        check_annotations(content, protocol, str(path))
        return content, True
    for record in content["images"]:
        _require(record, ("id",), f"{path}: image {record.get('id')}", protocol)
    return content, False


def _read(path: Path) -> Any:
    path = annotation_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = f"{error.strerror or error}{hint(path) if isinstance(error, FileNotFoundError) else ''}"
        raise DataError(f"can't read the annotations {path}: {reason}") from error
    except ValueError as error:
        raise DataError(f"{path} is not a JSON file: {error}") from error


def check_annotations(content: Any, protocol: Protocol, name: str) -> None:
    """Check that annotations hold all that a protocol reads.

    Args:
        content: the parsed file.
        protocol: whose needs.
        name: what to call the annotations in a message, normally their path.

    Raises:
        DataError: a list or a key is missing, or a value has the wrong size.
    """
    if protocol not in get_args(Protocol):
        raise ConfigError(f"unknown protocol {protocol!r}: known are {', '.join(get_args(Protocol))}")
    if not isinstance(content, Mapping):
        raise DataError(f"{name}: expected a JSON object with images and annotations, found {type(content).__name__}")
    for key in ("images", "annotations"):
        if not isinstance(content.get(key), list):
            raise DataError(f"{name}: no list {key!r}; it must be a COCO keypoint annotation file")
    skeleton = protocol_skeleton(protocol)
    crowd = protocol == "crowdpose"
    image_keys = ("id", "crowdIndex") if crowd else ("id",)
    person_keys = ("image_id", "bbox", "keypoints", "num_keypoints", "iscrowd") + (() if crowd else ("area",))
    for image in content["images"]:
        _require(image, image_keys, f"{name}: image {image.get('id')}", protocol)
    known = {image["id"] for image in content["images"]}
    for person in content["annotations"]:
        where = f"{name}: annotation {person.get('id')}"
        _require(person, person_keys, where, protocol)
        for key, size in (("keypoints", 3 * len(skeleton)), ("bbox", 4)):
            if len(person[key]) != size:
                raise DataError(f"{where}: {key} has {len(person[key])} numbers, {protocol} needs {size}")
        if person["image_id"] not in known:
            raise DataError(f"{where}: image_id {person['image_id']} is not among the images")


def _require(record: Mapping[str, Any], keys: Sequence[str], where: str, protocol: str) -> None:
    missing = [key for key in keys if key not in record]
    if missing:
        raise DataError(f"{where}: no {', '.join(missing)}; the {protocol} protocol needs it")


def picture_files(records: Sequence[Mapping[str, Any]], folder: Path) -> list[tuple[Any, Path]]:
    """Id and file of every picture, in the order given.

    Raises:
        DataError: a record has no file name, or files are missing.
    """
    nameless = [record["id"] for record in records if not record.get("file_name")]
    if nameless:
        raise DataError(f"image {nameless[0]} of the annotation file has no file_name ({len(nameless)} such)")
    found = [(record["id"], _file(folder, record["file_name"])) for record in records]
    missing = [path for _, path in found if not path.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(found)} pictures aren't in {folder}, the first is {missing[0].name}{hint(folder)}"
        )
    return found


def _file(folder: Path, name: str) -> Path:
    """The picture as named below `folder`, else by its last name part alone (names may carry the split's folder)."""
    named = folder / name
    return named if named.is_file() else folder / Path(name).name


def _person_category(content: Mapping[str, Any], name: str) -> Any:
    """Id of the category that stands for people; None when the file has no categories and all annotations count."""
    categories = content.get("categories") or []
    named = [category["id"] for category in categories if category.get("name") == "person"]
    if named or len(categories) <= 1:
        return (named or [category["id"] for category in categories] or [None])[0]
    raise DataError(f"{name}: several categories and none is called 'person'")


def _ground_truth(content: Mapping[str, Any], protocol: Protocol, name: str) -> COCO:
    """Copies of the annotations as pycocotools wants them.

    Ids are numbered afresh from 1: pycocotools counts a match with id 0 as a miss, and drops doubled ids.
    """
    category = _person_category(content, name)
    people = []
    for person in content["annotations"]:
        if category is not None and person.get("category_id", category) != category:
            continue
        width, height = person["bbox"][2:]
        area = BOX_TO_AREA * width * height if protocol == "crowdpose" else person["area"]
        kept = {key: person[key] for key in ("image_id", "bbox", "keypoints", "num_keypoints", "iscrowd")}
        people.append({**kept, "id": len(people) + 1, "category_id": PERSON, "area": area})
    return _indexed([{"id": image["id"]} for image in content["images"]], people)


def _results(detections: Sequence[Mapping[str, Any]], images: Sequence[Any], joints: int) -> COCO:
    """Detections as pycocotools wants them, an empty list included; every record counts as a person.

    Raises:
        DataError: a record lacks a key, has another number of joints, is not finite, or names an unknown picture.
    """
    known = set(images)
    records = []
    for number, detection in enumerate(detections, start=1):
        _require(detection, ("image_id", "keypoints", "score"), f"detection {number}", "result")
        keypoints = detection["keypoints"]
        if len(keypoints) != 3 * joints:
            raise DataError(f"detection {number}: keypoints has {len(keypoints)} numbers, expected {3 * joints}")
        if detection["image_id"] not in known:
            raise DataError(f"detection {number}: image_id {detection['image_id']} is not in the annotation file")
        if not np.isfinite([*keypoints, detection["score"]]).all():
            raise DataError(f"detection {number}: a keypoint or the score is not a finite number")
        x, y = keypoints[0::3], keypoints[1::3]
        box = [min(x), min(y), max(x) - min(x), max(y) - min(y)]
        records.append(
            {
                "id": number,
                "image_id": detection["image_id"],
                "category_id": PERSON,
                "keypoints": keypoints,
                "score": detection["score"],
                "bbox": box,
                "area": box[2] * box[3],
            }
        )
    return _indexed([{"id": image} for image in images], records)


def _indexed(images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {"images": images, "annotations": annotations, "categories": [{"id": PERSON, "name": "person"}]}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def measure(truth: COCO, results: COCO, skeleton: Skeleton, images: Sequence[Any]) -> COCOeval:
    """Run pycocotools on the given pictures; they must not be none, which it would take for all of them."""
    evaluator = COCOeval(truth, results, "keypoints")
    evaluator.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
    evaluator.params.imgIds = sorted(images)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


def evaluate(
    ground_truth: Mapping[str, Any] | str | Path,
    detections: Sequence[Mapping[str, Any]],
    protocol: Protocol,
    *,
    image_ids: Sequence[Any] | None = None,
) -> Evaluation:
    """Measure detections against annotations (T4.2, T4.3, T4.4).

    Args:
        ground_truth: COCO-style annotations, or their file.
        detections: COCO-style keypoint results (T4.1). May be empty: every number that exists is then 0.
        protocol: "coco", "ochuman" (the COCO protocol on OCHuman's files) or "crowdpose".
        image_ids: evaluate on these pictures only; all of the file's if None.

    Raises:
        DataError: annotations or detections lack what the protocol reads, or there is no picture.
    """
    if isinstance(ground_truth, Mapping):
        content, name = ground_truth, "ground truth"
        check_annotations(content, protocol, name)
    else:
        name = str(ground_truth)
        content = load_annotations(Path(ground_truth), protocol)
    skeleton = protocol_skeleton(protocol)
    every = [image["id"] for image in content["images"]]
    chosen = sorted(set(every if image_ids is None else image_ids))
    if not chosen:
        raise DataError(f"{name}: no picture to evaluate on")
    unknown = set(chosen) - set(every)
    if unknown:
        raise DataError(f"{name}: picture {min(unknown)} asked for is not in the file ({len(unknown)} such)")

    truth = _ground_truth(content, protocol, name)
    results = _results(detections, every, len(skeleton))
    evaluator = measure(truth, results, skeleton, chosen)
    stats = dict(zip(COCO_NAMES, (float(value) for value in evaluator.stats), strict=True))
    if protocol == "crowdpose":
        stats = {key: value for key, value in stats.items() if not key.startswith("AR_")}
        stats.update(AP_M=0.0, AP_L=0.0)
        crowd_index = {image["id"]: image["crowdIndex"] for image in content["images"]}
        for group, (low, high) in CROWD_BOUNDS.items():
            pictures = [image for image in chosen if low <= crowd_index[image] < high]
            stats[group] = _group_precision(measure(truth, results, skeleton, pictures)) if pictures else -1.0
    matches = _matches(evaluator)
    return Evaluation(
        protocol=protocol, stats=stats, images=len(chosen), people=int(matches.people.sum()), matches=matches
    )


def _group_precision(evaluator: COCOeval) -> float:
    """Plain mean of the precision array, its -1 entries included, as CrowdPose's evaluator takes it."""
    return round(float(np.mean(evaluator.eval["precision"][:, :, :, 0, :])), 4)


def _matches(evaluator: COCOeval) -> Matches:
    """Gather pycocotools' records of each picture (all areas: its first range), in falling order of score."""
    pictures = len(evaluator.params.imgIds)
    thresholds = len(evaluator.params.iouThrs)
    records = evaluator.evalImgs[:pictures]
    people = [0 if record is None else int((np.asarray(record["gtIgnore"]) == 0).sum()) for record in records]
    found = [(index, record) for index, record in enumerate(records) if record is not None and record["dtIds"]]
    if not found:
        nothing = np.zeros((thresholds, 0), bool)
        return Matches(np.zeros(0), np.zeros(0, np.int64), nothing, nothing, np.array(people, np.int64))
    scores = np.concatenate([record["dtScores"] for _, record in found]).astype(np.float64)
    picture = np.concatenate([np.full(len(record["dtIds"]), index) for index, record in found])
    matched = np.concatenate([record["dtMatches"] for _, record in found], axis=1) > 0
    ignored = np.concatenate([record["dtIgnore"] for _, record in found], axis=1).astype(bool)
    order = np.argsort(-scores, kind="stable")
    return Matches(
        scores=scores[order],
        picture=picture[order],
        hit=(matched & ~ignored)[:, order],
        miss=(~matched & ~ignored)[:, order],
        people=np.array(people, np.int64),
    )
