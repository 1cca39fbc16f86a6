"""`boir-convert ovms`: bundle -> folder for OpenVINO Model Server."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

_DESCRIPTION = """\
Write a folder that OpenVINO Model Server can serve: the bundle's two graphs as two models with static shapes, the
server's config.json, a client example (KServe REST) with the facts it needs, and a README.

example:
  boir-convert ovms default --picture 640x480 --out server
  boir-convert ovms nano-bundle --size 384 --picture 1920x1080 --precision fp16 --people 8 --out server
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `boir-convert ovms` on `parser`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = _DESCRIPTION
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of a bundle, or default or small for an embedded one")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to make")
    parser.add_argument("--size", type=int, help="network size in pixels; default: the bundle's")
    parser.add_argument(
        "--picture",
        type=_picture,
        default=(640, 480),
        metavar="WxH",
        help="shape of the pictures that will come; others get a black border (default: 640x480)",
    )
    parser.add_argument("--precision", help="fp32, fp16 or int8, one of the bundle's; default: the bundle's default")
    parser.add_argument(
        "--people", type=int, default=4, metavar="N", help="people that the person model takes at a time (%(default)s)"
    )
    parser.add_argument("--name", help="models are called NAME-dense and NAME-person; default: the bundle's name")
    parser.add_argument("--model-version", type=int, default=1, metavar="V", help="the server's version (%(default)s)")
    parser.add_argument("--device", default="CPU", help="what the server is to run on (%(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace such a folder that is already there")
    parser.add_argument("--json", action="store_true", help="print what was made as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the folder, and print what it holds."""
    from boir_convert.ovms import Request, pack

    out = arguments.out.absolute()
    facts = pack(
        Request(
            bundle=arguments.bundle,
            out=out,
            name=arguments.name,
            version=arguments.model_version,
            precision=arguments.precision,
            size=arguments.size,
            picture=arguments.picture,
            people=arguments.people,
            device=arguments.device,
            overwrite=arguments.overwrite,
        )
    )
    if arguments.json:
        print(json.dumps({"folder": str(out), **facts}))
    else:
        print(
            f"{out}: {facts['dense']} and {facts['person']}, {facts['precision']}, network picture "
            f"{facts['width']} x {facts['height']}; README.md tells how to serve it"
        )
    return 0


def _picture(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT as two numbers; argparse words the error."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 640x480, got {text!r}")
    return int(match[1]), int(match[2])
