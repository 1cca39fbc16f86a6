"""What an ablation's runs say: AP of every run, means, spreads, differences within a seed.

One figure a variant says nothing at differences of a few tenths. All variants of a seed see the same samples in the
same order, so the difference within a seed varies less than the figures do; its mean and spread are what counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from boir_sdk.errors import DataError
from boir_train.ablation import Arm, Run
from boir_train.significance import t_test


def summarise(arms: Sequence[Arm], runs: Iterable[Run], planned: int) -> dict[str, Any]:
    """Put the runs together, all figures in per cent.

    Args:
        arms: in the order of the report.
        runs: those that are done.
        planned: how many there will be.

    Returns:
        `runs`, `planned`, `done`, and `arms`: a row each with `ap` (by seed), `mean`, `deviation` (n - 1; None for one
        run) and `difference` to the arm that it is compared with (`mean`, `deviation`, `interval_95`, `p` of the paired
        t-test; None without two common seeds).
    """
    runs = list(runs)
    by_arm = {arm.name: {run.seed: 100 * run.figures["AP"] for run in runs if run.arm == arm.name} for arm in arms}
    rows = []
    for arm in arms:
        values = list(by_arm[arm.name].values())
        rows.append(
            {
                "arm": arm.name,
                "overrides": list(arm.overrides),
                "ap": by_arm[arm.name],
                "mean": statistics.fmean(values) if values else None,
                "deviation": statistics.stdev(values) if len(values) > 1 else None,
                "against": arm.against,
                "difference": _difference(by_arm[arm.against], by_arm[arm.name]) if arm.against else None,
                "paper_ap": arm.paper_ap,
            }
        )
    return {"planned": planned, "done": len(runs), "arms": rows, "runs": [_plain(run) for run in runs]}


def _plain(run: Run) -> dict[str, Any]:
    return {"arm": run.arm, "seed": run.seed, "steps": run.steps, "seconds": run.seconds, "figures": run.figures}


def _difference(base: dict[int, float], own: dict[int, float]) -> dict[str, Any] | None:
    common = [seed for seed in own if seed in base]
    if len(common) < 2:
        return None
    changes = [own[seed] - base[seed] for seed in common]
    found: dict[str, Any] = {
        "seeds": common,
        "mean": statistics.fmean(changes),
        "deviation": statistics.stdev(changes),
        "interval_95": None,
        "p": None,
    }
    try:
        test = t_test([base[seed] for seed in common], [own[seed] for seed in common], "paired")
    except DataError:  # every difference is the same: no test, and the numbers say so themselves
        return found
    return {**found, "interval_95": list(test.interval_95), "p": test.p}


def markdown(report: dict[str, Any]) -> str:
    """The report as a table for a reader."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: dict[str, Any]) -> Iterator[str]:
    seeds = sorted({run["seed"] for run in report["runs"]})
    yield f"# Ablation: {report['done']} of {report['planned']} runs"
    yield ""
    for name, value in report.get("setup", {}).items():
        yield f"* {name}: {value}"
    yield ""
    columns = ["arm", *(f"seed {seed}" for seed in seeds), "AP, mean ± sd", "difference within a seed", "95 %", "p"]
    yield f"| {' | '.join([*columns, 'paper'])} |"
    yield f"|{' --- |' * (len(columns) + 1)}"
    for row in report["arms"]:
        values = [_number(row["ap"].get(seed)) for seed in seeds]
        spread = "" if row["deviation"] is None else f" ± {row['deviation']:.2f}"
        cells = [row["arm"], *values, f"{_number(row['mean'])}{spread}", *_against(row), _number(row["paper_ap"], 1)]
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield (
        "AP in per cent by the protocol named above; sd with n - 1; the difference is to the arm named, seed by seed, "
        "with the interval and the two-sided p of the paired t-test. The paper's column is HRNet-W32 on COCO val at "
        "full length: a column to compare signs with, not values."
    )


def _against(row: dict[str, Any]) -> list[str]:
    change = row["difference"]
    if change is None:
        return ["-", "-", "-"]
    text = f"{change['mean']:+.2f} ± {change['deviation']:.2f} to {row['against']}"
    if change["interval_95"] is None:
        return [text, "-", "-"]
    low, high = change["interval_95"]
    return [text, f"{low:+.2f} to {high:+.2f}", f"{change['p']:.2f}"]


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
