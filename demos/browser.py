"""Everyone in a camera or video, on a web page: python demos/browser.py [SOURCE] [--port 8000]

Open the address that is printed. Only this machine can; `boir stream --serve-on` lets others look on, with a token.
"""

from __future__ import annotations

import argparse
import sys

from boir_sdk import BoirError, PoseEstimator
from boir_sdk.preview import Preview


def main() -> int:
    parser = argparse.ArgumentParser(description="Show everyone's keypoints on a web page of this machine.")
    parser.add_argument("source", nargs="?", default="0", help="camera, video or URL (default: camera 0)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--repeat", action="store_true", help="begin a video again when it ends")
    args = parser.parse_args()
    failed = False
    try:
        with PoseEstimator() as estimator:
            shown_from = estimator.info["thresholds"]["followed"]
            with Preview(args.port, score_threshold=shown_from) as preview:
                print(f"open {preview.link} (Ctrl-C ends)", flush=True)
                while True:
                    with estimator.stream(args.source, track=True, smooth=True) as stream:
                        for result in stream:
                            preview.write(result)
                            failed |= result.event is not None and result.event.kind == "failed"
                    if failed or not args.repeat:
                        break
    except BoirError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
