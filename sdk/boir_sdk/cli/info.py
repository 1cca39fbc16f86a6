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
    parser.add_argument(
        "bundle", nargs="?", default="default", metavar="BUNDLE", help="bundle folder, default or small"
    )
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out the command; return its exit code.

    Raises:
        BundleError: the bundle is missing, damaged, unknown or unsafe.
    """
    from boir_sdk import bundle

    description = bundle.read(args.bundle).describe()
    if args.json:
        print(json.dumps(description, indent=2))
        return 0
    report = description.pop("parity", None)
    print("\n".join([*essence(description), *([] if report is None else parity(report))]))
    return 0


def parity(report: Mapping[str, Any]) -> Iterator[str]:
    """Word the essence of a parity report: what each precision has and loses, and how far it agrees with PyTorch.

    Args:
        report: the content of `parity.json`, of any version: what it doesn't have isn't told.
    """
    protocol = _mapping(report.get("protocol"))
    told = [
        f"{protocol[key]} {name}" for key, name in (("images", "pictures"), ("people", "people")) if key in protocol
    ]
    told += [f"size {protocol['size']}"] if "size" in protocol else []
    told += [str(protocol["annotations"])] if "annotations" in protocol else []
    yield f"parity: {', '.join(told) or 'measured'}"
    for name, value in _mapping(report.get("precisions")).items():
        part = _mapping(value)
        words = [f"AP {100 * part['AP']:.1f}"] if isinstance(part.get("AP"), int | float) else []
        difference = _mapping(part.get("difference"))
        bounds = difference.get("interval_95")
        if isinstance(difference.get("AP"), int | float):
            words.append(f"{100 * difference['AP']:+.2f} against PyTorch")
            if isinstance(bounds, list) and len(bounds) == 2:
                words[-1] += f" (95 %: {100 * bounds[0]:+.2f} to {100 * bounds[1]:+.2f})"
        agreement = _mapping(part.get("agreement"))
        people, pixels = _mapping(agreement.get("people")), _mapping(agreement.get("pixels"))
        if {"matched", "reference", "only_other"} <= people.keys():
            words.append(f"{people['matched']} of {people['reference']} people, {people['only_other']} more")
        if isinstance(pixels.get("median"), int | float):
            words.append(f"joints {pixels['median']:.2f} px apart (median)")
        yield f"  {name}: {', '.join(words) or 'no figures'}"
    if isinstance(report.get("measured"), str):
        yield f"  measured: {report['measured']}, the whole report is parity/README.md in the bundle"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


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
