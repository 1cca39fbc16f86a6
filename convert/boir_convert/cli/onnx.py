"""`boir-convert onnx`: checkpoint -> one ONNX file."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from boir_sdk.errors import ConfigError

_DESCRIPTION = """\
Export a checkpoint as one ONNX file with the whole of inference inside, for runtimes other than OpenVINO and as a
second opinion: a network picture in (uint8 BGR [1, H, W, 3], made by boir_sdk.warp; of one fixed size, or of any with
--free-size), the 30 best people out.

  centers    [30, 3]      centre score, y, x in cells of 4 pixels, the best first
  keypoints  [30, K, 3]   x, y in pixels of the network picture, and the keypoint's score
  scores     [30]         of the people, 0 for a place that nobody takes

The file is simplified by onnxsim and carries keypoint names, limbs, sigmas, sizes and thresholds as metadata. Before it
is written, onnxruntime must give PyTorch's people: scores within 1e-4, keypoints within 0.01 pixels. Suppression of
doubles and the way back to the picture are left to you: boir_sdk.oks.suppress, boir_sdk.warp.back.

example:
  boir-convert onnx --checkpoint nano.safetensors --out nano.onnx
  boir-convert onnx --checkpoint w32.pth.tar --size 512 768 --flip-test --out w32.onnx
  boir-convert onnx --checkpoint nano.safetensors --free-size --out any-size.onnx
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `boir-convert onnx` on `parser`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = _DESCRIPTION
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="file of weights")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="ONNX file to make")
    parser.add_argument("--preset", help="w32, w48, nano, nano-pure or small; default: told from the weights")
    parser.add_argument("--skeleton", help="coco17 or crowdpose14; default: told from the weights")
    parser.add_argument("--protocol", default="coco", help="coco, crowdpose or ochuman (default: %(default)s)")
    parser.add_argument(
        "--size",
        type=int,
        nargs="+",
        metavar="N",
        help="network picture of N x N pixels, or HEIGHT WIDTH; default: the preset's default size, square",
    )
    parser.add_argument(
        "--free-size",
        action="store_true",
        help="one file for pictures of every size (sides as boir_sdk.warp makes them); --size is only checked first",
    )
    parser.add_argument("--flip-test", action="store_true", help="look at the mirrored picture too, inside the graph")
    parser.add_argument("--score-threshold", type=float, default=0.1, help="for the metadata (%(default)s)")
    parser.add_argument("--keypoint-threshold", type=float, default=0.1, help="for the metadata (%(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is already there")
    parser.add_argument("--json", action="store_true", help="print what was made and checked as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Export, and print what was made and how well it agrees.

    Raises:
        ConfigError: --size has more than two numbers.
    """
    from boir_convert.onnx_export import Request, export
    from boir_convert.progress import Progress

    request = Request(
        checkpoint=arguments.checkpoint,
        out=arguments.out.absolute(),
        preset=arguments.preset,
        skeleton=arguments.skeleton,
        protocol=arguments.protocol,
        shape=_shape(arguments.size),
        free_size=arguments.free_size,
        flip_test=arguments.flip_test,
        score_threshold=arguments.score_threshold,
        keypoint_threshold=arguments.keypoint_threshold,
        overwrite=arguments.overwrite,
    )
    agreement = export(request, Progress(shown=not arguments.json))
    size = request.out.stat().st_size
    if arguments.json:
        print(json.dumps({"file": str(request.out), "bytes": size, "agreement": dataclasses.asdict(agreement)}))
    else:
        print(
            f"{request.out}: {size / 1e6:.1f} MB; onnxruntime against PyTorch on {agreement.pictures} pictures, "
            f"{agreement.people} people: scores within {agreement.score:.1g}, "
            f"keypoints within {agreement.pixels:.1g} pixels"
        )
    return 0


def _shape(size: list[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    if len(size) > 2:
        raise ConfigError(f"--size takes one number or HEIGHT WIDTH, got {' '.join(map(str, size))}")
    return size[0], size[-1]
