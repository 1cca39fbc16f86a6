"""`boir-train benchmark speed`: AP against end-to-end milliseconds, ours and other people's."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from boir_sdk import image
from boir_sdk.cli.files import write_atomic
from boir_sdk.cli.interrupt import INTERRUPTED
from boir_sdk.errors import ConfigError, DataError
from boir_train import benchmark, peers, plot, subject
from boir_train.benchmark import Accuracy, Entrant, Point, Timing, Verdict
from boir_train.cli.numbers import fraction, natural, positive
from boir_train.evaluation import load_annotations, picture_files

DESCRIPTION = """\
Measure bundles, and other models beside them, at several network sizes: keypoint AP (COCO protocol, no flip test) with
its 95 % interval on annotated pictures, and the time from a picture in memory to its poses (decoding and suppression
included, reading the file not). The times come from one run in which all take turns on the same pictures with the same
number of threads, peers computing floats in the type that the first bundle does. Compare times within a run only, and
let nothing else run meanwhile. AP doesn't depend on that: it is kept in OUT/partial.json, so a run that was
interrupted, or is repeated for its times, doesn't measure it again; delete that file after a change of code.
"""
EPILOG = """\
examples:
  boir-train benchmark speed --bundle default --annotations val.json --images val --out out
  boir-train benchmark speed --bundle default --bundle nano-bundle:int8 --peers shared/peers --sizes 256 384 512 \\
      --set val=val.json=val --set crowded=crowded.json=crowded --out out
  boir-train benchmark speed --bundle default --set val=val.json=val --out out --pictures-for-time 0    (AP now,
      and the times later, on a quiet machine, by the same command without the last option)

