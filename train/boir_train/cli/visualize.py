"""`boir-train visualize`: the paper's figures of a picture."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
from tqdm import tqdm

from boir_sdk import image
from boir_sdk.cli.files import write_atomic
from boir_sdk.errors import DataError
from boir_train import subject, visualize
from boir_train.cli.numbers import fraction, natural, positive

DESCRIPTION = """\
Draw what a checkpoint sees in a picture, as the paper's Figures 1, 3 and 4 to 6 do:

  center.png         the centre map that people are found in, red where it is largest; a ring round each person's centre
  features.png       the backbone feature as colour: cells that are alike have like colours (t-SNE to three dimensions)
  similarity-N.png   how like every cell's feature is to that at the centre of person N (cosine; red is alike)
  poses.png          the people found
  panel.png          all of these in one picture

People are numbered from 1 in falling order of score. A bundle can't be drawn: it never gives out its feature.
"""
EPILOG = """\
examples:
  boir-train visualize people.jpg --checkpoint weights/nano.safetensors --out figures
  boir-train visualize crowd.jpg --checkpoint runs/coco_w32/final.safetensors --device cuda --people 6 --out figures
  boir-train visualize people.jpg --checkpoint w32.pth.tar --projection pca --out figures   (no t-SNE: faster)

exit codes: 0 done, 1 failed (the message says why), 2 wrong usage, 130 interrupted
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments on `parser`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("picture", type=Path, metavar="PICTURE", help="a picture file (EXIF orientation is heeded)")
    parser.add_argument("--checkpoint", required=True, type=Path, metavar="FILE", help="weights, in any published form")
    parser.add_argument("--out", type=Path, default=Path("figures"), metavar="DIR", help="folder to write to (figures)")
    parser.add_argument("--preset", help="of a checkpoint that doesn't show it: w32, w48, nano, nano-pure, small")
    parser.add_argument(
        "--dataset", choices=("coco", "crowdpose", "ochuman"), help="protocol; default: by the model's skeleton"
    )
    parser.add_argument("--size", type=positive, metavar="PX", help="network size; default: the model's own")
    parser.add_argument("--flip", action="store_true", help="find people with the flip test")
    parser.add_argument("--device", default="cpu", metavar="D", help="PyTorch device (cpu)")
    parser.add_argument(
        "--projection", choices=get_args(visualize.Projection), default="tsne", help="feature to colour (tsne)"
    )
    parser.add_argument("--people", type=natural, default=4, metavar="N", help="so many get a similarity figure (4)")
    parser.add_argument(
        "--score-threshold", type=fraction, default=0.1, metavar="S", help="people below are left out (0.1)"
    )
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="of t-SNE (0)")
    parser.add_argument("--json", action="store_true", help="print the files and the people found as JSON")


def run(args: argparse.Namespace) -> int:
    """Look, draw and write; returns the exit code.

    Raises:
        BoirError: the user can mend it; the message says how.
    """
    if args.projection == "tsne":
        visualize.check_tsne()
    image_bgr = image.read(args.picture)
    network, dataset = subject.network(args.checkpoint, args.preset, args.dataset, args.device)
    view = visualize.look(
        network,
        image_bgr,
        size=args.size,
        flip_test=args.flip,
        protocol=dataset,
        score_threshold=args.score_threshold,
    )
    figures = _figures(args, view)
    figures["panel"] = visualize.panel(figures)
    files = []
    for name, figure in figures.items():
        path = args.out / f"{name.replace(' ', '-')}.png"
        done, data = cv2.imencode(".png", figure)
        if not done:
            raise DataError(f"{path} can't be encoded as PNG")
        write_atomic(path, np.asarray(data).tobytes())
        files.append(str(path))
    report = {
        "picture": str(args.picture),
        "checkpoint": str(args.checkpoint),
        "largest_center_value": round(float(view.center_map.max()), 4),
        "people": [round(float(score), 4) for score in view.poses.scores],
        "files": files,
    }
    print(json.dumps(report, indent=2) if args.json else "\n".join(_lines(report)))
    return 0


def _figures(args: argparse.Namespace, view: visualize.View) -> dict[str, visualize.Picture]:
    """Every figure by its name."""
    figures = {"poses": visualize.pose_figure(view), "center": visualize.center_figure(view)}
    with tqdm(total=1, desc=args.projection, unit="projection", disable=args.json or None) as bar:
        figures["features"] = visualize.feature_figure(view, args.projection, args.seed)
        bar.update()
    for number, figure in enumerate(visualize.similarity_figures(view, args.people), start=1):
        figures[f"similarity {number}"] = figure
    return figures


def _lines(report: dict[str, Any]) -> list[str]:
    scores = ", ".join(f"{score:.2f}" for score in report["people"]) or "nobody: try a lower --score-threshold"
    return [f"{len(report['people'])} people (scores {scores})", *report["files"]]
