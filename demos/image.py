"""Find everyone in one picture and draw them: `python demos/image.py people.jpg people-poses.jpg`."""

from __future__ import annotations

import sys

import cv2

from boir_sdk import BoirError, PoseEstimator
from boir_sdk.draw import draw


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    source, target = sys.argv[1:]
    try:
        with PoseEstimator() as estimator:
            poses = estimator(source)
        picture_bgr = draw(source, poses)
    except BoirError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    nose = poses.skeleton.keypoints.index("nose")
    for number, person in enumerate(poses, start=1):
        x, y = person.keypoints[0, nose]
        print(f"person {number}: score {person.scores[0]:.2f}, nose at {x:.0f}, {y:.0f}")
    cv2.imwrite(target, picture_bgr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
