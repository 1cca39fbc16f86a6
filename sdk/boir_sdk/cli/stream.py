"""`boir stream`: cameras, videos and addresses in; video, JSON Lines, COCO results, a window or a web page out."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boir_sdk.cli import options, stream_outputs
from boir_sdk.cli.interrupt import INTERRUPTED, graceful
from boir_sdk.cli.stream_report import Report

if TYPE_CHECKING:
    from boir_sdk.estimator import PoseEstimator

POLICIES = ("latest", "all")

EXAMPLES = """examples:
  boir stream 0 --show                                     the first camera, in a window
  boir stream in.mp4 --track --out out.mp4 --json r.jsonl  a video: drawn over, and a line a frame
  boir stream rtsp://cam.local/1 --serve 8000              watch it in a browser on this machine
  boir stream 'rtsp://me:${PASSWORD}@cam.local/1' --json - the password from the environment; lines to stdout
  boir stream 0 1 --out left.mp4 --out right.mp4           two cameras, a video each
  boir stream 0 --serve 8000 --serve-on 0.0.0.0            for other machines too, by a link that is good once

sources: a camera's number or /dev/video*, a video file, a folder or quoted pattern of pictures, a URL (rtsp, http)
policy: latest (default of cameras and addresses) drops frames and never lags; all (default of files) takes every frame
exit code: 0 the sources ended, 1 something failed, 2 wrong usage, 130 stopped by Ctrl-C (files are whole then too)"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "stream",
        help="follow everyone's keypoints in cameras and videos",
        description="Find everyone's keypoints in cameras, videos and network streams, for as long as they last.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    # `main` asks whether errors are to be JSON; here --json names a file, so it is stored under another name.
    parser.set_defaults(run=run, json=False)
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="a camera, video, folder or URL")
    people = parser.add_argument_group("people over time")
    people.add_argument(
        "--track",
        action="store_true",
        help="follow people: the same id in every frame, also when half hidden and scored lower than --threshold",
    )
    people.add_argument("--smooth", action="store_true", help="take the jitter off the keypoints")
    people.add_argument("--policy", choices=POLICIES, help="which frames: latest or all (default: by kind of source)")
    people.add_argument("--max-frames", type=options.positive, metavar="N", help="stop after so many frames in all")
    output = parser.add_argument_group("output; with several sources once for each, in the same order")
    several: dict[str, Any] = {"type": Path, "action": "append", "default": [], "metavar": "FILE"}
    output.add_argument("--out", **several, help="write a video with the people drawn: .mp4, .mkv or .avi")
    output.add_argument(
        "--json", dest="lines", **several, help="write one JSON line a frame; - for standard output; one may serve all"
    )
    output.add_argument("--coco", **several, help="write COCO keypoint results")
    output.add_argument("--show", action="store_true", help="show it in a window (q closes it)")
    output.add_argument("--quiet", action="store_true", help="print errors only")
    page = parser.add_argument_group("browser preview")
    page.add_argument("--serve", type=options.port, metavar="PORT", help="show it in web browsers on this machine")
    page.add_argument(
        "--serve-on",
        metavar="ADDRESS",
        help="listen there, for other machines too; they need a token: a link that is good once is printed, or set "
        f"{stream_outputs.TOKEN_VARIABLE}. Not encrypted: for trusted networks",
    )
    page.add_argument(
        "--serve-name", action="append", default=[], metavar="NAME", help="another name that this machine goes by"
    )
    options.add_model_group(parser)


def run(args: argparse.Namespace, *, estimator_factory: Callable[..., PoseEstimator] | None = None) -> int:
    """Carry out the command; return its exit code.

    Args:
        args: what `add_parser` parsed.
        estimator_factory: makes the estimator from `PoseEstimator`'s arguments (another one in tests).

    Raises:
        BoirError: nothing could be done at all, or a result could not be written.
    """
    args.json = Path("-") in args.lines
    stream_outputs.check(args)
    report = Report(enabled=not args.quiet)
    with graceful() as stop:
        try:
            _follow(args, estimator_factory, report, stop)
        finally:
            report.clear()
        stopped = stop.is_set()
    report.summary(stopped=stopped)
    if stopped:
        return INTERRUPTED
    return 1 if report.failed else 0


def _follow(
    args: argparse.Namespace, factory: Callable[..., PoseEstimator] | None, report: Report, stop: threading.Event
) -> None:
    """Open everything, hand each result to the outputs and the report, close everything."""
    # Imported here, where a Ctrl-C waits: in the middle of an import it would look like a broken installation.
    from boir_sdk.stream.source import open_source

    def say(text: str) -> None:
        report.clear()
        stream_outputs.say(text)

    sources = [open_source(source) for source in args.sources]
    stream_outputs.name_apart(sources)
    if stop.is_set():
        return
    with options.estimator(args, factory) as estimator:
        thresholds = estimator.info["thresholds"]
        seen, lowest = thresholds["keypoint"], thresholds["followed" if args.track else "score"]
        outputs = stream_outputs.Outputs(args, sources, keypoint_threshold=seen, score_threshold=lowest, say=say)
        with outputs:
            how = {"track": args.track, "smooth": args.smooth, "policy": args.policy}
            several = len(sources) > 1
            stream = estimator.streams(sources, **how) if several else estimator.stream(sources[0], **how)
            with stream, _ended_by(stop, stream.stop):
                for result in stream:
                    outputs.write(result)
                    report.add(result)
                    if stop.is_set() or outputs.left or report.frames == args.max_frames:
                        break


@contextmanager
def _ended_by(stop: threading.Event, end: Callable[[], None]) -> Iterator[None]:
    """While the block runs, call `end` once `stop` is set: the block may be waiting for a camera that is silent."""
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            if stop.wait(0.1):
                end()
                return

    watcher = threading.Thread(target=watch, name="boir-stream-stop", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
