"""`boir predict`: pictures in; readable lines, overlays, JSON Lines and COCO results out."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from boir_sdk import inputs
from boir_sdk.cli import options, overlay, text
from boir_sdk.cli.coco import CocoResults, annotated_ids
from boir_sdk.cli.files import JsonLines, read_json_lines, write_atomic
from boir_sdk.cli.interrupt import INTERRUPTED, graceful
from boir_sdk.cli.outcomes import Failed, Outcome, outcomes
from boir_sdk.cli.progress import Progress
from boir_sdk.errors import ConfigError
from boir_sdk.inputs import Source

if TYPE_CHECKING:
    from boir_sdk.estimator import PoseEstimator

EXAMPLES = """examples:
  boir predict party.jpg --overlay party-poses.jpg      look at the result
  boir predict shots/ --recursive --jsonl poses.jsonl   a whole archive, one line a picture
  boir predict shots/ --jsonl poses.jsonl --resume      go on after a stop
  boir predict 'cam1/*.png' 'cam2/*.png' --overlay out  patterns (quoted), overlays into a folder
  boir predict val2017/ --coco results.json --annotations person_keypoints_val2017.json
  boir predict shots/ --shard 2/8 --jsonl part2.jsonl   the second of eight machines

exit code: 0 all done, 1 something failed, 2 wrong usage, 130 stopped by Ctrl-C"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "predict",
        help="find everyone's keypoints in pictures",
        description="Find everyone's keypoints in pictures: files, folders or quoted patterns.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="a picture, a folder or a quoted pattern")
    options.add_model_group(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--overlay", type=Path, metavar="PATH", help="draw the poses: a file, or a folder for several")
    output.add_argument("--jsonl", type=Path, metavar="FILE", help="append one JSON line a picture")
    output.add_argument("--coco", type=Path, metavar="FILE", help="write COCO keypoint results")
    output.add_argument("--annotations", type=Path, metavar="FILE", help="COCO file that gives the image ids of --coco")
    output.add_argument("--keypoints", action="store_true", help="print each keypoint, not only a line a person")
    output.add_argument("--json", action="store_true", help="print JSON lines instead of text")
    output.add_argument("--quiet", action="store_true", help="print errors only")
    work = parser.add_argument_group("many pictures")
    work.add_argument("--recursive", action="store_true", help="look into the folders below a folder too")
    work.add_argument("--shard", type=_shard, metavar="i/n", help="only the i-th of n equal parts, counted from 1")
    work.add_argument("--resume", action="store_true", help="skip the pictures that --jsonl already holds")


def _shard(value: str) -> tuple[int, int]:
    try:
        return inputs.parse_shard(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(args: argparse.Namespace, *, estimator_factory: Callable[..., PoseEstimator] | None = None) -> int:
    """Carry out the command; return its exit code.

    Args:
        args: what `add_parser` parsed.
        estimator_factory: makes the estimator from `PoseEstimator`'s arguments (another one in tests).

    Raises:
        BoirError: nothing could be done at all, or a result could not be written.
    """
    _check(args)
    sources = inputs.find(args.inputs, recursive=args.recursive)
    if args.shard:
        sources = inputs.shard(sources, args.shard)
    places = overlay.targets(args.overlay, sources) if args.overlay else {}
    coco = None
    if args.coco:
        coco = CocoResults(args.coco, annotated_ids(args.annotations, sources) if args.annotations else None)
    todo = _without_done(sources, args.jsonl, coco) if args.resume else sources

    tally = _Tally(total=len(todo))
    progress = Progress(len(todo), enabled=not args.quiet)
    with graceful() as stop:
        if todo:
            with ExitStack() as stack:
                estimator = stack.enter_context(options.estimator(args, estimator_factory))
                seen = estimator.info["thresholds"]["keypoint"]
                lines = stack.enter_context(JsonLines(args.jsonl)) if args.jsonl else None
                stack.callback(progress.clear)
                for outcome in outcomes(estimator, todo, places, stop):
                    _deliver(outcome, places, lines, coco)
                    progress.clear()
                    _tell(outcome, args, seen)
                    tally.add(outcome)
                    progress.show(tally.done)
        if coco:
            coco.write()
    if not args.quiet and len(sources) > 1:
        print(tally.summary(skipped=len(sources) - len(todo)), file=sys.stderr)
    if stop.is_set():
        return INTERRUPTED
    return 1 if tally.failed else 0


def _check(args: argparse.Namespace) -> None:
    """Refuse options that only make sense with another."""
    if args.resume and not args.jsonl:
        raise ConfigError("--resume needs --jsonl: the file that says which pictures are done")
    if args.annotations and not args.coco:
        raise ConfigError("--annotations gives the image ids of --coco: give --coco too")


def _without_done(sources: Sequence[Source], jsonl: Path, coco: CocoResults | None) -> list[Source]:
    """Leave out the pictures a JSON Lines file has; their people go to the COCO results from there."""
    from boir_sdk.poses import Poses

    done = {record.get("path"): record for record in read_json_lines(jsonl)} if jsonl.exists() else {}
    if coco:
        for source in sources:
            record = done.get(source.path.as_posix())
            if record is not None:
                people = Poses.from_dict(record).to_coco(coco.image_id(source))
                coco.add(source, record["width"], record["height"], people)
    return [source for source in sources if source.path.as_posix() not in done]


def _deliver(outcome: Outcome, places: dict[int, Path], lines: JsonLines | None, coco: CocoResults | None) -> None:
    """Put a picture's results where they belong; the JSON line comes last, for it says that all is done."""
    if isinstance(outcome, Failed):
        return
    source = outcome.source
    if outcome.drawing is not None:
        write_atomic(places[source.number], outcome.drawing)
    if coco is not None:
        coco.add(source, outcome.width, outcome.height, outcome.poses.to_coco(coco.image_id(source)))
    if lines is not None:
        lines.append(outcome.record())


def _tell(outcome: Outcome, args: argparse.Namespace, keypoint_threshold: float) -> None:
    """Print one picture's result on stdout, or its error on stderr (stdout with --json)."""
    if isinstance(outcome, Failed):
        if args.json:
            print(json.dumps(outcome.record()), flush=True)
        else:
            print(text.error(outcome.error, outcome.source.path), file=sys.stderr, flush=True)
    elif args.quiet:
        return
    elif args.json:
        print(json.dumps(outcome.record()), flush=True)
    else:
        title = f"{outcome.source.path}  {outcome.width}x{outcome.height}"
        told = text.people(title, outcome.poses, keypoints=args.keypoints, keypoint_threshold=keypoint_threshold)
        print(told, flush=True)


class _Tally:
    """Counts of a run."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.failed, self.people = total, 0, 0, 0
        self._start_s = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        self.done += 1
        if isinstance(outcome, Failed):
            self.failed += 1
        else:
            self.people += len(outcome.poses)

    def summary(self, *, skipped: int) -> str:
        seconds = time.monotonic() - self._start_s
        parts = [f"{self.done} of {self.total} pictures" if self.done < self.total else f"{self.done} pictures"]
        parts.append(f"{self.people} people")
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{skipped} done before"] if skipped else []
        parts.append(f"{seconds:.1f} s ({self.done / max(seconds, 1e-9):.1f} pictures/s)")
        return f"boir: {'stopped after ' if self.done < self.total else ''}{', '.join(parts)}"
