"""Every command of the four tools in a process of its own, stopped by a signal at a chosen moment, and what it left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import yaml

from tests.conftest import ROOT
from tests.support.tiny_training import tiny_config, write_data_set

WEIGHTS = ROOT / "weights" / "nano.safetensors"
LIMIT_S = 240.0
Moment = Callable[["subprocess.Popen[bytes]", Path], bool]


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, what it printed on stderr, what is wrong with what it left."""

    code: int
    said: str
    wrong: list[str]


def prepare(folder: Path) -> None:
    """Write what the commands read: a data set, pictures, a video, a configuration."""
    data = write_data_set(folder / "data", 8)
    (folder / "shots").mkdir()
    for number in range(60):
        shutil.copy(ROOT / "demos" / "people.jpg", folder / "shots" / f"{number:02}.jpg")
    picture = cv2.resize(cv2.imread(str(ROOT / "demos" / "people.jpg")), (240, 136))
    writer = cv2.VideoWriter(str(folder / "in.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (240, 136))
    for _ in range(400):
        writer.write(picture)
    writer.release()
    tree = tiny_config(data, schedule={"epochs": 100_000}, train={"checkpoint_every": 3})
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tree))


_CONVERT = ["boir_convert.cli.main"]
_TRAIN = ["boir_train.cli.main"]
_SDK = ["boir_sdk.cli.main"]
_LABELS = ["--annotations", "data/people.json", "--images", "data/images"]
COMMANDS: dict[str, list[str]] = {
    "predict": [
        *_SDK,
        *("predict", "shots", "--size", "192", "--jsonl", "out/r.jsonl", "--coco", "out/c.json"),
        *("--overlay", "out/drawn"),
    ],
    "stream": [
        *_SDK,
        *("stream", "in.avi", "--size", "192", "--out", "out/o.mp4", "--json", "out/r.jsonl", "--coco", "out/c.json"),
    ],
    "bench": [*_SDK, "bench", "--sizes", "192", "--json", "out/b.json", "--plot", "out/b.svg"],
    "doctor": [*_SDK, "doctor"],
    "info": [*_SDK, "info"],
    "fit": ["tests.support.tiny_training", "fit", "--config", "tiny.yaml", "--out", "out/run"],
    "eval": [*_TRAIN, "eval", "--model", "default", *_LABELS, "--json", "out/e.json", "--detections", "out/d.json"],
    "data": [*_TRAIN, "data", "check", *_LABELS, "--json", "out/check.json"],
    "visualize": [*_TRAIN, "visualize", "shots/00.jpg", "--checkpoint", str(WEIGHTS), "--out", "out/figures"],
    "speed": [*_TRAIN, "speed", "losses", "--json", "out/s.json"],
    "build": [*_CONVERT, "build", "--checkpoint", str(WEIGHTS), "--out", "out/bundle", "--precision", "fp32", "fp16"],
    "onnx": [*_CONVERT, "onnx", "--checkpoint", str(WEIGHTS), "--out", "out/n.onnx"],
    "ovms": [*_CONVERT, "ovms", str(ROOT / "sdk/boir_sdk/models/default"), "--out", "out/server"],
}


def environment() -> dict[str, str]:
    paths = [str(ROOT / name) for name in ("sdk", "train", "convert")]
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([*paths, str(ROOT)]),
        "PYTHONUNBUFFERED": "1",
    }


def stopped(name: str, folder: Path, moment: Moment, number: int = signal.SIGINT) -> Ended:
    """Run a command, send it the signal at the moment, wait for its end and look at `folder`/out."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    with (folder / "said").open("w+b") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", *COMMANDS[name]],
            cwd=folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        try:
            _wait(process, lambda: moment(process, out))
            process.send_signal(number)
            code = process.wait(LIMIT_S)
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        text = said.read().decode(errors="replace")
    wrong = [f"left behind: {line}" for line in _session(process.pid)]
    return Ended(code, text, wrong + unfinished(out))


def started(process: subprocess.Popen[bytes], out: Path) -> bool:
    """The command's first lines have run: SIGTERM is caught, which Python itself doesn't do."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return False
    caught = next((line for line in status.splitlines() if line.startswith("SigCgt:")), "SigCgt: 0")
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def loading(process: subprocess.Popen[bytes], out: Path) -> bool:
    """OpenVINO or PyTorch is being loaded."""
    try:
        maps = Path(f"/proc/{process.pid}/maps").read_text()
    except OSError:
        return False
    return started(process, out) and ("libopenvino" in maps or "libtorch_cpu" in maps)


def writing(process: subprocess.Popen[bytes], out: Path) -> bool:
    """Something lies in the output folder."""
    return any(path.is_file() and path.stat().st_size for path in out.rglob("*") if path.exists())


def unfinished(out: Path) -> list[str]:
    """What is not whole in an output folder; temporary names count."""
    wrong = []
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.name.startswith(".") or ".tmp" in path.name:
            wrong.append(f"temporary: {name}")
        elif path.suffix == ".json":
            try:
                json.loads(path.read_bytes())
            except ValueError as error:
                wrong.append(f"{name}: {error}")
        elif path.suffix == ".jsonl":
            data = path.read_bytes()
            if data and not data.endswith(b"\n"):
                wrong.append(f"{name} ends with a part of a line")
            wrong += [f"{name}: {line[:40]!r}" for line in data.splitlines() if not _parses(line)]
        elif path.suffix in (".mp4", ".jpg", ".png"):
            capture = cv2.VideoCapture(str(path))
            if not capture.isOpened() or not capture.read()[0]:
                wrong.append(f"{name} can't be decoded")
            capture.release()
        elif path.name == "last.pt":
            from boir_train import snapshot

            snapshot.read(path.parent)
        elif path.name == "manifest.json":
            from boir_sdk import bundle

            bundle.read(path.parent)
    return wrong


def _parses(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _wait(process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline, "the moment didn't come"
        time.sleep(0.005)


def _session(session: int) -> list[str]:
    """Command lines of the processes that are left of a session; those that are ending get some seconds."""
    deadline = time.monotonic() + 60
    while True:
        found = []
        for place in Path("/proc").iterdir():
            if place.name.isdecimal():
                try:
                    fields = (place / "stat").read_text().rpartition(")")[2].split()
                    line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:
                    continue
                if int(fields[3]) == session and fields[0] != "Z":
                    found.append(line)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)
