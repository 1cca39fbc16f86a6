"""A video as a COCO keypoint data set to correct by hand: python demos/export_dataset.py in.mp4 dataset/ --every 10

Writes `dataset/images/*.jpg` and `dataset/person_keypoints.json`, which annotation tools import.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import cv2

from boir_sdk import BoirError, PoseEstimator, Poses, Skeleton, get_skeleton


def annotation(number: int, image_id: int, person: Poses, seen_from: float) -> dict[str, Any]:
    """One person as COCO writes it: x, y, 2 for a keypoint that is seen, 0, 0, 0 for one that isn't."""
    seen = person.keypoint_scores[0] >= seen_from
    triples = [
        [round(float(x), 1), round(float(y), 1), 2] if there else [0, 0, 0]
        for (x, y), there in zip(person.keypoints[0], seen, strict=True)
    ]
    (x1, y1), (x2, y2) = person.keypoints[0, seen].min(axis=0).tolist(), person.keypoints[0, seen].max(axis=0).tolist()
    box = [round(value, 1) for value in (x1, y1, x2 - x1, y2 - y1)]
    what = {"id": number, "image_id": image_id, "category_id": 1, "iscrowd": 0}
    shape = {"bbox": box, "area": round(box[2] * box[3], 1)}
    return {**what, **shape, "num_keypoints": int(seen.sum()), "keypoints": [value for t in triples for value in t]}


def category(skeleton: Skeleton) -> dict[str, Any]:
    limbs = [[a + 1, b + 1] for a, b in skeleton.limbs]  # COCO counts keypoints from 1 here
    return {"id": 1, "name": "person", "keypoints": list(skeleton.keypoints), "skeleton": limbs}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write a video's frames and people as a COCO keypoint data set.")
    parser.add_argument("video", help="a video file or a folder of pictures")
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--every", type=int, default=10, metavar="N", help="every n-th frame (default: %(default)s)")
    parser.add_argument("--score", type=float, help="people from this score, 0 to 1 (default: the model's)")
    args = parser.parse_args()
    if args.every < 1:
        parser.error("--every is a whole number from 1")
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    code = 0
    try:
        with PoseEstimator(score_threshold=args.score) as estimator:
            skeleton, seen_from = get_skeleton(estimator.info["skeleton"]), estimator.info["thresholds"]["keypoint"]
            (args.folder / "images").mkdir(parents=True, exist_ok=True)
            for result in estimator.stream(args.video):
                if result.event:
                    print(f"{result.event.kind}: {result.event.message}", file=sys.stderr)
                    code |= result.event.kind == "failed"
                if result.frame is None or result.index % args.every:
                    continue
                name, (height, width) = f"{result.index:06}.jpg", result.frame.shape[:2]
                if not cv2.imwrite(str(args.folder / "images" / name), result.frame):
                    raise BoirError(f"can't write {args.folder / 'images' / name}")
                images.append({"id": result.index, "file_name": name, "width": width, "height": height})
                for person in result.poses:
                    if (person.keypoint_scores >= seen_from).any():
                        people.append(annotation(len(people) + 1, result.index, person, seen_from))
    except BoirError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # what was found so far is a data set too
        code = 130
        if not images:
            return code
    data = {"images": images, "annotations": people, "categories": [category(skeleton)]}
    (args.folder / "person_keypoints.json").write_text(json.dumps(data))
    print(f"{len(images)} pictures with {len(people)} people in {args.folder}")
    return code


if __name__ == "__main__":
    sys.exit(main())
