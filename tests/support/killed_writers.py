"""Every writer of the three packages, killed in the middle: what is left must be the old file or the new one.

`python -m tests.support.killed_writers COUNT KIND...` forks a writer that writes versions without end, kills it at a
random moment, looks at what it left, and does so COUNT times a kind; it prints one JSON object a kind. The libraries
are imported once, so a kill takes milliseconds.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - a kill does there what it does on a disk, and nothing waits for one
BODY = 300_000


@dataclass(frozen=True)
class Kind:
    """How to write version n to a folder, and how to read the version that is there (-1: nothing)."""

    write: Callable[[Path, int], None]
    read: Callable[[Path], int]
    spread_s: float = 0.02


def _json_write(folder: Path, version: int) -> None:
    from boir_sdk.cli.files import write_atomic

    write_atomic(folder / "a.json", json.dumps([version] * (BODY // 8)).encode())


def _json_read(folder: Path) -> int:
    return _same(json.loads((folder / "a.json").read_text()))


def _whole_write(folder: Path, version: int) -> None:
    from boir_sdk.stream.whole_file import WholeFile

    whole = WholeFile(folder / "a.mp4")
    whole.temporary.write_bytes(version.to_bytes(4, "big") * (BODY // 4))
    whole.finish()


def _whole_read(folder: Path) -> int:
    data = (folder / "a.mp4").read_bytes()
    assert len(data) == BODY
    return _same([int.from_bytes(data[i : i + 4], "big") for i in range(0, BODY, 4)])


def _lines_write(folder: Path, version: int) -> None:
    from boir_sdk.cli.files import JsonLines

    with JsonLines(folder / "a.jsonl") as lines:
        lines.append({"version": version, "body": "x" * 5000})


def _lines_read(folder: Path) -> int:
    from boir_sdk.cli.files import read_json_lines

    versions = [record["version"] for record in read_json_lines(folder / "a.jsonl")]
    assert versions == list(range(len(versions)))
    return len(versions) - 1


def _stream_lines_write(folder: Path, version: int) -> None:
    from boir_sdk.stream.sink_json import JsonLinesSink
    from tests.support.fake_stream import result

    with JsonLinesSink(folder / "a.jsonl") as sink:
        for index in range(20):
            sink.write(result(100 * version + index))


def _stream_lines_read(folder: Path) -> int:
    """A stream's lines are written anew by each run: whole ones of one run, the last one perhaps torn."""
    *whole, _last = (folder / "a.jsonl").read_bytes().split(b"\n")
    found = [json.loads(line)["index"] for line in whole]
    assert found == list(range(found[0], found[0] + len(found))) if found else True
    return found[0] // 100 if len(found) == 20 else -1


