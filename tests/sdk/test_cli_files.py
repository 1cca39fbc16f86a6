"""Atomic files and JSON Lines."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from boir_sdk.cli.files import JsonLines, read_json_lines, write_atomic
from boir_sdk.errors import DataError, InputError
from tests.conftest import ROOT


def test_write_atomic_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "file.bin"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.bin"
    write_atomic(path, b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"can't write .*file\.bin: No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("place", ["taken/x.jpg", "folder", "n" * 300 + ".jpg"])
def test_write_atomic_names_the_place_it_cannot_write(tmp_path: Path, place: str) -> None:
    (tmp_path / "taken").write_bytes(b"")
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="can't write"):
        write_atomic(tmp_path / place, b"x")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (b"", []),
        (b'{"path":"a"}\n', ["a"]),
        (b'{"path":"a"}\n{"pa', ["a"]),
        (b'{"pa', []),
        (b'{"path":"a"}', ["a"]),
        (b'{"path":"a"}\n\n', ["a"]),
        (b'{"path":"' + b"a" * 200_000 + b'"}\n{"path":"' + b"b" * 200_000, ["a" * 200_000]),
    ],
    ids=["new", "whole", "torn", "torn first", "no newline", "blank line", "longer than one block"],
)
def test_json_lines_go_on_behind_the_last_whole_line(tmp_path: Path, before: bytes, kept: list[str]) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(before)
    assert [record["path"] for record in read_json_lines(path)] == kept
    with JsonLines(path) as lines:
        lines.append({"path": "z"})
    assert [json.loads(line)["path"] for line in path.read_text().splitlines() if line] == [*kept, "z"]


def test_each_line_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "r.jsonl"
    with JsonLines(path) as lines:
        for number in range(3):
            lines.append({"n": number})
            assert len(path.read_bytes().splitlines()) == number + 1


@pytest.mark.parametrize("content", [b"not json\n{}\n", b"[1]\n{}\n", b"\xff\xfe\n{}\n"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match="line 1: not a JSON object"):
        read_json_lines(path)


FULL = """
import resource, sys
from pathlib import Path
from boir_sdk.cli.files import JsonLines
from boir_sdk.errors import InputError
with JsonLines(Path(sys.argv[1])) as lines:
    lines.append({"n": 1})
    resource.setrlimit(resource.RLIMIT_FSIZE, (12, 12))
    try:
        lines.append({"n": 2})
    except InputError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_disk_that_fills_in_the_middle_of_a_line_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    in_tree = {**os.environ, "PYTHONPATH": str(ROOT / "sdk")}
    done = subprocess.run([sys.executable, "-c", FULL, path], env=in_tree, capture_output=True, text=True, check=True)
    assert f"can't write {path}" in done.stdout
    assert path.read_text() == '{"n":1}\n'
