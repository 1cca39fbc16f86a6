"""What a graph says of itself, so that the file alone is enough: OpenVINO's `rt_info` and ONNX's metadata.

Two blocks of text values (lists are words with spaces between). `model_info` has the keys that OpenVINO's Model API
reads; `boir` is ours, and the same in an ONNX file, where each key has `boir.` in front.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from boir_sdk.manifest import Manifest
from boir_sdk.quiet_openvino import ov
from boir_sdk.skeleton import Skeleton, get_skeleton

SCHEMA = 1


def model_api(manifest: Manifest, part: str) -> dict[str, str]:
    """Return the block `model_info` of one graph in Model API's form; only the dense part takes pictures.

    Mean, scale and colour order are inside the graph, so what a caller has to do about them is nothing. Resizing is not
    inside (`embedded_processing`): `fit_to_window` keeps the aspect with the border right and bottom, `_letterbox`
    all round, as `boir_sdk.warp` does with "area" and "bilinear".
    """
    block = {
        "model_type": "BoIR",
        "labels": "person",
        "confidence_threshold": str(manifest.score_threshold),
    }
    if part == "person":
        return block
    area = manifest.resample == "area"
    return block | {
        "mean_values": "0 0 0",
        "scale_values": "1 1 1",
        "reverse_input_channels": "False",
        "resize_type": "fit_to_window" if area else "fit_to_window_letterbox",
        "interpolation_mode": "AREA" if area else "LINEAR",
        "pad_value": "0",
        "input_dtype": "u8",
        "embedded_processing": "False",
    }


def own(manifest: Manifest, part: str, precision: str) -> dict[str, str]:
    """Return the block `boir` of one graph of a bundle.

    Args:
        manifest: the bundle's; its file list may still be empty.
        part: `dense` or `person`.
        precision: `fp32`, `fp16` or `int8`.
    """
    return {
        "schema": str(SCHEMA),
        "name": manifest.name,
        "version": manifest.version,
        "preset": manifest.preset,
        "part": part,
        "precision": precision,
        "protocol": manifest.protocol,
        **of_skeleton(get_skeleton(manifest.skeleton)),
        "stride": str(manifest.stride),
        "multiple": str(manifest.multiple),
        "fit_rule": manifest.fit_rule,
        "resample": manifest.resample,
        "buckets": words(manifest.sizes),
        "default_size": str(manifest.default_size),
        "max_people": str(manifest.max_people),
        "person_batches": words(manifest.person_batches),
        "center_threshold": str(manifest.center_threshold),
        "score_threshold": str(manifest.score_threshold),
        "keypoint_threshold": str(manifest.keypoint_threshold),
        "oks_threshold": str(manifest.oks_threshold),
        "pool_kernel": str(manifest.pool_kernel),
        "sha256_of_source": str(manifest.provenance.get("checkpoint_sha256", "unknown")),
        "train_run": str(manifest.provenance.get("train_run", "unknown")),
    }


def of_skeleton(skeleton: Skeleton) -> dict[str, str]:
    """Return what the K keypoints are, in their order: names, sigmas, and who changes places in a mirrored picture."""
    return {
        "skeleton": skeleton.name,
        "keypoints": words(name.replace(" ", "_") for name in skeleton.keypoints),
        "sigmas": words(skeleton.sigmas),
        "flip_index": words(skeleton.flip_index),
        "limbs": words(f"{a}-{b}" for a, b in skeleton.limbs),
    }


def stamp(model: ov.Model, block: str, values: Mapping[str, str]) -> None:
    """Write a block into an OpenVINO model's `rt_info`; values that were there before are replaced."""
    for key, value in values.items():
        model.set_rt_info(value, [block, key])


def words(values: Iterable[object]) -> str:
    """Join values with single spaces, as Model API writes lists."""
    return " ".join(str(value) for value in values)
