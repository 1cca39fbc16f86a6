"""Watch a network camera for as long as it takes: python demos/rtsp.py 'rtsp://me:${CAM_PASSWORD}@camera/live'

Prints a line a second, and one for everything that happens to the connection. A camera that goes away is reached for
again; the password comes from the environment and is shown nowhere.
"""

from __future__ import annotations

import argparse
import sys
import time

from boir_sdk import BoirError, PoseEstimator


def main() -> int:
    parser = argparse.ArgumentParser(description="Watch a network camera; it is reached for again when it goes away.")
    parser.add_argument("url", help="rtsp://... or http://...; ${NAME} is taken from the environment")
    parser.add_argument("--frames", type=int, help="stop after so many frames")
    args = parser.parse_args()
    frames = dropped = 0
    told_s = time.monotonic()
    try:
        with PoseEstimator() as estimator, estimator.stream(args.url, track=True) as stream:
            for result in stream:
                dropped += result.dropped
                if result.event:
                    print(f"{result.event.kind} ({result.event.code}): {result.event.message}", flush=True)
                if result.frame is None:
                    continue
                frames += 1
                if time.monotonic() - told_s >= 1:
                    told_s = time.monotonic()
                    age_ms = 1000 * result.age_s
                    print(f"{result.time_s:8.1f} s  {len(result.poses)} people, {age_ms:.0f} ms old", flush=True)
                if frames == args.frames:
                    break
    except BoirError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        print(f"{frames} frames, {dropped} dropped", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
