"""`boir-convert`: turn a trained checkpoint into a bundle."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence

from boir_sdk import __version__
from boir_sdk.cli import interrupt
from boir_sdk.errors import BoirError

_DESCRIPTION = """\
Turn a trained checkpoint into a bundle: a folder with two small OpenVINO graphs, a manifest with the hash of every
file, and a model card. `boir predict --model FOLDER` and PoseEstimator(model="FOLDER") run it. Further commands measure
what a conversion costs, and write for other runtimes.

example:
  boir-convert build --preset nano --checkpoint nano.safetensors --precision fp32 fp16 --out nano-bundle
  boir info nano-bundle
  boir-convert onnx --checkpoint nano.safetensors --out nano.onnx
  boir-convert ovms nano-bundle --out server
"""

_COMMANDS = {
    "build": "checkpoint -> bundle",
    "parity": "what a bundle's precisions lose against its checkpoint, measured",
    "onnx": "checkpoint -> one ONNX file",
    "ovms": "bundle -> folder for OpenVINO Model Server",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0 done, 1 an error that was explained, 2 wrong usage, 130 interrupted."""
    return interrupt.command(
        lambda: _run(argv), "boir-convert: interrupted, nothing was written", whole_process=argv is None
    )


def _run(argv: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        "boir-convert", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"boir-convert {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in _COMMANDS.items():
        importlib.import_module(f"boir_convert.cli.{name}").add_arguments(commands.add_parser(name, help=what))
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        return int(arguments.run(arguments))
    except BoirError as error:
        if getattr(arguments, "json", False):
            print(json.dumps({"error": {"code": error.code, "message": str(error)}}))
        print(f"boir-convert: error: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a file that nobody foresaw to be unreadable or unwritable
        print(f"boir-convert: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
