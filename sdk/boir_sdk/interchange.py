"""Poses in other people's forms: COCO results, JSON and JSON Lines, supervision."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk.errors import InputError
from boir_sdk.poses import Poses
from boir_sdk.skeleton import SKELETONS, Skeleton

SCHEMA = "boir-poses/1"
PERSON_CATEGORY = 1


def to_coco(poses: Poses, image_id: int) -> list[dict[str, Any]]:
    """Return COCO keypoint results, one record a person in the order of the poses (SPEC-model M4.10).

    Args:
        poses: people of one picture.
        image_id: the picture's number in the annotation file.
    """
    triples = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=2)
    return [
        {
            "image_id": int(image_id),
            "category_id": PERSON_CATEGORY,
            "keypoints": _numbers(person.ravel()),
            "score": _numbers(score[None])[0],
        }
        for person, score in zip(triples, poses.scores, strict=True)
    ]


def from_coco(records: Sequence[Mapping[str, Any]], skeleton: Skeleton) -> Poses:
    """Read COCO keypoint results of one picture.

    Args:
        records: as `to_coco` makes them; other keys are ignored.
        skeleton: what the keypoints are (COCO results don't say).

    Returns:
        The people in the order of the records, without ids.

    Raises:
        InputError: a record lacks a key, has another number of keypoints or belongs to another picture.
    """
    if not records:
        return Poses.empty(skeleton)
    images = {str(_key(record, "image_id", i)) for i, record in enumerate(records)}
    if len(images) > 1:
        raise InputError(
            f"expected the results of one picture, got image_id {', '.join(sorted(images))}: group them first"
        )
    flat = [_key(record, "keypoints", i) for i, record in enumerate(records)]
    for i, numbers in enumerate(flat):
        if not isinstance(numbers, Sequence) or len(numbers) != 3 * len(skeleton):
            got = f"{len(numbers)} numbers" if isinstance(numbers, Sequence) else type(numbers).__name__
            raise InputError(
                f"record {i}: expected keypoints of {3 * len(skeleton)} numbers for {skeleton.name}, got {got}"
            )
    scores: Any = [_key(record, "score", i) for i, record in enumerate(records)]
    return _poses(flat, scores, skeleton, None)


def to_dict(poses: Poses) -> dict[str, Any]:
    """Return a JSON-able dictionary: `schema`, `skeleton`, `people` with id if known, score, box, named keypoints.

    Args:
        poses: people of one picture.
    """
    people: list[dict[str, Any]] = []
    for i in range(len(poses)):
        person: dict[str, Any] = {} if poses.ids is None else {"id": int(poses.ids[i])}
        triples = np.concatenate([poses.keypoints[i], poses.keypoint_scores[i][:, None]], axis=1)
        person["score"] = _numbers(poses.scores[i : i + 1])[0]
        person["box"] = _numbers(poses.boxes[i])
        person["keypoints"] = {
            name: _numbers(triple) for name, triple in zip(poses.skeleton.keypoints, triples, strict=True)
        }
        people.append(person)
    return {"schema": SCHEMA, "skeleton": poses.skeleton.name, "people": people}


def from_dict(data: Mapping[str, Any]) -> Poses:
    """Read what `to_dict` made; keys it doesn't know (a picture's name, a time) are left alone.

    Args:
        data: the dictionary, as it came from JSON.

    Returns:
        The people, equal to those that were written to the last bit.

    Raises:
        InputError: the schema or skeleton is unknown, or a person is incomplete.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"expected a dictionary with schema {SCHEMA!r}, got {type(data).__name__}")
    if data.get("schema") != SCHEMA:
        raise InputError(
            f"expected schema {SCHEMA!r}, got {data.get('schema')!r}: written by another version of boir-sdk?"
        )
    skeleton = SKELETONS.get(str(data.get("skeleton")))
    if skeleton is None:
        raise InputError(f"expected a skeleton of {', '.join(SKELETONS)}, got {data.get('skeleton')!r}")
    people = data.get("people")
    if not isinstance(people, Sequence) or isinstance(people, str):
        raise InputError(f"expected a list of people, got {type(people).__name__}")
    if not people:
        return Poses.empty(skeleton)
    triples, scores, ids = [], [], []
    for i, person in enumerate(people):
        named = _key(person, "keypoints", i)
        if not isinstance(named, Mapping) or set(named) != set(skeleton.keypoints):
            raise InputError(f"person {i}: expected one entry for each keypoint of {skeleton.name}")
        triples.append([named[name] for name in skeleton.keypoints])
        scores.append(_key(person, "score", i))
        ids.append(person.get("id"))
    if any(number is None for number in ids) and any(number is not None for number in ids):
        raise InputError("expected an id for every person or for none")
    return _poses(triples, scores, skeleton, None if ids[0] is None else ids)


