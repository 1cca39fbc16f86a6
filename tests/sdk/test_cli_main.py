"""The frame of the command line: help, version, errors as one line, exit codes. Run as a user runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import boir_sdk
from boir_sdk.cli import main
from boir_sdk.cli.info import essence
from tests.conftest import ROOT

IN_TREE = {**os.environ, "PYTHONPATH": str(ROOT / "sdk")}


def boir(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "boir_sdk.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**IN_TREE, **environment},
    )


def test_version_is_the_package_s() -> None:
    written = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert written
    version = written[1]
    assert boir_sdk.__version__ == version
    done = boir("--version")
    assert (done.returncode, done.stdout) == (0, f"boir {version}\n")


@pytest.mark.parametrize("command", [(), ("predict",), ("info",)])
def test_help_teaches_with_examples(command: tuple[str, ...]) -> None:
    done = boir(*command, "--help")
    assert done.returncode == 0
    assert "examples:" in done.stdout
    assert "  boir " in done.stdout


def test_no_command_is_wrong_usage() -> None:
    assert boir().returncode == 2


def test_help_and_a_missing_file_need_no_openvino() -> None:
    code = (
        "import sys; from boir_sdk.cli.main import main; main(['predict', 'no.jpg']); "
        "print(sorted({'cv2', 'openvino', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=IN_TREE, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_error_is_one_line_and_code_1() -> None:
    done = boir("predict", "no.jpg")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("boir: error: no.jpg doesn't exist")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code"), [(("predict", "no.jpg", "--json"), "input"), (("info", "nowhere", "--json"), "bundle")]
)
def test_an_error_in_json_has_code_and_message(arguments: tuple[str, ...], code: str) -> None:
    done = boir(*arguments)
    assert (done.returncode, done.stderr) == (1, "")
    report = json.loads(done.stdout)
    assert report.keys() == {"code", "message"}
    assert report["code"] == code


def test_debug_shows_where_an_error_came_from() -> None:
    done = boir("predict", "no.jpg", BOIR_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "InputError" in done.stderr


def test_a_defect_is_one_line_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*args: object, **options: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.delenv("BOIR_DEBUG", raising=False)
    monkeypatch.setattr("boir_sdk.inputs.find", broken)
    assert main.main(["predict", "x"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "boir: error: unexpected ZeroDivisionError: oh (a defect; BOIR_DEBUG=1 shows where)"
    monkeypatch.setenv("BOIR_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main.main(["predict", "x"])


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that aren't UTF-8")
def test_a_file_name_that_is_not_utf8_is_an_error_line(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"bad\xff.jpg")).write_bytes(b"no picture")
    done = boir("predict", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("boir: error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ({"name": "nano", "max_people": 30}, ["name: nano", "max people: 30"]),
        ({"sizes": (256, 384)}, ["sizes: 256, 384"]),
        ({"parity": None, "notes": [], "extra": {}, "version": ""}, []),
        ({"files": {"fp32/my_a.xml": {"sha256": "ab", "size": 1_250_000}}}, ["files:", "  fp32/my_a.xml: 1.2 MB"]),
        ({"bytes": 999, "threshold": 0}, ["size: 999 bytes", "threshold: 0"]),
        (
            {"parity": {"pictures": [{"id": 1}, {"id": 2}], "max_px": 0.01, "card_sha256": "ab"}},
            ["parity:", "  pictures: 2 entries (--json shows them)", "  max px: 0.01"],
        ),
    ],
)
def test_essence_of_a_description(description: dict[str, object], expected: list[str]) -> None:
    assert list(essence(description)) == expected
