"""Nothing leaves this machine: the main paths of the SDK and a conversion, with every other address refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support import no_network

PROGRAM = """
import contextlib, io, sys
from boir_sdk import PoseEstimator
from boir_sdk.cli.main import main
picture, out = sys.argv[1:]
with PoseEstimator(size=192) as estimator:
    assert len(estimator(picture)) >= 2
    assert len(list(estimator.stream(picture, track=True))) == 1
assert main(["predict", picture, "--size", "192", "--overlay", out + "/o.png", "--json"]) == 0
assert main(["stream", picture, "--size", "192", "--json", out + "/r.jsonl"]) == 0
assert main(["info"]) == 0
main(["doctor"])  # a machine may lack something; that isn't the matter here
from boir_convert.build import build
from boir_convert.request import Request
from pathlib import Path
build(Request(checkpoint=Path("weights/nano.safetensors"), out=Path(out) / "b"))
print("all of it ran")
"""


def environment(folder: Path) -> dict[str, str]:
    paths = [str(ROOT / name) for name in ("sdk", "train", "convert")]
    guarded = no_network.hook(folder)
    unset = {"CI", "NNCF_CI", "GITHUB_ACTIONS"}  # tools that report home keep quiet where they see these
    given = {name: value for name, value in os.environ.items() if name not in unset}
    return {**given, **guarded, "HOME": str(folder), "PYTHONPATH": os.pathsep.join([str(folder), *paths])}


def test_nothing_tries_to_leave(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(ROOT / "demos" / "people.jpg"), str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all of it ran\n")
    assert (tmp_path / "tried.txt").read_text() == ""


def test_the_block_works_in_children_too(tmp_path: Path) -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), 1)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "blocked" in done.stderr
    assert "192.0.2.1" in (tmp_path / "tried.txt").read_text()


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("a.b", False)],
)
def test_what_counts_as_local(host: str, local: bool) -> None:
    assert no_network.is_local(host) is local


def _namespace() -> list[str] | None:
    """A command's beginning that leaves it no network at all, where the system lets us."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return None
    command = [unshare, "--net", "--map-root-user"]
    tried = subprocess.run([*command, sys.executable, "-c", ""], capture_output=True, timeout=100, check=False)
    return command if tried.returncode == 0 else None


def test_people_are_found_where_there_is_no_network_at_all(tmp_path: Path) -> None:
    """Not even Python's own sockets are asked here: what a library does natively fails too."""
    command = _namespace()
    if command is None:
        pytest.skip("this system gives no network name space (unshare --net)")
    code = "import sys; from boir_sdk import PoseEstimator; print(len(PoseEstimator(size=192)(sys.argv[1])))"
    done = subprocess.run(
        [*command, sys.executable, "-c", code, str(ROOT / "demos" / "people.jpg")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "sdk")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 2