def _snapshot_write(folder: Path, version: int) -> None:
    import torch

    from boir_train import snapshot

    state = {"w": torch.full((BODY // 8,), version)}
    empty: dict[str, object] = {}
    snapshot.write(
        folder, snapshot.Snapshot(version, 0.5, state, dict(state), empty, dict(state), {"cpu": state["w"]}, {})
    )


def _snapshot_read(folder: Path) -> int:
    from boir_train import snapshot

    saved = snapshot.read(folder)
    assert saved is not None and saved.ema is not None
    return _same([saved.iteration, *(_same(part["w"].tolist()) for part in (saved.model, saved.optimizer, saved.ema))])


def _weights_write(folder: Path, version: int) -> None:
    import torch

    from boir_train import checkpoint

    state = {name: torch.full((BODY // 12,), float(version)) for name in "abc"}
    checkpoint.save(folder / "w.safetensors", state, metadata={"version": str(version)})


def _weights_read(folder: Path) -> int:
    from boir_train import checkpoint

    state = checkpoint.read(folder / "w.safetensors")
    return _same([int(_same(tensor.tolist())) for tensor in state.values()])


def _config_write(folder: Path, version: int) -> None:
    from boir_train import config

    config.dump(config.load("nano", [f"train.seed={version}"]), folder / "config.yaml")


def _config_read(folder: Path) -> int:
    from boir_train import config

    return config.load(str(folder / "config.yaml"), []).train.seed


def _log_write(folder: Path, version: int) -> None:
    from boir_train.run_log import RunLog

    with RunLog(folder, version) as log:
        log.write("train", version + 1, {"total": 1.0, "text": "x" * 2000})


def _log_read(folder: Path) -> int:
    found = [
        json.loads(line)["iteration"]
        for line in (folder / "log.jsonl").read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]
    assert found == list(range(1, len(found) + 1))
    return len(found) - 1


def _bundle_write(folder: Path, version: int) -> None:
    from boir_convert import writer
    from boir_sdk import bundle

    if not (folder / "b").exists():
        shutil.copytree(bundle.default_path(), folder / "b")
    writer.extend(folder / "b", {"one.txt": str(version).encode() * 1000, "more/two.txt": str(version).encode() * 1000})


def _bundle_read(folder: Path) -> int:
    from boir_sdk import bundle

    bundle.read(folder / "b")
    one, two = ((folder / "b" / name).read_text() for name in ("one.txt", "more/two.txt"))
    assert one == two
    return int(one[: len(one) // 1000])


KINDS = {
    "json": Kind(_json_write, _json_read),
    "video or COCO": Kind(_whole_write, _whole_read),
    "JSON Lines": Kind(_lines_write, _lines_read),
    "lines of a stream": Kind(_stream_lines_write, _stream_lines_read),
    "training checkpoint": Kind(_snapshot_write, _snapshot_read),
    "weights": Kind(_weights_write, _weights_read),
    "configuration": Kind(_config_write, _config_read),
    "training log": Kind(_log_write, _log_read),
    "bundle": Kind(_bundle_write, _bundle_read, spread_s=0.2),
}


def _same(values: list[int]) -> int:
    assert len(set(values)) == 1, f"a mixture: {sorted(set(values))[:5]}"
    return values[0]


def campaign(name: str, kills: int, seed: int) -> dict[str, int]:
    """Kill so many writers; what was found. An assertion fails at a file that is neither old nor new."""
    from boir_sdk import durable

    kind, draw = KINDS[name], random.Random(seed)
    middle = left_files = left_folders = 0
    for _ in range(kills):
        folder = Path(tempfile.mkdtemp(prefix="boir-kill-", dir=MEMORY if MEMORY.is_dir() else None))
        try:
            done = _killed(kind, folder, draw.uniform(0, kind.spread_s))
            version = kind.read(folder)
            if name != "lines of a stream":  # of which a run begins the file anew
                assert done <= version <= done + 1, f"{name}: version {version} after {done} was done"
            left = [path for path in folder.iterdir() if path.name.startswith(".")]
            middle += bool(left) or version > done
            left_files += sum(path.is_file() for path in left)
            left_folders += sum(path.is_dir() for path in left)
            durable.sweep(folder)
            assert not [path for path in folder.iterdir() if path.name.startswith(".") and path.is_file()]
            kind.write(folder, version + 1)  # what was left behind is in nobody's way
            assert kind.read(folder) == version + 1
        finally:
            shutil.rmtree(folder)
    return {"kills": kills, "in the middle": middle, "files left": left_files, "folders left": left_folders}


def _killed(kind: Kind, folder: Path, delay_s: float) -> int:
    """Let a process write until it is killed, some time after its first version; the last version it was done with."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            for version in count():
                kind.write(folder, version)
                os.write(write_end, b".")
        finally:
            os._exit(1)
    os.close(write_end)
    done = len(os.read(read_end, 1)) if select.select([read_end], [], [], 120)[0] else 0
    time.sleep(delay_s)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while data := os.read(read_end, 4096):
        done += len(data)
    os.close(read_end)
    assert done, "the writer ended by itself"
    return done - 1


def main() -> None:
    import torch

    torch.set_num_threads(1)  # threads of a pool don't come along into a fork
    sys.modules["torch.utils.tensorboard"] = None  # type: ignore[assignment] - its files aren't ours
    kills, names = int(sys.argv[1]), sys.argv[2:] or list(KINDS)
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}", file=sys.stderr)
    for name in names:
        print(json.dumps({"kind": name, **campaign(name, kills, seed)}), flush=True)


if __name__ == "__main__":
    main()
