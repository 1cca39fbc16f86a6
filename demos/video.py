"""Everyone in a video, followed and drawn: python demos/video.py in.mp4 out.mp4"""

from __future__ import annotations

import argparse
import sys

from boir_sdk import BoirError, PoseEstimator
from boir_sdk.stream.sink import VideoSink


def main() -> int:
    parser = argparse.ArgumentParser(description="Follow everyone through a video and draw them.")
    parser.add_argument("video", help="a video file")
    parser.add_argument("out", help="the video to write: .mp4, .mkv or .avi")
    args = parser.parse_args()
    longest: dict[int, int] = {}  # person -> frames seen
    failed = False
    try:
        with PoseEstimator() as estimator, VideoSink(args.out) as video:
            for result in estimator.stream(args.video, track=True, smooth=True):
                if result.event:
                    print(f"{result.event.kind}: {result.event.message}", file=sys.stderr)
                    failed |= result.event.kind == "failed"
                video.write(result)
                for person in [] if result.poses.ids is None else result.poses.ids.tolist():
                    longest[person] = longest.get(person, 0) + 1
    except BoirError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # what was written so far is a whole video
        return 130
    print(f"{video.frames} frames in {args.out}, {len(longest)} people")
    for person, frames in sorted(longest.items(), key=lambda item: -item[1]):
        print(f"person {person}: {frames} frames")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
