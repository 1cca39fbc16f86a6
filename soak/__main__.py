"""`python -m soak`: the long runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    """Run what is asked for; 0 when nothing was wrong."""
    parser = argparse.ArgumentParser("python -m soak", description="Long runs outside the default tests.")
    parser.add_argument(
        "what", nargs="?", default="streams", choices=("streams", "threads", "kills", "signals", "redact")
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="of streams (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("out/soak"), help="folder of the report (default: %(default)s)"
    )
    parser.add_argument("--count", type=int, help="kills or moments a kind, examples of redact, calls of threads")
    args = parser.parse_args()
    if args.what == "streams":
        from soak.streams import run

        return 0 if run(args.minutes, args.out) else 1
    if args.what == "threads":
        from soak.threads import run as run_threads

        return 0 if run_threads(args.count or 2000) else 1
    if args.what == "kills":
        from soak.kills import run as run_kills

        return 0 if run_kills(args.count or 200) else 1
    if args.what == "signals":
        from soak.signals import run as run_signals

        return 0 if run_signals(args.count or 20) else 1
    from soak.redact import run as run_redact

    return 0 if run_redact(args.count or 10_000) else 1


if __name__ == "__main__":
    sys.exit(main())
