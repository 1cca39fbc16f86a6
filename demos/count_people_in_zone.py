"""Count who enters and leaves a zone: python demos/count_people_in_zone.py in.mp4 0.2,0.5 0.8,0.5 1,1 0,1

The zone is a polygon; its corners are shares of the picture's width and height. A person is where their feet are.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from dataclasses import replace

import cv2
import numpy as np

from boir_sdk import BoirError, PoseEstimator, Poses
from boir_sdk.stream.sink import VideoSink

STEADY = 3  # frames in a row on the other side before a crossing counts: feet on the line flicker


def feet(person: Poses) -> tuple[float, float]:
    """Where one person stands: between the ankles if they are seen, otherwise the middle of the box's lower edge."""
    ankles = [person.skeleton.keypoints.index(f"{side}_ankle") for side in ("left", "right")]
    seen = [ankle for ankle in ankles if person.keypoint_scores[0, ankle] >= 0.1]
    x1, _, x2, y2 = person.boxes[0].tolist()
    x, y = person.keypoints[0, seen].mean(axis=0).tolist() if seen else ((x1 + x2) / 2, y2)
    return x, y


def crosses(sides: dict[int, tuple[bool, int]], number: int, inside: bool) -> bool:
    """Whether a person's place now counts as a crossing; `sides` keeps each one's side and frames in a row beyond."""
    before, streak = sides.get(number, (inside, 0))  # whoever is inside when first seen didn't enter
    streak = streak + 1 if inside != before else 0
    sides[number] = (inside, 0) if streak >= STEADY else (before, streak)
    return streak >= STEADY


def main() -> int:
    parser = argparse.ArgumentParser(description="Count who enters and leaves a zone of the picture.")
    parser.add_argument("source", help="camera, video or URL")
    parser.add_argument("corners", nargs="+", metavar="X,Y", help="three or more, as shares from 0 to 1")
    parser.add_argument("--out", help="write a video with the people and the zone drawn")
    args = parser.parse_args()
    try:
        shares = np.array([[float(share) for share in corner.split(",")] for corner in args.corners], np.float32)
    except ValueError:
        parser.error("a corner is X,Y")
    if shares.shape[0] < 3 or shares.shape[1] != 2:
        parser.error("a zone has at least three corners, each as X,Y")
    sides: dict[int, tuple[bool, int]] = {}
    counts, failed = {"enters": 0, "leaves": 0}, False
    try:
        with PoseEstimator() as estimator, VideoSink(args.out) if args.out else nullcontext() as video:
            for result in estimator.stream(args.source, track=True, smooth=True):
                if result.event:
                    print(f"{result.event.kind}: {result.event.message}", file=sys.stderr)
                    failed |= result.event.kind == "failed"
                if result.frame is None or result.poses.ids is None:
                    continue
                polygon = shares * np.float32([result.frame.shape[1], result.frame.shape[0]])
                for number, person in zip(result.poses.ids.tolist(), result.poses, strict=True):
                    inside = cv2.pointPolygonTest(polygon, feet(person), False) >= 0
                    if crosses(sides, number, inside):
                        verb = "enters" if inside else "leaves"
                        counts[verb] += 1
                        print(f"{result.time_s:8.1f} s  person {number} {verb} the zone", flush=True)
                if video:
                    drawn = cv2.polylines(result.frame.copy(), [polygon.astype(np.int32)], True, (0, 220, 255), 2)
                    video.write(replace(result, frame=drawn))
    except BoirError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        print(f"{counts['enters']} entered, {counts['leaves']} left")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
