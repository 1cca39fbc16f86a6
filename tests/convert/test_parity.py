"""The parity report: what it counts, that INT8 stays in its band, and that a bundle gets all of it or nothing."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from boir_convert import agreement, parity, parity_page
from boir_convert.build import build_further, check_drop
from boir_convert.cli.main import main
from boir_convert.progress import Progress
from boir_sdk import bundle, manifest
from boir_sdk.cli import info
from boir_sdk.cli.main import main as boir
from boir_sdk.errors import BoirError, ConfigError, DataError, InputError
from boir_sdk.poses import Poses
from boir_sdk.skeleton import COCO17
from boir_train import bootstrap, build_model, checkpoint
from boir_train.model import small_start
from boir_train.subject import sha256_of
from tests.conftest import ROOT

WEIGHTS = ROOT / "weights" / "nano.safetensors"
PEOPLE = Path(__file__).parent / "data" / "people.json"
PICTURES = Path(__file__).parent / "data" / "people"
QUIET = Progress(shown=False)


def poses(*people, joint_score=0.9):
    """People as (x of the left edge, score), each a hundred pixels high and wide."""
    grid = np.stack([np.linspace(0, 100, 17), np.linspace(0, 100, 17)[::-1]], axis=1)
    if not people:
        return Poses.empty(COCO17)
    keypoints = [grid + np.array([x, 0]) for x, _ in people]
    return Poses(keypoints, np.full((len(people), 17), joint_score), [score for _, score in people], COCO17)


A, B, FAR = (0, 0.8), (400, 0.6), (900, 0.5)


@pytest.mark.parametrize(
    ("ours", "theirs", "counts"),
    [  # reference, other, matched, below the threshold
        ([A, B], [A, B], (2, 2, 2, 0)),
        ([A, B], [B, A], (2, 2, 2, 0)),
        ([A, B], [A], (2, 1, 1, 0)),
        ([A], [A, FAR], (1, 2, 1, 0)),
        ([A, B], [A, (400, 0.1)], (2, 1, 1, 1)),
        ([A, (400, 0.1)], [A, B], (1, 2, 1, 1)),
        ([A], [FAR], (1, 1, 0, 0)),
        ([A], [A, (2, 0.7)], (1, 2, 1, 0)),
        ([], [A], (0, 1, 0, 0)),
        ([], [], (0, 0, 0, 0)),
    ],
)
def test_people_are_matched_once_each(ours, theirs, counts):
    found = agreement.compare(poses(*ours), poses(*theirs), score_threshold=0.2, keypoint_threshold=0.1)
    assert (found.reference, found.other, len(found.pairs), found.below_threshold) == counts
    assert found.disagreement >= abs(counts[0] - counts[1])
    if sorted(ours) == sorted(theirs):
        assert found.disagreement == 0


def test_distances_and_scores_are_those_of_matched_people():
    moved = agreement.compare(poses(A, B), poses((3, 0.7), (400, 0.65)), score_threshold=0.2, keypoint_threshold=0.1)
    told = agreement.summary([moved, moved])
    assert told["people"] == {
        "reference": 4,
        "other": 4,
        "matched": 4,
        "only_reference": 0,
        "only_other": 0,
        "unmatched_but_below_the_threshold": 0,
        "mean_oks": pytest.approx(moved.likeness.mean()),
    }
    assert told["scores"]["mean_change"] == pytest.approx(-0.025, abs=1e-6)
    assert told["scores"]["max"] == pytest.approx(0.1)
    assert told["pixels"]["joints"] == 4 * 17
    assert (told["pixels"]["mean"], told["pixels"]["max"]) == (pytest.approx(1.5), pytest.approx(3))


def test_joints_that_a_side_is_not_sure_of_have_no_distance():
    found = agreement.compare(poses(A), poses(A, joint_score=0.05), score_threshold=0.2, keypoint_threshold=0.1)
    assert (len(found.pairs), len(found.shift_px)) == (1, 0)
    assert agreement.summary([found])["pixels"] == {"joints": 0, "median": None, "mean": None, "p95": None, "max": None}


def test_matched_people_share_an_id():
    ours, theirs = poses(A, B), poses(B, FAR, A)
    found = agreement.compare(ours, theirs, score_threshold=0.2, keypoint_threshold=0.1)
    mine, other = agreement.same_ids(ours, theirs, found, 0.2)
    assert mine.ids.tolist() == [0, 1]
    assert other.ids[[2, 0]].tolist() == [0, 1]
    assert other.ids[1] not in (0, 1)


def matches(hits, seed=0):
    """Fifty pictures of one person and one detection each, found in those where `hits` says so."""
    scores = np.sort(np.random.default_rng(seed).random(50))[::-1]
    hit = np.tile(np.asarray(hits, bool), (10, 1))
    return bootstrap.Matches(scores, np.arange(50), hit, ~hit, np.ones(50, np.int64))


def test_a_paired_difference_is_surer_than_two_intervals():
    good = np.arange(50) % 3 > 0
    worse = good.copy()
    worse[[1, 20]] = False
    change, low, high = parity.difference(matches(good), matches(worse))
    expected = bootstrap.average_precision(matches(worse)) - bootstrap.average_precision(matches(good))
    assert change == pytest.approx(expected)
    assert low <= change <= high <= 0
    alone = bootstrap.interval(matches(good))
    assert high - low < 0.7 * (alone[1] - alone[0])
    assert parity.difference(matches(good), matches(good)) == (0, 0, 0)


def test_a_difference_of_other_pictures_is_refused():
    few = bootstrap.Matches(np.zeros(0), np.zeros(0, int), np.zeros((10, 0), bool), np.zeros((10, 0), bool), np.ones(3))
    with pytest.raises(ConfigError, match="50 and 3"):
        parity.difference(matches(np.ones(50)), few)


def report(int8=0.40, pytorch=0.41):
    parts = {"pytorch": {"AP": pytorch}, "int8": {"AP": int8}}
    parts["int8"]["difference"] = {"AP": int8 - pytorch, "interval_95": [int8 - pytorch - 0.01, int8 - pytorch + 0.01]}
    return {"precisions": parts, "protocol": {"images": 9, "size": 512}}


@pytest.mark.parametrize(
    ("int8", "allowed", "refused"),
    [(0.40, 1.1, False), (0.40, 0.9, True), (0.42, 0.0, False), (0.0, None, False), (0.3, 5, True)],
)
def test_a_loss_over_the_limit_is_refused_with_its_figures(int8, allowed, refused):
    if not refused:
        check_drop(report(int8), allowed)
        return
    with pytest.raises(DataError, match=rf"int8 has AP {100 * int8:.1f}, PyTorch 41\.0: a loss of .*95 %"):
        check_drop(report(int8), allowed)


# The band: how far INT8 may be from PyTorch in AP, in points, to either side, on these pictures at 320. Measured when
# it was set: +1.0 on the seven pictures, +0.2 on the thirty.
BANDS = {"repository": 3.0, "shared": 2.0}


@pytest.fixture(params=BANDS)
def pictures(request):
    """A set of annotated pictures: its band, file, folder and number."""
    if request.param == "repository":
        return BANDS["repository"], PEOPLE, PICTURES, None
    shared = request.getfixturevalue("shared")
    file, folder = shared / "data" / "coco" / "person_keypoints_val.json", shared / "data" / "coco" / "val"
    if not folder.is_dir():
        pytest.skip(f"needs the pictures of {folder}")
    return BANDS["shared"], file, folder, 30


def change_of_int8(weights, folder, file, images, limit, size=320):
    request = parity.Request(folder, weights, file, images, limit=limit, size=size, threads=2, shown=0)
    return -parity.drops(parity.measure(request, QUIET).report)["int8"]


def test_int8_of_the_embedded_bundle_stays_in_its_band(pictures):
    band, *what = pictures
    assert abs(change_of_int8(WEIGHTS, Path("default"), *what)) <= band


def test_int8_of_small_stays_in_its_band(second_graph, tmp_path):
    """Its weights aren't in the repository: they are put together from those of `nano` and the public graph."""
    weights = tmp_path / "small.safetensors"
    checkpoint.save(weights, small_start.assemble(WEIGHTS, second_graph).state_dict(), half=True)
    assert abs(change_of_int8(weights, Path("small"), PEOPLE, PICTURES, None)) <= BANDS["repository"]