OUT gets benchmark.json, benchmark.md and ap_vs_ms.png (for the first set; needs matplotlib).
exit codes: 0 done, 1 failed (the message says why), 2 wrong usage, 130 interrupted
"""
PARTIAL = "partial.json"

Sets = dict[str, "Pictures"]


@dataclasses.dataclass(frozen=True, slots=True)
class Pictures:
    """A set of annotated pictures: parsed annotations, their hash, and id, file and size (height, width) of each."""

    annotations: dict[str, Any]
    sha256: str
    files: list[tuple[Any, Path]]
    shapes: list[tuple[int, int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the task's arguments on `parser`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--bundle",
        action="append",
        required=True,
        type=_bundle,
        metavar="B[:PRECISION]",
        help="'default', 'small' or a bundle's folder, and a precision of it; repeatable, ratios are to the first",
    )
    parser.add_argument("--peers", type=Path, metavar="DIR", help="folder with run_peer.py and the models it runs")
    parser.add_argument(
        "--sizes",
        type=positive,
        nargs="+",
        default=[256, 320, 384, 448, 512],
        metavar="PX",
        help="network sizes (default: 256 320 384 448 512)",
    )
    parser.add_argument("--annotations", type=Path, metavar="FILE", help="COCO-style keypoint JSON of the first set")
    parser.add_argument("--images", type=Path, metavar="DIR", help="its pictures; the set is called by this folder")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_set,
        dest="sets",
        metavar="NAME=FILE=DIR",
        help="annotated pictures; repeatable, times and plot are of the first",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--threads", type=positive, default=2, metavar="N", help="CPU threads of each model (2)")
    parser.add_argument(
        "--pictures-for-time",
        type=natural,
        default=24,
        metavar="N",
        help="pictures that are timed, of the most frequent size (24); 0 measures AP only",
    )
    parser.add_argument("--repeats", type=positive, default=3, metavar="N", help="times that each is timed (3)")
    parser.add_argument(
        "--score-threshold",
        type=fraction,
        default=0.02,
        metavar="S",
        help="of bundles, for AP and times alike (0.02)",
    )
    parser.add_argument("--json", action="store_true", help="print benchmark.json instead of the table")


def _bundle(text: str) -> tuple[str, str | None]:
    """Split `B:PRECISION`; a colon that belongs to the path (a drive's, or one inside of it) is left alone."""
    folder, colon, precision = text.rpartition(":")
    if not colon or Path(text).is_dir() or set(precision) & set("/\\"):
        return text, None
    if not folder or not precision:
        raise argparse.ArgumentTypeError(f"expected BUNDLE or BUNDLE:PRECISION, got {text!r}")
    return folder, precision


def _set(text: str) -> tuple[str, Path, Path]:
    parts = text.split("=")
    if len(parts) != 3 or not all(parts):
        raise argparse.ArgumentTypeError(f"expected NAME=ANNOTATIONS=IMAGES, got {text!r}")
    return parts[0], Path(parts[1]), Path(parts[2])


def run(args: argparse.Namespace) -> int:
    """Measure, write and print; returns the exit code.

    Raises:
        BoirError: the user can mend it; the message says how.
    """
    if args.pictures_for_time:
        plot.check()
    sets = _sets(args)
    entrants = _entrants(args)
    try:
        known = _accuracies(args, entrants, sets)
        report = _report(args, entrants, sets, known)
    except KeyboardInterrupt:
        print(f"interrupted; what was measured is kept in {args.out / PARTIAL}: run it again to go on", file=sys.stderr)
        return INTERRUPTED
    first = next(iter(sets))
    table = "\n".join(_markdown(report)) + "\n"
    text = json.dumps(report, indent=2, default=dataclasses.asdict)
    write_atomic(args.out / "benchmark.json", (text + "\n").encode())
    write_atomic(args.out / "benchmark.md", table.encode())
    if report["timed"] is not None:
        title = f"{args.threads} threads, {report['machine']['processor']}"
        write_atomic(args.out / "ap_vs_ms.png", plot.ap_against_time(report["points"], first, title))
    print(text if args.json else table, end="\n" if args.json else "")
    return 0


def _sets(args: argparse.Namespace) -> Sets:
    """The annotated pictures, all of them there."""
    if (args.annotations is None) != (args.images is None):
        raise ConfigError("--annotations and --images go together")
    named = list(args.sets)
    if args.annotations is not None:
        named.insert(0, (args.images.resolve().name, args.annotations, args.images))
    if not named:
        raise ConfigError("no annotated pictures: give --annotations and --images, or --set NAME=ANNOTATIONS=IMAGES")
    sets: Sets = {}
    for name, file, folder in named:
        if name in sets:
            raise ConfigError(f"two sets are called {name}: give each its own name")
        sets[name] = _pictures(file, folder)
    return sets


def _pictures(file: Path, folder: Path) -> Pictures:
    content = load_annotations(file, "coco")
    records = content["images"]
    if not any(person["num_keypoints"] > 0 and not person["iscrowd"] for person in content["annotations"]):
        raise DataError(f"{file} has nobody with keypoints: AP can't be measured on it")
    sizeless = [record["id"] for record in records if not {"height", "width"} <= record.keys()]
    if sizeless:
        raise DataError(f"image {sizeless[0]} of {file} lacks height or width ({len(sizeless)} such)")
    found = picture_files(records, folder)
    shapes = [(record["height"], record["width"]) for record in records]
    return Pictures(content, subject.sha256_of(file), found, shapes)


def _entrants(args: argparse.Namespace) -> list[Entrant]:
    """Everyone to be measured, ours first."""
    sizes = list(dict.fromkeys(args.sizes))
    entered: list[Entrant] = []
    hints = []
    for folder, precision in args.bundle:
        ours, hint = benchmark.bundle_entrants(folder, precision, sizes, args.threads, args.score_threshold)
        entered += ours
        hints.append(hint)
    if args.peers is not None:
        entered += peers.entrants(args.peers, sizes, args.threads, hints[0])
    for (model, size), count in Counter((entrant.model, entrant.size) for entrant in entered).items():
        if count > 1:
            raise ConfigError(f"{count} models would be called {model!r} at size {size}: copy one to another folder")
    return entered


def _accuracies(args: argparse.Namespace, entrants: list[Entrant], sets: Sets) -> dict[str, Accuracy]:
    """The accuracy of every entrant and set by `_key`; what was measured before is taken from the partial results."""
    kept = args.out / PARTIAL
    known = _read_partial(kept)
    for entrant in entrants:
        left = {name: found for name, found in sets.items() if _key(entrant, found) not in known}
        if not left:
            continue
        with entrant.start() as running:
            for name, found in left.items():
                label = f"{entrant.model} {entrant.size} {name}"
                known[_key(entrant, found)] = benchmark.measure_ap(
                    running,
                    found.annotations,
                    found.files,
                    partial(tqdm, desc=label, unit="picture", disable=args.json or None),
                )
                content = {key: dataclasses.asdict(accuracy) for key, accuracy in known.items()}
                write_atomic(kept, json.dumps(content, indent=1).encode())
    return known


def _key(entrant: Entrant, pictures: Pictures) -> str:
    versions = subject.versions()
    return f"{entrant.key}:{pictures.sha256}:openvino-{versions.get('openvino')}:boir-sdk-{versions.get('boir-sdk')}"


def _read_partial(path: Path) -> dict[str, Accuracy]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {key: Accuracy(**fields) for key, fields in content.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} isn't what this command writes ({error}): delete it, or give another --out") from error


def _report(
    args: argparse.Namespace, entrants: list[Entrant], sets: Sets, known: dict[str, Accuracy]
) -> dict[str, Any]:
    """Measure the times, and put together all that is written; dataclasses are left as they are."""
    first = next(iter(sets))
    before = benchmark.machine(args.threads)
    timings: Sequence[Timing | None] = [None] * len(entrants)
    timed = None
    if args.pictures_for_time:
        pictures = _timed_pictures(sets[first], args.pictures_for_time)
        timings = _timings(args, entrants, pictures)
        height, width = pictures[0].shape[:2]
        timed = {"set": first, "pictures": len(pictures), "height": height, "width": width, "repeats": args.repeats}
        timed["load_after"] = benchmark.machine(args.threads)["load"]
    points = []
    for entrant, timing in zip(entrants, timings, strict=True):
        accuracy = {name: known[_key(entrant, found)] for name, found in sets.items()}
        precision = accuracy[first].precision  # the key says what was asked for, so it is that of the times too
        points.append(Point(entrant.model, entrant.size, entrant.own, precision, accuracy, timing))
    return {
        "machine": before,
        "versions": subject.versions(),
        "score_threshold": args.score_threshold,
        "sets": {name: {"pictures": len(found.files), "sha256": found.sha256} for name, found in sets.items()},
        "timed": timed,
        "points": points,
        "verdicts": {name: benchmark.verdicts(points, name) for name in sets},
    }


def _timings(args: argparse.Namespace, entrants: list[Entrant], pictures: list[NDArray[np.uint8]]) -> list[Timing]:
    with ExitStack() as stack:
        detectors = [stack.enter_context(entrant.start()).detect for entrant in entrants]
        taken = benchmark.measure_times(
            detectors,
            pictures,
            args.repeats,
            args.threads,
            partial(tqdm, desc="times", unit="round", disable=args.json or None),
        )
    return benchmark.timings(taken)


def _timed_pictures(pictures: Pictures, count: int) -> list[NDArray[np.uint8]]:
    """The first pictures of the most frequent size, so that every network has one shape to hold."""
    shape = Counter(pictures.shapes).most_common(1)[0][0]
    chosen = [path for (_, path), own in zip(pictures.files, pictures.shapes, strict=True) if own == shape]
    return [image.read(path, exif=False) for path in chosen[:count]]


def _markdown(report: dict[str, Any]) -> list[str]:
    """The tables for a reader, AP in per cent."""
    machine, timed = report["machine"], report["timed"]
    points: list[Point] = report["points"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    lines = [f"{machine['processor']}, {machine['cores']} cores; {versions}.", ""]
    if timed is not None:
        lines += [
            f"Time of a picture in memory to its poses: {timed['pictures']} pictures of {timed['width']} x "
            f"{timed['height']} ({timed['set']}), {timed['repeats']} times each, all models in turns, "
            f"{machine['threads']} threads each; load {machine['load'][0]} before, {timed['load_after'][0]} after.",
            "",
        ]
    sets = [f"AP {name} (95 %), {facts['pictures']} pictures" for name, facts in report["sets"].items()]
    lines += [
        f"AP in per cent, no flip test; bundles leave out people below the score {report['score_threshold']:g}.",
        "",
        f"| model | size | computes in | {' | '.join(sets)} | ms | p90 | ratio |",
        "| --- | --- | --- |" + " --- |" * (len(sets) + 3),
    ]
    for point in points:
        cells = [f"{100 * it.ap:.1f} ({100 * it.low:.1f} to {100 * it.high:.1f})" for it in point.accuracy.values()]
        time = point.timing
        times = "- | - | -" if time is None else f"{time.median_ms:.1f} | {time.p90_ms:.1f} | {time.ratio:.2f}"
        lines.append(f"| {point.model} | {point.size} | {point.precision} | {' | '.join(cells)} | {times} |")
    for name, found in report["verdicts"].items():
        if found:
            lines += [
                "",
                f"Ours against what a peer's line gives at our time ({name}):",
                "",
                *_verdicts(points, found, name),
            ]
    return lines


def _verdicts(points: list[Point], found: list[Verdict], name: str) -> list[str]:
    """One row for each of our points, one column a peer."""
    rivals = list(dict.fromkeys(verdict.rival for verdict in found))
    cells = {
        (verdict.model, verdict.size, verdict.rival): verdict.words
        if verdict.rival_ap is None
        else f"{100 * verdict.rival_ap:.1f}: ours is {verdict.words}"
        for verdict in found
    }
    lines = [f"| ours | size | ms | AP | {' | '.join(rivals)} |", "| --- | --- | --- | --- |" + " --- |" * len(rivals)]
    for point in points:
        if point.own and point.timing is not None:
            row = " | ".join(cells[point.model, point.size, rival] for rival in rivals)
            ap = 100 * point.accuracy[name].ap
            lines.append(f"| {point.model} | {point.size} | {point.timing.median_ms:.1f} | {ap:.1f} | {row} |")
    return lines
