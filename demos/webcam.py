"""Everyone in front of a camera, in a window: python demos/webcam.py [CAMERA]   (q closes it)"""

from __future__ import annotations

import argparse
import sys

from boir_sdk import BoirError, PoseEstimator
from boir_sdk.stream.sink import WindowSink


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Show everyone's keypoints in front of a camera (q closes the window)."
    )
    parser.add_argument("camera", nargs="?", default="0", help="number or /dev/video* (default: 0); a video works too")
    parser.add_argument("--track", action="store_true", help="follow people: an id each, smooth keypoints")
    args = parser.parse_args()
    try:
        with WindowSink("boir") as window, PoseEstimator() as estimator:
            for result in estimator.stream(args.camera, track=args.track, smooth=args.track):
                if result.event:
                    print(f"{result.event.kind}: {result.event.message}", file=sys.stderr)
                window.write(result)
                if window.closed:
                    break
    except BoirError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
