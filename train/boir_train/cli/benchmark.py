"""`boir-train benchmark`: one task a module."""

from __future__ import annotations

import argparse

from boir_train.cli import benchmark_speed, benchmark_tables, benchmark_ttest

TASKS = {
    "speed": (benchmark_speed, "AP against milliseconds, of bundles and of other people's models"),
    "tables": (benchmark_tables, "the paper's Tables 1, 2, 3, 5 and 6: its figures, ours, and what ours lack"),
    "ttest": (benchmark_ttest, "do two methods differ, by a few training runs of each? (the paper's t-test)"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's tasks and their arguments on `parser`."""
    parser.description = "Measure models beside each other, and beside the paper."
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True)
    for name, (module, summary) in TASKS.items():
        module.add_arguments(tasks.add_parser(name, help=summary))


def run(args: argparse.Namespace) -> int:
    """Run the task that was asked for; returns the exit code.

    Raises:
        BoirError: the user can mend it; the message says how.
    """
    return TASKS[args.task][0].run(args)
