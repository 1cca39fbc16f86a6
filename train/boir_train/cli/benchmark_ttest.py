"""`boir-train benchmark ttest`: the paper's t-test on training runs."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import get_args

from boir_sdk.errors import DataError
from boir_train import results
from boir_train.significance import Kind, TTest, t_test

DESCRIPTION = """\
Compare a figure of two methods over several training runs of each, the way the paper compares CID and BoIR on five runs
(p = 6.4e-5): Student's t-test, two-sided. A value is a number, or a file that boir-eval wrote (--json), whose figure is
taken in per cent. Numbers can be in any unit, but all in the same. Two runs a side are the least; five say more.

`student` is for independent runs, `welch` too where one method's runs spread more than the other's, `paired` for runs
of which the i-th of both had the same seed. One seed a side and many pictures are no runs: for the choice of pictures
boir-eval gives an interval.
"""
EPILOG = """\
examples:
  boir-train benchmark ttest --a 69.8 69.7 69.9 69.6 69.9 --b 70.6 70.5 70.7 70.6 70.4
  boir-train benchmark ttest --a cid-1.json cid-2.json cid-3.json --b boir-1.json boir-2.json boir-3.json \\
      --figure AP --test paired --json

exit codes: 0 done (whatever the test says), 1 failed (the message says why), 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the task's arguments on `parser`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--a", nargs="+", required=True, metavar="VALUE", help="the runs of the one method")
    parser.add_argument("--b", nargs="+", required=True, metavar="VALUE", help="the runs of the other")
    parser.add_argument("--test", choices=get_args(Kind), default="student", help="which t-test (student)")
    parser.add_argument("--figure", default="AP", metavar="NAME", help="figure that is taken from files (AP)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Test and print; returns the exit code.

    Raises:
        DataError: a value is neither a number nor a result, or the test can't be made of them.
    """
    first, second = ([_value(text, args.figure) for text in side] for side in (args.a, args.b))
    found = t_test(first, second, args.test)
    if args.json:
        print(json.dumps({"a": first, "b": second, **dataclasses.asdict(found)}, indent=2))
    else:
        print("\n".join(_lines(found, len(first), len(second))))
    return 0


def _value(text: str, figure: str) -> float:
    """A number, or the figure of a result file in per cent; whether a number is finite is the test's to check."""
    try:
        return float(text)
    except ValueError:
        pass
    if not Path(text).is_file():
        raise DataError(f"{text!r} is neither a number nor a file of boir-eval's --json")
    (result,) = results.read([Path(text)]).values()
    value = result.figure(figure)
    if value is None:
        raise DataError(f"{text} has no figure {figure!r}: choose another by --figure")
    return value


def _lines(found: TTest, *counts: int) -> list[str]:
    low, high = found.interval_95
    groups = [
        f"{name}: {mean:.3f} +- {deviation:.3f} ({count} runs)"
        for name, mean, deviation, count in zip("ab", found.means, found.deviations, counts, strict=True)
    ]
    return [
        *groups,
        f"b - a: {found.difference:+.3f} (95 %: {low:+.3f} to {high:+.3f})",
        f"{found.kind} t-test: t = {found.t:.3f}, {found.freedom:.4g} degrees of freedom, p = {found.p:.2g} two-sided",
    ]
