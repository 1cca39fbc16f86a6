"""`boir doctor`: what is wrong with this machine or installation, and what to do."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boir_sdk.doctor import Finding

EXAMPLES = """examples:
  boir doctor                  look at everything that matters; the model runs once
  boir doctor --probe          also run it on every device in every precision it has
  boir doctor --json           for programs, and for reports of defects

  ok     as it should be
  note   works, but worth knowing
  BAD    something won't work; the line below says what to do

exit code: 0 nothing is bad, 1 something is, 2 wrong usage, 130 stopped by Ctrl-C"""

_MARKS = {"ok": "ok  ", "note": "note", "bad": "BAD "}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "doctor",
        help="find what is wrong with this installation",
        description="Look at processor, packages, OpenCV, OpenVINO's devices and the model, and say what to do.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model", default="default", metavar="BUNDLE", help="bundle folder (default: the embedded one)"
    )
    parser.add_argument("--probe", action="store_true", help="run the model on every device in every precision")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out the command; return its exit code."""
    from boir_sdk import doctor

    findings = []
    for finding in doctor.examine(probe=args.probe, model=args.model):
        findings.append(finding)
        if not args.json:
            print(worded(finding), flush=True)
    bad = sum(finding.level == "bad" for finding in findings)
    if args.json:
        print(json.dumps({"bad": bad, "findings": [dataclasses.asdict(finding) for finding in findings]}, indent=1))
    else:
        print("nothing is wrong" if not bad else f"{bad} of {len(findings)} findings are bad")
    return 1 if bad else 0


def worded(finding: Finding) -> str:
    """Word a finding: a line, and below it what to do."""
    line = f"{_MARKS[finding.level]}  {finding.about:<22} {finding.says}"
    return f"{line}\n      {'':<22} -> {finding.do}" if finding.do else line
