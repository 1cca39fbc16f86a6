"""`boir-train benchmark tables`: the paper's tables, its figures and ours."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from boir_sdk.cli.files import write_atomic
from boir_train import results, subject, tables
from boir_train.cli.numbers import natural, positive
from boir_train.results import Result
from boir_train.tables import Cell, Row, Table

DESCRIPTION = """\
Print and write the paper's Tables 1, 2, 3, 5 and 6. Each of BoIR's lines is followed by ours, with figures where
--results has the evaluation they come from, and below the table with what is missing where it has not: pictures and
weights to get, or the command to give. A result counts only if it is the paper's protocol to the letter: the whole test
set, the network's own size, the flip test. Others are listed apart.

For Table 5 the parameters and multiply-adds (GMACs) of the presets are counted and their time is measured, in PyTorch,
on --device, one picture at a time: the time depends on the device and on nothing that was trained.

Results are files of boir-eval's --json, named after the run: coco_w32, coco_w32_testdev, crowdpose_w32,
crowdpose_w32_finetune, ochuman_w32_val, ochuman_w32_test, and the same with w48. COCO test-dev has no public
annotations: add the server's figures to the run's file as fractions ("AP": 0.695, ...).
"""
EPILOG = """\
examples:
  boir-train benchmark tables --results results --out docs
  boir-train benchmark tables --results results --device cuda --repeats 100 --flip
  boir-train benchmark tables --repeats 0                (no times)

OUT gets benchmarks.json and benchmarks.md.
exit codes: 0 done, 1 failed (the message says why), 2 wrong usage, 130 interrupted (nothing is written)
"""
PRESETS = ("w32", "w48", "nano")
NAMES = {preset: backbone for backbone, preset in tables.PRESETS.items()} | {"nano": "nano (ours)"}
COLUMNS = {"params_M": "M parameters", "gmacs": "GMACs", "time_ms": "ms"}
FIGURES = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR")  # of other results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the task's arguments on `parser`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--results", type=Path, nargs="+", default=[], metavar="PATH", help="result files or folders")
    parser.add_argument(
        "--root", type=Path, default=Path(), metavar="DIR", help="folder that data, model and runs are in (here)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results; default: print only")
    parser.add_argument(
        "--presets",
        nargs="*",
        choices=PRESETS,
        default=PRESETS,
        metavar="P",
        help="presets whose cost is measured (all)",
    )
    parser.add_argument("--device", default="cpu", metavar="D", help="PyTorch device that is timed (cpu)")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads; default: PyTorch's choice")
    parser.add_argument(
        "--repeats", type=natural, default=10, metavar="N", help="times a preset is timed (10); 0: none"
    )
    parser.add_argument("--people", type=positive, default=3, metavar="N", help="people in the timed picture (3)")
    parser.add_argument("--flip", action="store_true", help="time the flip test too, which costs twice as much")
    parser.add_argument("--json", action="store_true", help="print benchmarks.json instead of the tables")


def run(args: argparse.Namespace) -> int:
    """Read, measure, write and print; returns the exit code.

    Raises:
        BoirError: the user can mend it; the message says how.
    """
    found = results.read(args.results)
    filled = tables.fill(found, args.root)
    report = {
        "unit": "per cent unless named",
        "tables": filled,
        "cost": _cost(args),
        "other_results": [_essence(result) for result in tables.others(found)],
        "versions": subject.versions(),
    }
    text = json.dumps(report, indent=1, default=dataclasses.asdict)
    shown = "\n".join(_markdown(report)) + "\n"
    if args.out is not None:
        write_atomic(args.out / "benchmarks.json", (text + "\n").encode())
        write_atomic(args.out / "benchmarks.md", shown.encode())
    print(text if args.json else shown, end="\n" if args.json else "")
    return 0


def _cost(args: argparse.Namespace) -> dict[str, Any]:
    """Table 5's measured part: what each preset costs."""
    import torch

    from boir_train import benchmark, complexity

    device = subject.torch_device(args.device)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    height, width = complexity.PICTURE
    facts: dict[str, Any] = {
        "device": str(device),
        "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "machine": benchmark.machine(torch.get_num_threads()),
        "picture": {"height": height, "width": width},
        "presets": {},
    }
    for preset in args.presets:
        facts["presets"][preset] = {"count": complexity.count(preset), "speed": None}
        if args.repeats:
            facts["presets"][preset]["speed"] = complexity.measure(
                preset,
                device,
                people=args.people,
                flip_test=args.flip,
                repeats=args.repeats,
                progress=lambda calls, name=preset: tqdm(calls, desc=name, unit="picture", disable=args.json or None),
            )
    return facts


def _essence(result: Result) -> dict[str, Any]:
    """What is kept of a result that isn't one of the paper's runs."""
    content = result.content
    kept = ("dataset", "size", "flip_test", "second_look", "precision", "annotations_sha256", "limit")
    return {
        "name": result.name,
        "figures": {name: result.figure(name) for name in content if name.startswith(("AP", "AR"))},
        "interval_95": [100 * value for value in content.get("interval_95", ()) if value >= 0],
        "images": content["images"],
        "people": content.get("people"),
        "protocol": {name: content["protocol"].get(name) for name in kept},
        "model": {name: content["model"].get(name) for name in ("kind", "preset", "sha256")},
    }


