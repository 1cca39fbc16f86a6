"""`python -m fuzz`: run the campaigns, show a table, fail if anything but acceptance and refusal was seen."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

# Before anything imports them: children are forked, and a pool of threads doesn't survive that.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")

from tqdm import tqdm

from fuzz import annotations, bundles, campaign, graphs, pictures, settings, videos, weights

CAMPAIGNS = {
    module.CAMPAIGN.name: module.CAMPAIGN
    for module in (pictures, videos, settings, bundles, weights, annotations, graphs)
}
COLUMNS = ("campaign", "cases", "accepted", "refused", "wrong", "untyped", "crashes", "hangs", "worst", "all")


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns 0 if all is well, else 1."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--only", action="append", choices=tuple(CAMPAIGNS), help="this campaign; repeatable")
    parser.add_argument("--count", type=int, help="cases of each campaign instead of the full number")
    parser.add_argument("--share", type=float, default=1.0, help="of the full number, for example 0.1")
    parser.add_argument("--first", type=int, default=0, help="number of the first case, to see one again")
    parser.add_argument("--seed", type=int, default=0, help="other seeds make other cases")
    parser.add_argument("--limit", type=float, default=campaign.LIMIT_S, help="seconds after which a case hangs")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the tallies as JSON")
    args = parser.parse_args(arguments)
    tqdm.monitor_interval = 0  # no thread of its own
    tallies = []
    for name in args.only or CAMPAIGNS:
        chosen = CAMPAIGNS[name]
        count = args.count or max(1, round(chosen.count * args.share))
        with tqdm(total=count, desc=name, unit="case", mininterval=1.0, disable=None) as bar:
            tallies.append(
                campaign.run(chosen, count, seed=args.seed, first=args.first, limit_s=args.limit, progress=bar.update)
            )
        if args.json is not None:  # after each, so that an interrupted run has said something
            args.json.write_text(json.dumps([campaign.as_json(tally) for tally in tallies], indent=2) + "\n")
    print(table(tallies))
    for tally in tallies:
        print(*tally.failures, sep="\n", end="\n" if tally.failures else "")
    return 0 if all(tally.well for tally in tallies) else 1


def table(tallies: list[campaign.Tally]) -> str:
    """The tallies in Markdown."""
    rows = [COLUMNS, tuple("-" * len(column) for column in COLUMNS)]
    for tally in tallies:
        refused = ", ".join(f"{kind} {count}" for kind, count in tally.refused.most_common()) or "0"
        counts = (tally.wrong, tally.untyped, tally.crashes, tally.hangs)
        times = (f"{tally.worst_s:.2f} s (case {tally.worst_case})", f"{tally.seconds:.0f} s")
        rows.append((tally.name, str(tally.cases), str(tally.accepted), refused, *map(str, counts), *times))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
