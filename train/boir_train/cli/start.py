"""`boir-train start`: put the start weights of `small` together."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from boir_sdk.errors import InputError

DESCRIPTION = """\
Put the start of `small` together: weights of `nano`, and the second trunk's from the public OpenVINO graph of
human-pose-estimation-0001 (Intel, Apache-2.0), whose eight-bit weights are taken as the numbers they stand for. The
result is a whole model in which nothing was trained yet; it can be measured, converted, and trained on
(boir-train fit --config small --set model.weights=OUT).
"""
EPILOG = """\
example:
  boir-train start --nano weights/nano.safetensors --second human-pose-estimation-0001-int8.xml \\
      --out small-start.safetensors

exit codes: 0 done, 1 failed (the message says why), 2 wrong usage, 130 interrupted (nothing is written)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments on `parser`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("--nano", required=True, type=Path, metavar="FILE", help="whole weights of nano")
    parser.add_argument("--second", required=True, type=Path, metavar="XML", help="the graph; its .bin lies beside it")
    parser.add_argument("--out", required=True, type=Path, metavar="OUT", help="safetensors file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")


def run(args: argparse.Namespace) -> int:
    """Write the weights; return 0."""
    from boir_train import checkpoint
    from boir_train.model import small_start

    if args.out.exists() and not args.overwrite:
        raise InputError(f"{args.out} is already there: name another file, or replace it with --overwrite")
    state = small_start.assemble(args.nano, args.second).state_dict()
    checkpoint.save(args.out, state, half=True)
    parameters = sum(tensor.numel() for tensor in state.values())
    if args.json:
        print(json.dumps({"out": str(args.out), "tensors": len(state), "parameters": parameters}))
    else:
        print(f"{args.out}: {len(state)} tensors, {parameters / 1e6:.2f} M parameters", file=sys.stderr)
    return 0
