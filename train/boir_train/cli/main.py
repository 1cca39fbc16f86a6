"""`boir-train`: one command a module, loaded only when it is called."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from boir_sdk.cli import interrupt
from boir_sdk.errors import BoirError

COMMANDS = {
    "data": "check a data set, and that it shares no picture with another",
    "fit": "train a model as a configuration says",
    "eval": "measure a bundle or checkpoint on a data set (also: boir-eval)",
    "benchmark": "measure models beside each other and beside the paper's tables; test whether two differ",
    "visualize": "draw what a network sees in a picture, as the paper's figures do",
    "overfit": "prove that a model can learn: train on a few pictures until it knows them",
    "ablation": "train the variants of the paper's table 4 with several seeds and report AP with its spread",
    "start": "put the start weights of `small` together",
    "speed": "measure the loader, a training step and the losses on the machine at hand",
}
EPILOG = """\
from pictures to a measured model (docs/training.md has the whole way, from an empty folder):
  boir-train data check --config coco_w32 --root data/coco
  boir-train fit --config coco_w32 --set data.root=data/coco --out runs/coco_w32
  boir-train eval --model runs/coco_w32/final.safetensors --annotations data/coco/annotations/coco_val.json \\
      --images data/coco/images/val2017 --flip --json results/coco_w32.json
  boir-train benchmark tables --results results
  boir-train visualize people.jpg --checkpoint runs/coco_w32/final.safetensors --out figures

boir-train COMMAND --help has the options of each, with examples.
exit codes: 0 done, 1 failed (the message says why), 2 wrong usage, 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `boir-train`; return 0 done, 1 a `BoirError` (told on stderr), 2 usage, 130 stopped by a signal."""
    return interrupt.command(lambda: _run(argv), "boir-train: stopped", whole_process=argv is None)


def boir_eval() -> int:
    """Run `boir-eval`; its packages are imported here, where a signal is answered already."""

    def work() -> int:
        from boir_train.cli import eval as evaluation

        return evaluation.answer(None)

    return interrupt.command(work, "boir-eval: stopped", whole_process=True)


def _run(argv: Sequence[str] | None) -> int:
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
    except OSError as error:  # a file that nobody foresaw to be unreadable or unwritable
        print(f"boir-train: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
