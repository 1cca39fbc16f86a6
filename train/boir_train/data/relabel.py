"""Annotations of one skeleton in the terms of another: joints with the same name are kept, the others unannotated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from boir_sdk.skeleton import Skeleton

# CrowdPose counts the joints of limbs only (SPEC-training T2.4).
UNCOUNTED = ("head", "neck")


def relabel(content: Mapping[str, Any], source: Skeleton, target: Skeleton) -> dict[str, Any]:
    """Return a COCO-style annotation file for `target`, with the fields that CrowdPose's protocol reads.

    Args:
        content: annotations with the joints of `source`, checked before (`datasets.check_annotation`).
        source: their skeleton.
        target: the skeleton to have; joints that `source` lacks get v = 0.

    Returns:
        A new file; images have `crowdIndex`, annotations `num_keypoints` counted as CrowdPose does.
    """
    places = {name: index for index, name in enumerate(source.keypoints)}
    people: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for entry in content["annotations"]:
        old = entry["keypoints"]
        new: list[float] = []
        for name in target.keypoints:
            place = places.get(name)
            new += [0, 0, 0] if place is None else old[3 * place : 3 * place + 3]
        counted = [v for name, v in zip(target.keypoints, new[2::3], strict=True) if name not in UNCOUNTED]
        record = {**entry, "keypoints": new, "num_keypoints": sum(v > 0 for v in counted)}
        people[entry["image_id"]].append(record)
    images = [{**record, "crowdIndex": crowd_index(people[record["id"]])} for record in content["images"]]
    categories = [{"id": 1, "name": "person", "keypoints": list(target.keypoints)}]
    return {
        "images": images,
        "annotations": [entry for own in people.values() for entry in own],
        "categories": categories,
    }


def crowd_index(people: list[dict[str, Any]]) -> float:
    """How much the people of a picture are in each other's way, to two decimals as CrowdPose has it (T4.3).

    Mean over people of other people's joints inside the box over own joints, at most 1 each; 0 without anybody.
    """
    own = [entry for entry in people if not entry["iscrowd"] and entry["num_keypoints"] > 0]
    shares = []
    for entry in own:
        x, y, w, h = entry["bbox"]
        inside = sum(
            v > 0 and x <= joint_x <= x + w and y <= joint_y <= y + h
            for other in own
            if other is not entry
            for joint_x, joint_y, v in zip(*(other["keypoints"][i::3] for i in range(3)), strict=True)
        )
        shares.append(min(1.0, inside / entry["num_keypoints"]))
    return round(sum(shares) / len(shares), 2) if shares else 0.0
