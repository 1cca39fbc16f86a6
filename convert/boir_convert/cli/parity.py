"""`boir-convert parity`: measure a bundle against its checkpoint, and put the report into it."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_DESCRIPTION = """\
Measure what a conversion cost: the same annotated pictures through the PyTorch checkpoint and through every precision
of a bundle, by one protocol and one code path. The report goes into the bundle as parity.json and as a page, parity/,
with the pictures that agree least; `boir info` prints its essence. The bundle is replaced as a whole or left as it was.

AP is COCO's (or that of the protocol the bundle was built for), without flip test. Differences come with a 95 %
interval from a paired bootstrap over pictures. Use pictures that were neither trained on nor calibrated with. The
overlays put a few of them into the bundle: say --pictures 0 if those may not be passed on.

example:
  boir-convert parity nano-bundle --checkpoint nano.safetensors --annotations val.json --images val2017
  boir-convert parity nano-int8 --checkpoint nano.safetensors --annotations val.json --images val2017 --all
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `boir-convert parity` on `parser`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = _DESCRIPTION
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle's folder; it gets the report")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="weights it was made from")
    parser.add_argument("--annotations", type=Path, required=True, metavar="FILE", help="COCO-style keypoint JSON")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of the pictures")
    parser.add_argument("--size", type=int, metavar="PX", help="network size; default: the bundle's")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N pictures of the file")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads; default: the libraries' choice")
    parser.add_argument(
        "--all",
        action="store_true",
        help="measure fp32 and fp16 too where the bundle lacks them (built from the checkpoint for this, not kept), "
        "and int8 if --calibration is given",
    )
    parser.add_argument(
        "--calibration", type=Path, metavar="DIR|JSON", help="for --all: pictures to calibrate int8 with"
    )
    parser.add_argument("--calibration-images", type=Path, metavar="DIR", help="folder of the pictures of that file")
    parser.add_argument(
        "--pictures", type=int, default=4, metavar="N", help="overlays of pictures to keep in the bundle (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Measure, write the report into the bundle, and print it."""
    from boir_convert import parity, writer
    from boir_convert.build import build_further
    from boir_convert.progress import Progress
    from boir_sdk import bundle as bundles
    from boir_sdk.errors import ConfigError

    if arguments.calibration is not None and not arguments.all:
        raise ConfigError("--calibration is for precisions that are built for the comparison: say --all too")
    progress = Progress(shown=not arguments.json)
    bundle = bundles.read(arguments.bundle)
    with tempfile.TemporaryDirectory(prefix="boir-parity-") as folder:
        further = None
        if arguments.all:
            further = build_further(
                bundle,
                arguments.checkpoint,
                Path(folder) / "further",
                calibration=arguments.calibration,
                calibration_images=arguments.calibration_images,
                progress=progress,
            )
        request = parity.Request(
            bundle=bundle.path,
            checkpoint=arguments.checkpoint,
            annotations=arguments.annotations,
            images=arguments.images,
            further=further,
            size=arguments.size,
            limit=arguments.limit,
            threads=arguments.threads,
            shown=arguments.pictures,
        )
        result = parity.measure(request, progress)
    progress.step("writing the report into the bundle")
    writer.extend(bundle.path, result.files)
    print(json.dumps(result.report) if arguments.json else "\n".join(_lines(bundle.path, result.report)))
    return 0


def _lines(folder: Path, report: Mapping[str, Any]) -> Iterator[str]:
    from boir_convert import parity_page

    protocol = report["protocol"]
    yield f"{protocol['dataset']}, {protocol['images']} pictures, {protocol['people']} people, size {protocol['size']}"
    for name, part in report["precisions"].items():
        text = f"  {name:<8} AP {100 * part['AP']:5.1f}"
        if "difference" in part:
            low, high = (100 * bound for bound in part["difference"]["interval_95"])
            people = part["agreement"]["people"]
            text += f"   {100 * part['difference']['AP']:+.2f} (95 %: {low:+.2f} to {high:+.2f})"
            text += f"   people {people['matched']} of {people['reference']} matched, {people['only_other']} added"
        yield text
    if not report["checkpoint"]["is_the_bundles"]:
        yield "mind: by its hash, the bundle was made from another file than this checkpoint"
    yield f"written to {folder / 'parity.json'} and {folder / parity_page.NAME}"
