"""`boir-convert build`: checkpoint -> bundle."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from boir_sdk.errors import ConfigError

_DESCRIPTION = """\
Build a bundle from a checkpoint: the authors' published .pth.tar forms, a training checkpoint of boir-train, or
safetensors. Preset and skeleton are told from the weights; naming them makes sure.

example:
  boir-convert build --preset nano --checkpoint nano.safetensors --out nano-bundle
  boir-convert build --checkpoint nano.safetensors --precision int8 --calibration pictures --out nano-int8
  boir-convert build --checkpoint nano.safetensors --precision int8 --calibration pictures --out nano-int8 \\
      --annotations val.json --images val2017 --max-drop 1
  boir-convert build --preset w32 --checkpoint w32.pth.tar --protocol ochuman --precision fp32 --out w32-ochuman
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `boir-convert build` on `parser`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = _DESCRIPTION
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="file of weights")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to make")
    parser.add_argument("--preset", help="w32, w48, nano, nano-pure or small; default: told from the weights")
    parser.add_argument("--skeleton", help="coco17 or crowdpose14; default: told from the weights")
    parser.add_argument("--protocol", default="coco", help="coco, crowdpose or ochuman (default: %(default)s)")
    parser.add_argument(
        "--precision",
        nargs="+",
        default=["fp16"],
        metavar="P",
        help="fp32, fp16 (weights stored in half precision) and/or int8 (quantised, needs --calibration); the last one "
        "is the bundle's default (default: fp16)",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR|JSON",
        help="pictures that int8 is calibrated with: a folder, or a COCO-style file; a few hundred like those of use, "
        "never those it is judged on",
    )
    parser.add_argument("--calibration-images", type=Path, metavar="DIR", help="folder of the pictures of that file")
    parser.add_argument(
        "--calibration-size", type=int, default=200, metavar="N", help="pictures of it at most (%(default)s)"
    )
    parser.add_argument(
        "--annotations",
        type=Path,
        metavar="FILE",
        help="COCO-style keypoint JSON: measure the bundle against the checkpoint and put the report into it, as "
        "boir-convert parity does",
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of those pictures")
    parser.add_argument(
        "--max-drop",
        type=float,
        metavar="AP",
        help="write nothing if a precision loses more AP than this there, in points of 100",
    )
    parser.add_argument(
        "--pictures", type=int, default=4, metavar="N", help="overlays of those pictures to keep (%(default)s)"
    )
    parser.add_argument("--size", type=int, help="default network size in pixels; default: the preset's")
    parser.add_argument("--score-threshold", type=float, default=0.1, help="people below it are left out (%(default)s)")
    parser.add_argument("--keypoint-threshold", type=float, default=0.1, help="joints below it aren't drawn")
    parser.add_argument("--name", help="name of the bundle; default: boir-PRESET-SKELETON")
    parser.add_argument("--bundle-version", default="1", metavar="V", help="version of the weights (%(default)s)")
    parser.add_argument(
        "--provenance",
        type=Path,
        metavar="JSON",
        help="file with facts for manifest and model card: description, start, trained_on, evaluation, limits, licence",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a bundle that is already there")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Build, and print what was made."""
    from boir_convert.build import build
    from boir_convert.progress import Progress
    from boir_convert.request import Request

    request = Request(
        checkpoint=arguments.checkpoint,
        out=arguments.out.absolute(),
        preset=arguments.preset,
        skeleton=arguments.skeleton,
        protocol=arguments.protocol,
        precisions=tuple(dict.fromkeys(arguments.precision)),
        name=arguments.name,
        version=arguments.bundle_version,
        default_size=arguments.size,
        score_threshold=arguments.score_threshold,
        keypoint_threshold=arguments.keypoint_threshold,
        provenance={} if arguments.provenance is None else _facts(arguments.provenance),
        calibration=arguments.calibration,
        calibration_images=arguments.calibration_images,
        calibration_count=arguments.calibration_size,
        annotations=arguments.annotations,
        images=arguments.images,
        max_drop=arguments.max_drop,
        shown=arguments.pictures,
        overwrite=arguments.overwrite,
    )
    manifest = build(request, Progress(shown=not arguments.json))
    total = sum(entry.size for entry in manifest.files.values())
    if arguments.json:
        print(
            json.dumps(
                {"bundle": str(request.out), "name": manifest.name, "bytes": total, "files": len(manifest.files)}
            )
        )
    else:
        precisions = ", ".join(manifest.precisions)
        print(f"{request.out}: {manifest.name} {manifest.version}, {precisions}, {total / 1e6:.1f} MB")
    return 0


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read the provenance file {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"the provenance file {path} is not valid JSON: {error}") from None
    if not isinstance(facts, dict):
        raise ConfigError(f"the provenance file {path} holds {type(facts).__name__}, expected an object of facts")
    return facts
