"""`boir info`: what a bundle is, after every byte of it was verified."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from boir_sdk.cli import text

EXAMPLES = """examples:
  boir info                    the embedded default model
  boir info bundles/w32        a bundle folder
  boir info --json             everything, for programs

A damaged, unknown or unsafe bundle is an error that names the file."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "info",
        help="tell what a model bundle is",
        description="Verify a model bundle and tell what it is: skeleton, sizes, thresholds, files, origin.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("bundle", nargs="?", default="default", metavar="BUNDLE", help="bundle folder, or default")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out the command; return its exit code.

    Raises:
        BundleError: the bundle is missing, damaged, unknown or unsafe.
    """
    from boir_sdk import bundle

    description = bundle.read(args.bundle).describe()
    print(json.dumps(description, indent=2) if args.json else "\n".join(essence(description)))
    return 0


def essence(description: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """Word a description for reading: a line a fact, without hashes and empty entries, bytes with units.

    Args:
        description: JSON-like; a mapping with `sha256` and `size` is a file, a list of mappings is only counted.
        depth: how deep it lies in a larger one.
    """
    margin = "  " * depth
    for key, value in description.items():
        name = key if "." in key else key.replace("_", " ")
        if value is None or value == "" or "sha256" in key:
            continue
        if isinstance(value, Mapping):
            if "sha256" in value and "size" in value:
                yield f"{margin}{name}: {text.size(value['size'])}"
            elif value:
                yield f"{margin}{name}:"
                yield from essence(value, depth + 1)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            if any(isinstance(item, Mapping) for item in value):
                yield f"{margin}{name}: {len(value)} entries (--json shows them)"
            elif value:
                yield f"{margin}{name}: {', '.join(str(item) for item in value)}"
        else:
            yield f"{margin}size: {text.size(value)}" if key == "bytes" else f"{margin}{name}: {value}"
