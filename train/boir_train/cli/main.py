"""`boir-train`: one command a module, loaded only when it is called."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from boir_sdk.errors import BoirError

COMMANDS = {
    "fit": "train a model as a configuration says",
    "eval": "measure a bundle or checkpoint on a data set",
    "benchmark": "measure accuracy against time, beside other models",
    "data": "check a data set, and that it shares no picture with another",
}
EPILOG = """\
example:
  boir-train fit --config nano --set data.root=/data/coco --out runs/nano
  boir-train fit --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `boir-train`; return 0 done, 1 a `BoirError` (told on stderr), 2 usage, 130 stopped by a signal."""
    # Threads that wait by spinning make a machine with other work on it many times slower; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        "boir-train",
        description="Train and measure BoIR models.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name == chosen:
            module = importlib.import_module(f"boir_train.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        parsed = parser.parse_args(arguments)
        return int(parsed.run(parsed))
    except SystemExit as stop:
        return int(stop.code or 0)
    except BoirError as error:
        print(f"boir-train: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