@pytest.fixture
def copied(tmp_path):
    """A copy of the embedded bundle."""
    return Path(shutil.copytree(bundle.default_path(), tmp_path / "bundle"))


def damaged(folder: Path) -> Path:
    """Make a fifth of the quantised weights of a bundle half as large, and its manifest true again."""
    xml = (folder / "int8" / "dense.xml").read_text()
    path = folder / "int8" / "dense.bin"
    data = np.frombuffer(path.read_bytes(), np.int8).copy()
    found = [
        (int(offset), int(size))
        for offset, size in re.findall(r'element_type="i8" shape="[\d, ]+" offset="(\d+)" size="(\d+)"', xml)
    ]
    assert len(found) > 40
    for offset, size in found[::5]:
        data[offset : offset + size] //= 2
    path.write_bytes(data.tobytes())
    before = bundle.read(bundle.default_path()).manifest
    files = {**before.files, "int8/dense.bin": manifest.FileEntry(len(data), sha256_of(path))}
    (folder / "manifest.json").write_bytes(manifest.dump(dataclasses.replace(before, files=files)))
    return folder


def test_the_band_is_left_downwards_by_damaged_weights(copied):
    assert change_of_int8(WEIGHTS, damaged(copied), PEOPLE, PICTURES, None) < -BANDS["repository"]


