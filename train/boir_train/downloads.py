"""Where the files come from that this project can't bring along: data sets and start weights (SPEC-training T4.5).

An error about a missing file ends with `hint(path)`: what to fetch, and where to put it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Download:
    """Files or folders of one origin.

    Attributes:
        names: as they are called here, and as they are called where they come from.
        fetch: what to fetch, and from whom.
        place: the folder that the configurations of this package expect them in.
    """

    names: tuple[str, ...]
    fetch: str
    place: str


COCO = "cocodataset.org (Dataset, Download)"
CROWDPOSE = "the CrowdPose project (github.com/Jeff-sjtu/CrowdPose)"
OCHUMAN = "the OCHuman project (github.com/liruilong940607/OCHumanApi)"
HRNET = "the HRNet authors' classification models (github.com/HRNet/HRNet-Image-Classification)"

DOWNLOADS = (
    Download(
        ("person_keypoints_train2017.json", "person_keypoints_val2017.json", "coco_train.json", "coco_val.json"),
        f"annotations_trainval2017.zip from {COCO}",
        "data/coco/annotations",
    ),
    Download(
        ("image_info_test-dev2017.json", "coco_test.json"),
        f"image_info_test2017.zip from {COCO}",
        "data/coco/annotations",
    ),
    Download(("train2017",), f"train2017.zip from {COCO}", "data/coco/images"),
    Download(("val2017",), f"val2017.zip from {COCO}", "data/coco/images"),
    Download(("test2017",), f"test2017.zip from {COCO}", "data/coco/images"),
    Download(
        ("crowdpose_trainval.json",),
        f"crowdpose_train.json and crowdpose_val.json from {CROWDPOSE}, and join their `images` and `annotations`",
        "data/crowdpose/annotations",
    ),
    Download(
        ("crowdpose_test.json", "crowdpose_train.json", "crowdpose_val.json"),
        f"the annotations from {CROWDPOSE}",
        "data/crowdpose/annotations",
    ),
    Download(("crowdpose/images",), f"images.zip from {CROWDPOSE}", "data/crowdpose"),
    Download(
        (
            "ochuman_val.json",
            "ochuman_test.json",
            "ochuman_coco_format_val_range_0.00_1.00.json",
            "ochuman_coco_format_test_range_0.00_1.00.json",
        ),
        f"the COCO-format annotations from {OCHUMAN}",
        "data/ochuman/annotations",
    ),
    Download(("ochuman/images",), f"images.zip from {OCHUMAN}", "data/ochuman"),
    Download(("hrnet_w32-36af842e.pth",), f"HRNet-W32 trained on ImageNet, from {HRNET}", "model/imagenet"),
    Download(
        ("hrnetv2_w48_imagenet_pretrained.pth",), f"HRNet-W48 trained on ImageNet, from {HRNET}", "model/imagenet"
    ),
    Download(
        ("movenet_multipose_lightning.safetensors",),
        "MoveNet MultiPose Lightning v1 from Google, as safetensors (docs/models.md)",
        "model",
    ),
    Download(
        ("small-start.safetensors",),
        "human-pose-estimation-0001 (FP16-INT8) from OpenVINO's Open Model Zoo, join it to nano by boir-train start",
        "model",
    ),
)


def hint(path: Path | str) -> str:
    """Say what to fetch for a missing file or folder.

    Args:
        path: as the user or a configuration named it; its last part, or its last two, are looked up.

    Returns:
        `"; fetch ..., and put it into ..."`, or what to train first for `runs/<configuration>/...`; empty for a path
        that isn't known.
    """
    path = Path(path)
    tails = (path.name, "/".join(path.parts[-2:]))
    for download in DOWNLOADS:
        if any(tail in download.names for tail in tails):
            return f"; fetch {download.fetch}, and put {path.name} into {download.place}"
    if path.suffix == ".safetensors" and path.parent.parent.name == "runs":
        name = path.parent.name
        return f"; train it first: boir-train fit --config {name} --out runs/{name}"
    return ""
