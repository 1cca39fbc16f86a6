"""Ask OpenVINO Model Server for the people of a picture, over the REST interface of KServe.

This is an example to start from: the standard library, numpy, and boir_sdk for the way from a picture to the network
picture and from numbers to poses. It reads what it must know from `boir.json` beside it.

    python client.py people.jpg --url http://localhost:8000
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk import BoirError, Poses, image, oks, warp
from boir_sdk.errors import InferenceError, InputError
from boir_sdk.skeleton import get_skeleton

TIMEOUT_S = 60.0
TYPES = {"FP32": np.float32, "UINT8": np.uint8, "INT64": np.int64, "INT32": np.int32}
NAMES = {np.dtype(kind): name for name, kind in TYPES.items()}
PER_PERSON = ("vectors", "regress")  # one row a person; the other outputs of the dense graph are maps for everybody


def find_people(picture_bgr: NDArray[np.uint8], url: str, facts: Mapping[str, Any]) -> Poses:
    """Return the people of a picture as `boir_sdk.PoseEstimator` would.

    Args:
        picture_bgr: uint8 [H, W, 3].
        url: of the server, such as http://localhost:8000.
        facts: the content of boir.json.

    Raises:
        InputError: the picture is too elongated for the network picture that the server was set up for.
        InferenceError: the server can't be reached, or refuses.
    """
    skeleton = get_skeleton(facts["skeleton"])
    network, fit = network_picture(picture_bgr, facts)
    dense = infer(url, facts["dense"], {"picture": network[None]})
    people = dense.pop("people")
    # Who scores too little as a centre already can't score enough as a person.
    threshold = max(facts["center_threshold"], float(np.nextafter(np.float32(facts["score_threshold"]), np.float32(0))))
    count = int((people[:, 0] > np.float32(threshold)).sum())
    batch = int(facts["people"])
    found = [np.zeros((0, len(skeleton), 3), np.float32)]
    for start in range(0, count, batch):
        rows = np.minimum(np.arange(start, start + batch), count - 1)  # the last person fills the places left over
        inputs = {name: value[:, rows] if name in PER_PERSON else value for name, value in dense.items()}
        inputs["center_yx"] = people[rows, 1:]
        found.append(infer(url, facts["person"], inputs)["keypoints"][: count - start])
    keypoints = np.concatenate(found)
    xy = warp.back(keypoints[:, :, :2], fit)
    keypoint_scores = keypoints[:, :, 2] * people[:count, :1]
    scores = keypoint_scores.mean(axis=1, dtype=np.float32)
    kept = oks.suppress(xy, scores, skeleton.sigmas, facts["oks_threshold"])
    kept = kept[scores[kept] >= facts["score_threshold"]]
    return Poses(xy[kept], keypoint_scores[kept], scores[kept], skeleton)


def network_picture(picture_bgr: NDArray[np.uint8], facts: Mapping[str, Any]) -> tuple[NDArray[np.uint8], warp.Fit]:
    """Lay a picture into the server's network picture: as large as fits, the rest black.

    A picture of the aspect that the server was set up for fills it, as `PoseEstimator` would have it.
    """
    height, width = facts["height"], facts["width"]
    for size in range(facts["size"], 0, -facts["multiple"]):
        fit = warp.fit(
            picture_bgr.shape[0],
            picture_bgr.shape[1],
            size,
            rule=facts["fit_rule"],
            multiple=facts["multiple"],
            resample=facts["resample"],
        )
        if fit.height <= height and fit.width <= width:
            network = np.zeros((height, width, 3), dtype=np.uint8)
            network[: fit.height, : fit.width] = warp.apply(picture_bgr, fit)
            return network, fit
    raise InputError(
        f"a picture of {picture_bgr.shape[1]} x {picture_bgr.shape[0]} pixels is too elongated for the server's "
        f"{width} x {height}: crop it, or make the folder for its size (boir-convert ovms --picture)"
    )


def infer(url: str, model: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Run one model on the server, tensors as bytes behind the JSON (KServe's binary extension).

    Args:
        url: of the server.
        model: its name there.
        inputs: arrays by name.

    Returns:
        All outputs by name.

    Raises:
        InferenceError: the server can't be reached, refuses, or answers something else.
    """
    arrays = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
    head = {
        "inputs": [
            {
                "name": name,
                "shape": list(value.shape),
                "datatype": NAMES[value.dtype],
                "parameters": {"binary_data_size": value.nbytes},
            }
            for name, value in arrays.items()
        ],
        "parameters": {"binary_data_output": True},
    }
    text = json.dumps(head).encode()
    request = urllib.request.Request(  # noqa: S310 - the address is the caller's own
        f"{url.rstrip('/')}/v2/models/{model}/infer",
        data=text + b"".join(value.tobytes() for value in arrays.values()),
        headers={"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))},
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
            body, length = answer.read(), answer.headers.get("Inference-Header-Content-Length")
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")[:500]
        raise InferenceError(f"{url} refuses {model}: {error.code} {said}") from None
    except (OSError, ValueError) as error:
        raise InferenceError(f"no answer from {url} ({error}): is the server running?") from None
    try:
        return outputs(body, None if length is None else int(length))
    except (ValueError, KeyError, TypeError) as error:
        raise InferenceError(f"{url} answered something that isn't KServe's ({error!r})") from None


def outputs(body: bytes, length: int | None) -> dict[str, NDArray[Any]]:
    """Take an answer apart: tensors are in the JSON, or as bytes behind its `length` bytes."""
    place = len(body) if length is None else length
    found: dict[str, NDArray[Any]] = {}
    for output in json.loads(body[:place])["outputs"]:
        kind = TYPES[output["datatype"]]
        if "data" in output:
            values = np.array(output["data"], dtype=kind)
        else:
            size = int(output["parameters"]["binary_data_size"])
            values = np.frombuffer(body[place : place + size], dtype=kind)
            place += size
        found[output["name"]] = values.reshape(output["shape"])
    return found


def main(argv: list[str] | None = None) -> int:
    """Find the people of the pictures named; returns 0, or 1 after an error in one line."""
    parser = argparse.ArgumentParser(description="Find people through OpenVINO Model Server.")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE")
    parser.add_argument("--url", default="http://localhost:8000", help="of the server (%(default)s)")
    parser.add_argument("--facts", type=Path, default=Path(__file__).with_name("boir.json"), help="boir.json")
    arguments = parser.parse_args(argv)
    try:
        facts = json.loads(arguments.facts.read_text(encoding="utf-8"))
        for name in arguments.pictures:
            poses = find_people(image.read(name), arguments.url, facts)
            print(json.dumps({"picture": name, **poses.to_dict()}))
    except (BoirError, OSError, ValueError) as error:
        print(f"client: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