def test_the_band_is_left_upwards_by_a_damaged_reference(tmp_path):
    """INT8 that is much better than what it was made from is as wrong: something else was measured."""
    state = checkpoint.read(WEIGHTS)
    for name in list(state)[::5]:
        if name.endswith("project.weight"):
            state[name] = state[name] * 0.5
    checkpoint.save(tmp_path / "worse.safetensors", state)
    assert change_of_int8(tmp_path / "worse.safetensors", Path("default"), PEOPLE, PICTURES, None) > BANDS["repository"]


COMMAND = ["--checkpoint", str(WEIGHTS), "--annotations", str(PEOPLE), "--images", str(PICTURES), "--size", "192"]


def test_the_command_puts_the_report_into_the_bundle(copied, capsys):
    assert main(["parity", str(copied), *COMMAND, "--limit", "3", "--all", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    written = bundle.read(copied)  # every hash is true again
    assert json.loads((copied / "parity.json").read_text()) == told
    assert list(told["precisions"]) == ["pytorch", "fp32", "fp16", "int8"]
    for name, effective, origin in (("fp32", "f32", "built for this"), ("int8", "int8+f32", "bundle")):
        assert told["precisions"][name]["effective"] == effective
        assert told["precisions"][name]["from"] == origin
    assert abs(told["precisions"]["fp32"]["difference"]["AP"]) < 1e-3
    people = told["precisions"]["fp32"]["agreement"]["people"]
    assert people["matched"] == people["reference"] == people["other"] > 0
    assert told["precisions"]["fp32"]["agreement"]["pixels"]["p95"] < 0.01
    assert told["checkpoint"]["is_the_bundles"]
    assert told["calibration"]["sha256_of_names"]
    assert told["machine"]["processor"]
    assert {"openvino", "torch"} <= told["versions"].keys()
    page = (copied / parity_page.NAME).read_text()
    shown = re.findall(r"!\[.*\]\((.*)\)", page)
    assert [f"parity/{name}" for name in shown] == [one["picture"] for one in told["worst"]] != []
    for name in (f"parity/{name}" for name in shown):
        assert name in written.manifest.files
        assert cv2.imread(str(copied / name)).shape[1] > 400
    worst = [one["disagreement"] for one in told["worst"]]
    assert worst == sorted(worst, reverse=True)
    assert "| FP32 (not in the bundle) |" in page
    assert f"{100 * told['precisions']['int8']['AP']:.1f}" in (copied / "README.md").read_text()

    assert boir(["info", str(copied)]) == 0
    essence = capsys.readouterr().out
    assert "parity: 3 pictures, 9 people, size 192, people.json" in essence
    assert f"  int8: AP {100 * told['precisions']['int8']['AP']:.1f}, " in essence
    assert "disagreement" not in essence

    assert main(["parity", str(copied), *COMMAND, "--limit", "1", "--pictures", "0"]) == 0
    assert "1 pictures, 4 people" in capsys.readouterr().out
    left = [name for name in bundle.read(copied).manifest.files if name.startswith("parity/")]
    assert left == [parity_page.NAME]


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Checkpoints that are not the embedded bundle's, and an annotation file without a person."""
    folder = tmp_path_factory.mktemp("others")
    checkpoint.save(folder / "w32.safetensors", build_model("w32", "coco17").state_dict())
    checkpoint.save(folder / "crowd.safetensors", build_model("nano", "crowdpose14").state_dict())
    content = json.loads(PEOPLE.read_text())
    (folder / "nobody.json").write_text(json.dumps({**content, "annotations": []}))
    (folder / "nothing.json").write_text(json.dumps({**content, "images": [], "annotations": []}))
    return folder


@pytest.mark.parametrize(
    ("option", "value", "error", "says"),
    [
        ("checkpoint", "w32.safetensors", ConfigError, "holds a w32, the bundle was made from a nano"),
        ("checkpoint", "crowd.safetensors", ConfigError, "crowdpose14"),
        ("checkpoint", "nowhere.pt", InputError, "no model"),
        ("annotations", "nobody.json", DataError, "nobody is annotated"),
        ("annotations", "nothing.json", DataError, "lists no pictures"),
        ("annotations", "nowhere.json", DataError, "nowhere.json"),
        ("images", ".", DataError, "7 of 7 pictures"),
        ("size", 100, InputError, "not offered"),
        ("shown", 51, ConfigError, "0 to 50"),
    ],
)
def test_what_cannot_be_measured_is_refused(others, copied, option, value, error, says):
    values = {"checkpoint": WEIGHTS, "annotations": PEOPLE, "images": PICTURES, "size": 192}
    values[option] = others / value if isinstance(value, str) else value
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    with pytest.raises(error, match=says):
        parity.measure(parity.Request(copied, **values), QUIET)
    assert before == {path: path.stat().st_mtime_ns for path in copied.rglob("*")}


def test_calibration_for_a_precision_that_is_there_is_refused(copied, tmp_path):
    with pytest.raises(ConfigError, match="has int8 already"):
        build_further(bundle.read(copied), WEIGHTS, tmp_path / "further", calibration=PICTURES)
    assert main(["parity", str(copied), *COMMAND, "--calibration", str(PICTURES)]) == 1


def test_a_failure_leaves_the_bundle_as_it_was(copied, monkeypatch):
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copytree", full)
    assert main(["parity", str(copied), *COMMAND, "--limit", "1"]) == 1
    assert before == {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    assert list(copied.parent.iterdir()) == [copied]


STRANGE = [{}, {"precisions": {"int8": 5}}, {"precisions": {"int8": {"AP": "x"}}, "protocol": []}]


@pytest.mark.parametrize("strange", STRANGE)
def test_info_takes_a_report_of_any_version(strange):
    lines = list(info.parity(strange))
    assert lines[0] == "parity: measured"
    assert lines[1:] == (["  int8: no figures"] if strange else [])


def test_a_page_says_so_when_the_checkpoint_is_another(copied):
    request = parity.Request(copied, WEIGHTS, PEOPLE, PICTURES, limit=1, size=192, shown=0)
    told = parity.measure(request, QUIET).report
    assert "another file" not in parity_page.page(told)
    told["checkpoint"]["is_the_bundles"] = False
    assert "another file" in parity_page.page(told)


def test_errors_are_ours(copied):
    with pytest.raises(BoirError, match="no bundle"):
        parity.measure(parity.Request(copied / "nowhere", WEIGHTS, PEOPLE, PICTURES), QUIET)
