"""`boir-train benchmark`: AP against end-to-end milliseconds, ours and other people's."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from boir_sdk import bundle as bundles
from boir_sdk import image
from boir_sdk.cli.files import write_atomic
from boir_sdk.errors import ConfigError, DataError
from boir_train import benchmark, peers, plot, subject
from boir_train.benchmark import Entrant, Point
from boir_train.evaluation import load_annotations

DESCRIPTION = """\
Measure bundles, and other models beside them, at several network sizes: keypoint AP with its 95 % interval on annotated
pictures, and the time from a picture in memory to its poses (decoding and suppression included). The times come from
one run in which all take turns on the same pictures with the same number of threads; compare them within the run only,
and let nothing else run meanwhile. AP doesn't depend on that: it is kept in OUT/partial.json, so a run that was
interrupted, or is repeated for its times, doesn't measure it again.
"""
EPILOG = """\
examples:
  boir-train benchmark --bundle default --set val val.json val --out out
  boir-train benchmark --bundle default --bundle nano-bundle:int8 --peers shared/peers --sizes 256 384 512 \\
      --set val val.json val --set crowded crowded.json crowded --out out

OUT gets benchmark.json, benchmark.md and ap_against_ms.png (for the first set; needs matplotlib).
exit codes: 0 done, 1 failed (the message says why), 2 wrong usage, 130 interrupted
"""
PARTIAL = "partial.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments on `parser`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument(
        "--bundle", action="append", required=True, metavar="B[:PRECISION]", help="'default' or a folder; repeatable"
    )
    parser.add_argument("--peers", type=Path, metavar="DIR", help="folder with run_peer.py and the models it runs")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[256, 384, 448, 512], help="network sizes (%(default)s)"
    )
    parser.add_argument(
        "--set", nargs=3, action="append", required=True, metavar=("NAME", "FILE", "DIR"), help="annotated pictures"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of each model (%(default)s)")
    parser.add_argument(
        "--pictures", type=int, default=16, help="pictures of the first set that are timed (%(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="times that each is timed (%(default)s)")
    parser.add_argument(
        "--score-threshold", type=float, default=0.02, help="of bundles, for AP and times alike (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print benchmark.json instead of the table")


def run(args: argparse.Namespace) -> int:
    """Measure, write and print.

    Raises:
        ConfigError: an argument makes no sense.
        DataError: a set or the peers can't be read.
    """
    if min(args.threads, args.pictures, args.repeats, *args.sizes) < 1:
        raise ConfigError("--threads, --pictures, --repeats and --sizes must be positive")
    sets = {name: (load_annotations(Path(file), "coco"), Path(folder)) for name, file, folder in args.set}
    first = args.set[0][0]
    args.out.mkdir(parents=True, exist_ok=True)
    keyed = _entrants(args)
    figures = _accuracies(args, keyed, sets)
    entrants = [entrant for _, entrant in keyed]
    pictures = _timed_pictures(*sets[first], args.pictures)
    before = benchmark.machine(args.threads)
    quiet = args.json or None
    taken = benchmark.measure_times(
        entrants, pictures, args.repeats, lambda rounds: tqdm(list(rounds), desc="times", disable=quiet)
    )
    base = float(np.median(taken[0]))
    points = [
        Point(
            entrant.model,
            entrant.size,
            entrant.precision(),
            {name: figures[key][name][0] for name in sets},
            {name: (figures[key][name][1], figures[key][name][2]) for name in sets},
            float(np.median(times)),
            float(np.quantile(times, 0.9)),
            float(np.median(times)) / base,
        )
        for (key, entrant), times in zip(keyed, taken, strict=True)
    ]
    own = points[0].model
    report = {
        "machine": before,
        "versions": subject.versions(),
        "score_threshold": args.score_threshold,
        "timed": {"pictures": len(pictures), "shape": list(pictures[0].shape[:2]), "repeats": args.repeats},
        "sets": {name: len(content["images"]) for name, (content, _) in sets.items()},
        "points": [dataclasses.asdict(point) for point in points],
        "verdicts": benchmark.verdicts(points, own, first),
    }
    write_atomic(args.out / "benchmark.json", (json.dumps(report, indent=2) + "\n").encode())
    table = "\n".join(_markdown(report, own, first)) + "\n"
    write_atomic(args.out / "benchmark.md", table.encode())
    plot.ap_against_time(
        points, first, f"{before['threads']} threads, {before['processor']}", args.out / "ap_against_ms.png"
    )
    print(json.dumps(report) if args.json else table, end="\n" if args.json else "")
    return 0


def _entrants(args: argparse.Namespace) -> list[tuple[str, Entrant]]:
    """All entrants with the key that their accuracy is kept under."""
    result = []
    for text in args.bundle:
        name, _, precision = text.partition(":")
        manifest = bundles.read(name)
        digest = subject.sha256_of(manifest.path / bundles.MANIFEST_NAME)
        for size in args.sizes:
            key = f"{digest}:{precision or manifest.manifest.default_precision}:{size}:{args.score_threshold}"
            entrant = benchmark.bundle_entrant(name, precision or None, size, args.threads, args.score_threshold)
            result.append((key, entrant))
    if args.peers is not None:
        runner = peers.load_runner(args.peers)
        digest = subject.sha256_of(args.peers / peers.RUNNER)
        result += [
            (f"{digest}:{entrant.model}:{entrant.size}", entrant)
            for entrant in peers.entrants(runner, args.sizes, args.threads)
        ]
    return result


def _accuracies(
    args: argparse.Namespace, keyed: list[tuple[str, Entrant]], sets: dict[str, tuple[dict[str, Any], Path]]
) -> dict[str, dict[str, list[float]]]:
    """AP, low and high of every entrant and set; what was measured before is taken from the partial results."""
    digests = {name: subject.sha256_of(Path(file)) for name, file, _ in args.set}
    partial = args.out / PARTIAL
    known: dict[str, list[float]] = json.loads(partial.read_text(encoding="utf-8")) if partial.is_file() else {}
    figures: dict[str, dict[str, list[float]]] = {}
    for key, entrant in keyed:
        figures[key] = {}
        for name, (truth, folder) in sets.items():
            place = f"{key}:{digests[name]}"
            if place not in known:
                label = f"{entrant.model} {entrant.size} {name}"
                ap, interval = benchmark.measure_ap(
                    entrant.detect,
                    truth,
                    folder,
                    lambda records, label=label: tqdm(records, desc=label, disable=args.json or None),
                )
                known[place] = [ap, *interval]
                write_atomic(partial, json.dumps(known).encode())
            figures[key][name] = known[place]
    return figures


def _timed_pictures(annotations: dict[str, Any], folder: Path, count: int) -> list[NDArray[np.uint8]]:
    """The first pictures of the most frequent size, so that every network has one shape to hold."""
    shapes = Counter((record["height"], record["width"]) for record in annotations["images"])
    if not shapes:
        raise DataError("the first set lists no pictures")
    height, width = shapes.most_common(1)[0][0]
    names = [r["file_name"] for r in annotations["images"] if (r["height"], r["width"]) == (height, width)]
    return [image.read(folder / Path(name).name, exif=False) for name in names[:count]]


def _markdown(report: dict[str, Any], own: str, first: str) -> list[str]:
    machine, timed = report["machine"], report["timed"]
    sets = list(report["sets"])
    lines = [
        f"{machine['processor']}, {machine['threads']} threads, load {machine['load'][0]} before the run; "
        f"{timed['pictures']} pictures of {timed['shape'][1]} x {timed['shape'][0]}, {timed['repeats']} times each, "
        "all models in turns.",
        "",
        "| model | size | computes in | " + " | ".join(f"AP {name} (95 %)" for name in sets) + " | ms | p90 | ratio |",
        "| --- | --- | --- |" + " --- |" * (len(sets) + 3),
    ]
    for point in report["points"]:
        cells = [
            f"{100 * point['ap'][name]:.1f} ({100 * point['interval'][name][0]:.1f} to "
            f"{100 * point['interval'][name][1]:.1f})"
            for name in sets
        ]
        times = f"{point['median_ms']:.0f} | {point['p90_ms']:.0f} | {point['ratio']:.2f}"
        lines.append(f"| {point['model']} | {point['size']} | {point['precision']} | {' | '.join(cells)} | {times} |")
    if report["verdicts"]:
        lines += ["", f"{own} against the others at equal time ({first}):", ""]
    for verdict in report["verdicts"]:
        at = f"size {verdict['size']} ({verdict['median_ms']:.0f} ms)"
        if verdict["ahead"] is None:
            lines.append(f"- {verdict['rival']}, {at}: outside its range of times")
        else:
            word = "above" if verdict["ahead"] > 0 else "not above"
            lines.append(
                f"- {verdict['rival']}, {at}: {100 * verdict['ap']:.1f} against {100 * verdict['rival_ap']:.1f}, {word}"
            )
    return lines
