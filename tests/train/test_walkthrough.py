"""The commands of docs/training.md, run one after the other on a few drawn pictures and a thin network."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from boir_sdk.errors import BoirError
from boir_sdk.skeleton import COCO17, CROWDPOSE14, Skeleton
from boir_train import checkpoint, config
from boir_train.cli import eval as boir_eval
from boir_train.cli.main import COMMANDS, main
from boir_train.model import boir
from boir_train.model.hrnet import HRNet
from tests.conftest import ROOT

GUIDE = ROOT / "docs" / "training.md"
WIDTH = 4  # of the backbone's first branch instead of 32: the same code on a network that trains in a second
# What keeps a command small; a later --set has the last word.
SMALL = {
    "fit": "--set train.device=cpu train.threads=1 train.batch_size=2 train.max_iterations=2 data.sizes=[64] "
    "data.workers=0",
    "eval": "--size 64 --threads 1",
    "visualize": "--size 128",
    "benchmark tables": "--presets nano",
}
NAMES = {
    "data/coco": ("person_keypoints_train2017", "person_keypoints_val2017", "image_info_test-dev2017"),
    "data/crowdpose": ("crowdpose_train", "crowdpose_val", "crowdpose_test"),
    "data/ochuman": ("ochuman_coco_format_val_range_0.00_1.00", "ochuman_coco_format_test_range_0.00_1.00"),
}
FOLDERS = {"person_keypoints_train2017": "train2017", "person_keypoints_val2017": "val2017"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)


def commands() -> list[list[str]]:
    return [shlex.split(line, comments=True) for block in blocks("bash") for line in block.splitlines() if line]


def write_set(root: Path, name: str, skeleton: Skeleton, first_id: int, count: int) -> None:
    """Write an annotation file with `count` pictures of one person each, and the pictures."""
    generator = np.random.default_rng(first_id)
    folder = root / "images" / {**FOLDERS, "image_info_test-dev2017": "test2017"}.get(name, "")
    folder.mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    images, people = [], []
    for image_id in range(first_id, first_id + count):
        # Coarse noise: no two pictures have hashes that are alike.
        coarse = generator.integers(0, 256, (8, 10, 3)).astype(np.uint8)
        file = f"{image_id:012}.jpg"
        cv2.imwrite(str(folder / file), cv2.resize(coarse, (128, 96), interpolation=cv2.INTER_CUBIC))
        images.append({"id": image_id, "file_name": file, "width": 128, "height": 96, "crowdIndex": 0.4})
        xy = generator.uniform((20, 10), (100, 85), (len(skeleton), 2)).round()
        low, high = xy.min(axis=0), xy.max(axis=0)
        person = {"id": image_id, "image_id": image_id, "category_id": 1, "iscrowd": 0, "num_keypoints": len(skeleton)}
        person |= {"keypoints": np.hstack([xy, np.full((len(skeleton), 1), 2.0)]).ravel().tolist()}
        person |= {"bbox": [*low.tolist(), *(high - low).tolist()], "area": float(np.prod(high - low))}
        people.append({**person, "segmentation": [[*low.tolist(), high[0], low[1], *high.tolist()]]})
    content = {"images": images, "categories": [{"id": 1, "name": "person", "keypoints": list(skeleton.keypoints)}]}
    if not name.startswith("image_info"):
        content["annotations"] = people
    (root / "annotations" / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`w32` with a narrow backbone, wherever a network is built or told by its shapes."""
    monkeypatch.setitem(boir.WIDTHS, "w32", WIDTH)
    monkeypatch.setitem(checkpoint.SHAPES_OF, "w32", (WIDTH, 15 * WIDTH, 2 * WIDTH))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thin: None) -> Path:
    """The work folder as section 2 of the guide leaves it, small."""
    first_id = 1
    for root, names in NAMES.items():
        for name in names:
            skeleton = CROWDPOSE14 if root.endswith("crowdpose") else COCO17
            write_set(tmp_path / root, name, skeleton, first_id, 4)
            first_id += 100
    # The guide draws this picture of val2017.
    some = next((tmp_path / "data/coco/images/val2017").iterdir())
    shutil.copy(some, some.with_name("000000000139.jpg"))
    (tmp_path / "model" / "imagenet").mkdir(parents=True)
    torch.save(HRNet(WIDTH).state_dict(), tmp_path / "model" / "imagenet" / "hrnet_w32-36af842e.pth")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(words: list[str]) -> int:
    """Run one command of the guide, kept small."""
    if words[0] == "boir-train":
        small = next((more for task, more in SMALL.items() if words[1:][: len(task.split())] == task.split()), "")
        return main([*words[1:], *shlex.split(small)])
    assert words[0] == "boir-eval", words
    return boir_eval.main([*words[1:], *SMALL["eval"].split()])


