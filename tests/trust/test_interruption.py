"""Kills, signals, full disks and impossible places: a file is the old one or the new one, and the user is told."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from boir_sdk import PoseEstimator, durable
from boir_sdk.cli import interrupt
from boir_sdk.cli.main import main as boir
from boir_sdk.errors import InputError
from boir_train import fit
from boir_train.cli.main import main as boir_train
from tests.conftest import ROOT
from tests.support import signalled
from tests.support.killed_writers import KINDS
from tests.support.tiny_training import build_tiny, tiny_config, write_data_set

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="POSIX signals, /proc and limits")
PICTURE = str(ROOT / "demos" / "people.jpg")


def test_killed_writers_leave_the_old_file_or_the_new_one() -> None:
    command = [sys.executable, "-m", "tests.support.killed_writers", "8"]
    done = subprocess.run(
        command, cwd=ROOT, env=signalled.environment(), capture_output=True, text=True, timeout=550, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["kind"] for line in done.stdout.splitlines()] == list(KINDS)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signalled")
    signalled.prepare(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "moment", "number"),
    [
        ("predict", signalled.loading, signal.SIGINT),
        ("predict", signalled.writing, signal.SIGTERM),
        ("stream", signalled.writing, signal.SIGINT),
        ("bench", signalled.loading, signal.SIGTERM),
        ("doctor", signalled.started, signal.SIGINT),
        ("fit", signalled.loading, signal.SIGINT),
        ("fit", signalled.writing, signal.SIGTERM),
        ("eval", signalled.loading, signal.SIGINT),
        ("build", signalled.loading, signal.SIGTERM),
    ],
)
def test_a_signal_ends_a_command_with_130_and_nothing_half_done(
    place: Path, name: str, moment: signalled.Moment, number: int
) -> None:
    ended = signalled.stopped(name, place, moment, number)
    assert ended.code == 130, ended.said
    assert "Traceback" not in ended.said
    assert ended.wrong == []


TWICE = """
import os, signal, sys, threading
from boir_sdk.cli import interrupt
def work():
    try:
        os.kill(os.getpid(), int(sys.argv[1]))
        threading.Event().wait(600)
    finally:  # what is cleared away takes for ever
        os.kill(os.getpid(), int(sys.argv[2]))
        threading.Event().wait(600)
sys.exit(interrupt.command(work, "stopped", whole_process=True))
"""


@pytest.mark.parametrize("numbers", [("2", "2"), ("15", "2"), ("2", "15")])
def test_a_second_signal_ends_at_once(numbers: tuple[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWICE, *numbers],
        env=signalled.environment(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, b"")


DISGUISED = """
import os, signal, sys
from boir_sdk.cli import interrupt
def work():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        if sys.argv[1] == "turned":
            raise ImportError("the module is broken")
    return 0
code = interrupt.command(work, "stopped", whole_process=True)
os.kill(os.getpid(), signal.SIGTERM) if sys.argv[1] == "late" else sys.exit(code)
"""


@pytest.mark.parametrize(
    ("how", "said"), [("turned", b"stopped\n"), ("swallowed", b"stopped\n"), ("late", b"stopped\n")]
)
def test_a_signal_that_something_hides_is_still_one(how: str, said: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DISGUISED, how],
        env=signalled.environment(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, said)


def test_an_error_without_a_signal_stays_one() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError):
        interrupt.command(lambda: 1 // 0, "stopped", whole_process=False)
    assert interrupt.command(lambda: 7, "stopped", whole_process=False) == 7
    assert signal.getsignal(signal.SIGINT) is before


@contextlib.contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file may grow beyond the limit; the kernel says so to whoever writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def shared() -> Iterator[PoseEstimator]:
    with PoseEstimator(size=192) as made:
        made(PICTURE)
        yield made


@pytest.fixture
def one_estimator(shared: PoseEstimator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands take the same estimator, for loading it each time would take most of these tests' time."""
    monkeypatch.setattr("boir_sdk.estimator.PoseEstimator", lambda *args, **options: shared)
    monkeypatch.setattr(shared, "close", lambda: None)