def _markdown(report: dict[str, Any]) -> Iterator[str]:
    yield "# The paper's tables"
    yield ""
    yield "Figures of the paper (BoIR, BMVC 2023), per cent unless named; below each of BoIR's lines is ours. Ours are"
    yield "only what `boir-train benchmark tables` found measured; `-` means that the paper has no figure."
    for table in report["tables"]:
        yield from ("", f"## Table {table.key}. {table.title}", "")
        yield from _table(table, report["cost"])
    if report["other_results"]:
        yield from (
            "",
            "## Other results",
            "",
            "Not the paper's test sets: never to be set beside the figures above.",
            "",
        )
        yield from _others(report["other_results"])
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    yield from ("", f"Versions: {versions}.")


def _table(table: Table, cost: dict[str, Any]) -> Iterator[str]:
    names, columns = list(table.rows[0].names), list(table.rows[0].cells)
    if table.key == "5":
        columns.insert(columns.index("time_ms"), "gmacs")
    yield f"| {' | '.join([*names, 'whose', *(COLUMNS.get(column, column) for column in columns)])} |"
    yield "| --- " * (len(names) + 1 + len(columns)) + "|"
    for row in table.rows:
        yield _line([*_names(row, names), "paper"], [_paper(row, column) for column in columns])
        if row.reproduced:
            own = _costs(cost, tables.PRESETS[row.names["backbone"]]) if table.key == "5" else {}
            yield _line(
                [*_names(row, names), "**ours**"], [own.get(column) or _ours(row, column) for column in columns]
            )
    if table.key == "5" and (own := _costs(cost, "nano")):
        yield _line(["BoIR", NAMES["nano"], "**ours**"], [own.get(column, "-") for column in columns])
    reasons = dict.fromkeys(cell.why for row in table.rows for cell in row.cells.values() if cell.why)
    if reasons:
        yield ""
        yield from (f"* `{run}`: {why}" for run, _, why in (reason.partition(": ") for reason in reasons))
    if table.key == "5" and cost["presets"]:
        yield from ("", *_how(cost))


def _line(names: Sequence[str], figures: Sequence[str]) -> str:
    return f"| {' | '.join([*names, *figures])} |"


def _names(row: Row, names: Sequence[str]) -> list[str]:
    return ["-" if row.names.get(name) is None else str(row.names[name]).replace("*", r"\*") for name in names]


def _paper(row: Row, column: str) -> str:
    cell = row.cells.get(column)
    return "-" if cell is None or cell.paper is None else f"{cell.paper:.1f}"


def _ours(row: Row, column: str) -> str:
    cell = row.cells.get(column, Cell(None))
    if cell.ours is not None:
        return f"{cell.ours:.1f}"
    return "not run" if cell.why else "-"


def _costs(cost: dict[str, Any], preset: str) -> dict[str, str]:
    """The measured cells of a preset's line, empty if it wasn't measured."""
    if preset not in cost["presets"]:
        return {}
    count, speed = cost["presets"][preset]["count"], cost["presets"][preset]["speed"]
    gmacs = f"{count.macs_dense / 1e9:.1f} + {count.macs_person / 1e9:.2f} a person"
    time = "not timed" if speed is None else f"{speed.median_ms:.0f}"
    if speed is not None and cost["device"] == "cpu":
        time += f" ({speed.cpu_ms:.0f} of CPU)"
    return {"params_M": f"{count.parameters / 1e6:.1f}", "gmacs": gmacs, "time_ms": time}


def _how(cost: dict[str, Any]) -> Iterator[str]:
    """How Table 5's measured figures were made."""
    picture, machine, presets = cost["picture"], cost["machine"], cost["presets"]
    sides = ", ".join(
        f"{NAMES[preset]} {facts['count'].network[1]} x {facts['count'].network[0]}"
        for preset, facts in presets.items()
    )
    yield (
        f"Ours: a picture of {picture['width']} x {picture['height']}, network pictures of {sides}. Parameters of the "
        "inference form; GMACs count convolutions and matrix products, one for a multiplication with its addition."
    )
    speeds = [facts["speed"] for facts in presets.values() if facts["speed"] is not None]
    if speeds:
        where = cost["accelerator"] or f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads"
        processor = "; in brackets the processor time of all threads" if cost["device"] == "cpu" else ""
        yield (
            f"Times: PyTorch on {cost['device']} ({where}), float32, "
            f"{'with' if speeds[0].flip_test else 'without'} the flip test, a picture in memory to the poses of "
            f"{speeds[0].people} people, one picture at a time, median of {speeds[0].repeats}; load "
            f"{machine['load'][0]} before{processor}. The paper's times are an RTX 3090's."
        )


def _others(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    names = [name for name in FIGURES if any(name in entry["figures"] for entry in found)]
    yield f"| result | protocol | pictures | people | size | flip test | {' | '.join(names)} | AP, 95 % |"
    yield "| --- " * (7 + len(names)) + "|"
    for entry in found:
        figures = [entry["figures"].get(name) for name in names]
        shown = ["-" if figure is None else f"{figure:.1f}" for figure in figures]
        bounds = entry["interval_95"]
        between = f"{bounds[0]:.1f} to {bounds[1]:.1f}" if bounds else "-"
        protocol = entry["protocol"]
        flip = "yes" if protocol["flip_test"] else "no"
        people = "-" if entry["people"] is None else entry["people"]
        yield (
            f"| {entry['name']} | {protocol['dataset']} | {entry['images']:,} | {people} | {protocol['size']} | "
            f"{flip} | {' | '.join(shown)} | {between} |"
        )