def test_the_guide_leads_from_an_empty_folder_to_figures(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in commands():
        code = run(words)
        told = capsys.readouterr()
        assert code == 0, f"{shlex.join(words)}\n{told.out}\n{told.err}"
    made = {str(path.relative_to(work)) for path in work.rglob("*") if path.is_file()}
    assert {"runs/coco_w32/final.safetensors", "runs/crowdpose_w32_finetune/final.safetensors"} <= made
    assert {"tables/benchmarks.md", "figures/panel.png", "submitted/keypoints_cocotestdev_results.json"} <= made
    whole = json.loads((work / "results/coco_w32.json").read_text())
    assert (whole["images"], whole["protocol"]["flip_test"]) == (4, True)
    crowd = json.loads((work / "results/crowdpose_w32_finetune.json").read_text())
    assert {"AP_easy", "AP_medium", "AP_hard"} <= crowd.keys()
    assert "AP" not in json.loads((work / "results/coco_w32_testdev.json").read_text())
    # Four pictures are never put beside the paper's five thousand.
    table = (work / "tables/benchmarks.md").read_text()
    assert "`coco_w32`: not run: results/coco_w32.json doesn't count (4 of 5,000 pictures" in table
    assert "rehearsal" in table


@pytest.mark.parametrize(
    ("lost", "command", "message"),
    [
        ("data", "fit --config coco_w32 --out runs/x", "fetch annotations_trainval2017.zip"),
        ("data/coco/images", "fit --config coco_w32 --out runs/x", "fetch train2017.zip"),
        ("model", "fit --config coco_w32 --out runs/x", "fetch HRNet-W32 trained on ImageNet"),
        ("model", "fit --config crowdpose_w32 --out runs/x", "data/crowdpose/annotations"),
        ("data/ochuman", "data check --dataset ochuman --root data/ochuman", "the OCHuman project"),
        (
            "runs",
            "eval --model runs/coco_w32/final.safetensors --annotations a --images b --json c",
            "train it first: boir-train fit --config coco_w32",
        ),
        (
            "data/coco/images/val2017",
            "data check --dataset coco --root data/coco",
            "fetch val2017.zip",
        ),
    ],
)
def test_what_is_missing_says_what_to_fetch_and_where_to_put_it(
    lost: str, command: str, message: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(work / lost, ignore_errors=True)
    words = ["boir-train", *command.split()]
    assert run(words) == 1
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"boir-train {name}" in capsys.readouterr().out
    assert main([name, "--no-such-option"]) == 2
    assert "usage: " in capsys.readouterr().err


def test_every_command_and_configuration_that_the_guide_names_is_there() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert set(re.findall(r"boir-train ([a-z]+)", text)) <= set(COMMANDS)
    for name in re.findall(r"--config ([a-z0-9_]+)(?=[ `\n])", text):
        config.load(name)
    told = set(re.findall(r"`((?:coco|crowdpose|ochuman|table)[0-9]?_[a-z0-9_]+)`", text))
    shorthand = set(re.findall(r"`(table[0-9]_[a-z]+)_[0-9_]+`, ((?:`_[0-9]+`(?:, )?)+)", text))
    for stem, rest in shorthand:
        told |= {f"{stem}{ending}" for ending in re.findall(r"`(_[0-9]+)`", rest)}
    assert told >= {name for name in config.names() if name not in ("nano", "small")} - {"coco_w48_testdev"}
    assert told <= set(config.names())


@pytest.mark.parametrize("block", blocks("console"))
def test_torchruns_of_the_guide_name_configurations_and_overrides_that_exist(block: str) -> None:
    joined = block.replace("\\\n", " ")
    for line in re.findall(r"boir_train\.cli\.main fit (.*)", joined):
        words = shlex.split(line)
        overrides = [word for word in words if "=" in word]
        try:
            config.load(words[words.index("--config") + 1], overrides)
        except BoirError as error:
            pytest.fail(f"{line}: {error}")