SMALL = ["--size", "192"]
BENCH = ["bench", "--sizes", "192", "--people", "0", "--rounds", "1", "--no-start", "--no-second-look"]
WRITES = {
    "overlay": ["predict", PICTURE, *SMALL, "--overlay", "{}.png"],
    "JSON Lines": ["predict", PICTURE, *SMALL, "--jsonl", "{}.jsonl"],
    "COCO": ["predict", PICTURE, *SMALL, "--coco", "{}.json"],
    "video": ["stream", PICTURE, *SMALL, "--out", "{}.mp4"],
    "lines of a stream": ["stream", PICTURE, *SMALL, "--json", "{}.jsonl"],
    "COCO of a stream": ["stream", PICTURE, *SMALL, "--coco", "{}.json"],
    "benchmark": [*BENCH, "--json", "{}.json"],
}


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.usefixtures("one_estimator")
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with full_disk(200):
        code = boir([argument.format(tmp_path / "x") for argument in WRITES[what]])
    said = capsys.readouterr().err
    assert code == 1
    assert "boir: error: can't write" in said, said
    assert "Traceback" not in said
    # The list of pictures, written first, may be there, whole; nothing else of any size is.
    assert {path.name for path in tmp_path.iterdir() if path.stat().st_size} <= {"x.images.json"}
    assert signalled.unfinished(tmp_path) == []


@pytest.mark.parametrize("where", ["file/x", "n" * 300], ids=["a file for a folder", "name too long"])
@pytest.mark.parametrize("what", [name for name in WRITES if name != "benchmark"])
@pytest.mark.usefixtures("one_estimator")
def test_a_place_that_can_t_be_written_is_one_line(
    what: str, where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    code = boir([argument.format(tmp_path / where) for argument in WRITES[what]])
    said = capsys.readouterr().err
    assert code == 1
    assert "boir: error: can't write" in said, said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    tree = tiny_config(write_data_set(folder / "set", 4), schedule={"epochs": 3})
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tree))
    return folder / "tiny.yaml"


@pytest.mark.parametrize(("limit", "named"), [(300, "config.yaml"), (3500, "last.pt")])
def test_training_on_a_full_disk_is_one_line(
    limit: int,
    named: str,
    training: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fit, "build_model", build_tiny)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    run = tmp_path / "run"
    with full_disk(limit):
        code = boir_train(["fit", "--config", str(training), "--out", str(run)])
    said = capsys.readouterr().err
    assert code == 1, said
    assert f"boir-train: error: can't write {run / named}" in said
    assert "Traceback" not in said
    assert [path.name for path in run.iterdir() if path.name.startswith(".") or path.name == named] == []
    assert all(json.loads(line) for path in run.glob("log.jsonl") for line in path.read_text().splitlines())


def test_training_into_a_file_is_one_line(
    training: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "build_model", build_tiny)
    (tmp_path / "file").write_bytes(b"")
    assert boir_train(["fit", "--config", str(training), "--out", str(tmp_path / "file" / "run")]) == 1
    assert "boir-train: error: can't write" in capsys.readouterr().err


def test_what_a_killed_run_left_is_swept_at_the_next_start(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "build_model", build_tiny)
    run = tmp_path / "run"
    run.mkdir()
    for name in (".last.pt.123.tmp", ".best.safetensors.9.tmp", ".o.mp4.7.tmp.mp4", ".mine", "notes.tmp"):
        (run / name).write_bytes(b"x")
    assert boir_train(["fit", "--config", str(training), "--out", str(run)]) == 0
    assert {path.name for path in run.iterdir() if path.name.startswith(".") or "tmp" in path.name} == {
        ".mine",
        "notes.tmp",
    }


@pytest.mark.parametrize("name", ["a", "ü" * 127, "名" * 85, "x" * 255, os.fsdecode(b"\xff" * 240)])
def test_every_name_that_a_file_may_have_can_be_written(name: str, tmp_path: Path) -> None:
    with durable.writing(tmp_path / name) as temporary:
        temporary.write_bytes(b"new")
        assert durable._TEMPORARY.match(temporary.name)
    assert (tmp_path / name).read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 1


def test_long_names_that_begin_alike_have_different_temporary_files(tmp_path: Path) -> None:
    one, other = (tmp_path / ("x" * 230 + ending) for ending in (".json", ".images.json"))
    assert durable.temporary_for(one) != durable.temporary_for(other)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), durable.writing(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == {"a": b"old"}


def test_folders_change_places_at_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(b"")
    if not durable.exchange(tmp_path / "one", tmp_path / "two"):
        pytest.skip("this file system can't")
    assert (tmp_path / "one" / "two").exists()
    assert (tmp_path / "two" / "one").exists()
    assert not durable.exchange(tmp_path / "one", tmp_path / "three")


def test_a_place_that_can_t_be_written_is_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="can't write"), durable.writing(tmp_path / "file" / "x") as temporary:
        temporary.write_bytes(b"")