def to_json_line(poses: Poses, **extra: Any) -> str:
    """Return one line of JSON Lines, without the newline: `extra` (image, index, time_s, ...) first, then the poses.

    Args:
        poses: people of one picture.
        extra: what else the line shall say; JSON values.

    Raises:
        InputError: an extra key is one of the poses' own, or its value isn't JSON.
    """
    own = to_dict(poses)
    clash = own.keys() & extra.keys()
    if clash:
        raise InputError(f"the keys {sorted(clash)} are the poses' own: choose other names")
    try:
        return json.dumps({**extra, **own}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise InputError(f"expected JSON values beside the poses: {error}") from error


def from_json_line(line: str) -> tuple[Poses, dict[str, Any]]:
    """Read one line of JSON Lines.

    Args:
        line: with or without its newline.

    Returns:
        The poses, and what was written beside them.

    Raises:
        InputError: the line isn't JSON (a killed run may leave half a line at the end) or isn't poses.
    """
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected a line of JSON, got {line[:60]!r}: {error}") from error
    poses = from_dict(data)
    return poses, {key: value for key, value in data.items() if key not in ("schema", "skeleton", "people")}


def to_supervision(poses: Poses, *, keypoint_threshold: float = 0.0) -> Any:
    """Return a `supervision.KeyPoints`; boxes and ids are under `data` as `xyxy` and `tracker_id`.

    Args:
        poses: people of one picture.
        keypoint_threshold: keypoints under it become (0, 0), which is how supervision writes a missing one.

    Raises:
        InputError: supervision isn't installed.
    """
    try:
        from supervision import KeyPoints
    except ImportError as error:
        raise InputError("to_supervision needs the package supervision: pip install supervision") from error

    visible = poses.keypoint_scores >= keypoint_threshold
    data: dict[str, Any] = {"xyxy": poses.boxes.copy()}
    if poses.ids is not None:
        data["tracker_id"] = poses.ids.copy()
    arguments: dict[str, Any] = {
        "xy": np.where(visible[..., None], poses.keypoints, np.float32(0)),
        "class_id": np.zeros(len(poses), dtype=int),
        "data": data,
    }
    # supervision 0.29 renamed `confidence` to `keypoint_confidence` and added the two others beside it.
    if "keypoint_confidence" in inspect.signature(KeyPoints).parameters:
        arguments["keypoint_confidence"] = poses.keypoint_scores.copy()
        arguments["detection_confidence"] = poses.scores.copy()
        arguments["visible"] = visible
    else:
        arguments["confidence"] = poses.keypoint_scores.copy()
    return KeyPoints(**arguments)


def _poses(triples: Any, scores: Any, skeleton: Skeleton, ids: Any) -> Poses:
    """Build poses from JSON's lists; `Poses` checks the numbers."""
    try:
        values = np.asarray(triples)
        values = values.reshape(len(triples), len(skeleton), 3)
    except ValueError as error:
        raise InputError(f"expected x, y and a score for each of {len(skeleton)} keypoints: {error}") from error
    return Poses(values[..., :2], values[..., 2], scores, skeleton, ids)


def _numbers(values: NDArray[np.float32]) -> list[float]:
    """Return the shortest decimals that give the same float32 back, as Python floats."""
    return [float(str(value)) for value in values.astype(np.float32)]


def _key(record: Any, key: str, index: int) -> Any:
    if not isinstance(record, Mapping) or key not in record:
        raise InputError(f"record {index}: expected the key {key!r}")
    return record[key]
