"""`python -m matrix`: build, install everywhere, check, tell."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from matrix import cells, packages, pythons
from matrix.cells import Cell, Outcome

EXAMPLES = """examples:
  python -m matrix                                  the core on every Python, newest and lowest; extras where torch is
  python -m matrix --python 3.12                    one Python
  python -m matrix --extra train --extra convert    these only
  python -m matrix --lowest --json out.json         lowest versions of the core only

exit code: 0 nothing failed (what can't be tried here says so), 1 something did"""


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out the command; return its exit code."""
    parser = argparse.ArgumentParser(
        "python -m matrix", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", action="append", choices=pythons.VERSIONS, help="only this one (repeatable)")
    parser.add_argument("--extra", action="append", choices=cells.EXTRAS, help="only this one (repeatable)")
    parser.add_argument("--lowest", action="store_true", help="only the core with its lowest versions")
    parser.add_argument("--no-tests", action="store_true", help="with the lowest versions, only the smoke test")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all facts there")
    arguments = parser.parse_args(argv)

    with tempfile.TemporaryDirectory(prefix="boir-matrix-") as folder:
        work = Path(folder)
        built = packages.build(work)
        problems = compare(built)
        print(f"{built.wheel.name}: {built.wheel.stat().st_size / 1e6:.1f} MB", flush=True)
        print(f"{built.sdist.name}: {built.sdist.stat().st_size / 1e6:.1f} MB; {'; '.join(problems) or 'same wheel'}")
        outcomes = []
        for cell in wanted(arguments.python, arguments.extra, lowest=arguments.lowest):
            found = pythons.find(cell.python)
            outcomes.append(cells.run(cell, found, built, work, tests=not arguments.no_tests))
            print(line(outcomes[-1]), flush=True)
        if arguments.json:
            write(arguments.json, built, problems, outcomes)
    return 1 if problems or any(outcome.status == "failed" for outcome in outcomes) else 0


def wanted(python: Sequence[str] | None, extra: Sequence[str] | None, *, lowest: bool) -> Iterator[Cell]:
    """The cells to fill, in the order of the table."""
    for version in python or pythons.VERSIONS:
        for name in ("core",) if lowest else extra or cells.EXTRAS:
            if name != "core":
                yield Cell(version, name, "newest")
                continue
            kinds: tuple[cells.Dependencies, ...] = ("lowest",) if lowest else ("newest", "lowest", "headless", "both")
            yield from (Cell(version, name, kind) for kind in kinds)


def compare(built: packages.Built) -> list[str]:
    """What differs between the wheel of the checkout and that of the source distribution."""
    here, there = packages.contents(built.wheel), packages.contents(built.wheel_of_sdist)
    names = sorted(here.keys() ^ there.keys()) + sorted(
        name for name in here.keys() & there.keys() if here[name] != there[name]
    )
    return [f"{name} differs between the wheels of checkout and sdist" for name in names]


def line(outcome: Outcome) -> str:
    """An outcome for people."""
    cell = outcome.cell
    core = ("numpy", "opencv-python", "opencv-python-headless", "openvino", "torch")
    versions = " ".join(f"{name} {outcome.sizes[name]['version']}" for name in core if name in outcome.sizes)
    megabytes = sum(one["bytes"] for one in outcome.sizes.values()) / 1e6
    facts = f"{versions}; {len(outcome.sizes)} distributions, {megabytes:.0f} MB" if outcome.sizes else ""
    why = "" if outcome.status == "passed" else f"  {outcome.why}"
    return f"{cell.python:<5} {cell.extra:<8} {cell.dependencies:<9} {outcome.status:<9} {facts}{why}"


def write(path: Path, built: packages.Built, problems: list[str], outcomes: Sequence[Outcome]) -> None:
    """Write all facts as JSON, whole or not at all."""
    content: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": platform.platform(),
        "wheel_bytes": built.wheel.stat().st_size,
        "sdist_bytes": built.sdist.stat().st_size,
        "problems": problems,
        "cells": [dataclasses.asdict(outcome) for outcome in outcomes],
    }
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


if __name__ == "__main__":
    sys.exit(main())
