"""One cell of the matrix: a new environment, the wheel and what it asks for, the checks, the sizes."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from matrix import packages

EXTRAS = ("core", "train", "convert", "dev")
Dependencies = Literal["newest", "lowest", "headless", "both"]
TIMEOUT_S = 3600
# Tests of the runtime that need nothing but the core, pytest, hypothesis and Pillow.
LIGHT_TESTS = tuple(
    f"tests/sdk/test_{name}.py"
    for name in (
        *("decode", "poses", "looks", "oks", "warp", "image", "manifest", "bundle"),
        *("runtime", "dilated", "selftest", "interchange", "draw", "smooth", "track", "doctor", "sinks"),
    )
)
TEST_TOOLS = ("pytest", "pytest-timeout", "hypothesis", "pillow", "psutil")


@dataclass(frozen=True, slots=True)
class Cell:
    """What to install where.

    Attributes:
        python: such as `3.12`.
        extra: `core` or the name of an extra.
        dependencies: `newest` as pip resolves them; `lowest`: the core's at exactly their lower bounds, and the light
            tests of the runtime too; `headless`: OpenCV without windows in the place of the other; `both` on top of
            each other, which pip allows and `boir doctor` must notice.
    """

    python: str
    extra: str
    dependencies: Dependencies


@dataclass(slots=True)
class Outcome:
    """What came of a cell.

    Attributes:
        cell: which.
        status: `passed`, `failed` or `not tried`.
        why: in words, if it did not pass.
        interpreter: full version of Python.
        install_s: seconds that pip took, downloads included.
        checks: by name, from `smoke.py`; `tests` where the light tests ran.
        sizes: version and bytes on disk of every distribution.
    """

    cell: Cell
    status: str = "passed"
    why: str = ""
    interpreter: str = ""
    install_s: float = 0.0
    checks: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, Any] = field(default_factory=dict)


def run(cell: Cell, interpreter: Path | None, built: packages.Built, work: Path, *, tests: bool) -> Outcome:
    """Fill a cell; whatever goes wrong is the outcome. The environment is removed afterwards.

    Args:
        cell: which.
        interpreter: to make the environment with; None where there is none of that version.
        built: the packages.
        work: an existing folder for environments.
        tests: run the light tests where dependencies are the lowest.
    """
    if interpreter is None:
        return Outcome(cell, "not tried", f"no Python {cell.python} on this machine")
    place = work / f"{cell.python}-{cell.extra}-{cell.dependencies}"
    python = place / "bin" / "python"
    outcome = Outcome(cell)
    try:
        _command([interpreter, "-m", "venv", "--clear", place], work)
        outcome.interpreter = _command(
            [python, "-c", "import platform; print(platform.python_version())"], work
        ).strip()
        if cell.extra != "core" and (why := _no_torch(python, work)):
            return Outcome(cell, "not tried", why, outcome.interpreter)
        start = time.perf_counter()
        for arguments in _installs(cell, built.wheel):
            _command([python, "-m", "pip", "install", "--quiet", *arguments], work)
        outcome.install_s = round(time.perf_counter() - start, 1)
        outcome.sizes = json.loads(_command([python, built.source / "matrix" / "sizes.py"], work))
        outcome.checks = _smoke(python, cell.extra, built.source, place)
        if cell.dependencies == "lowest" and tests:
            outcome.checks["tests"] = _light_tests(python, built.source)
        if cell.dependencies == "both":
            _both_are_noticed(outcome.checks["doctor"])
    except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
        outcome.status, outcome.why = "failed", str(error)[-2000:]
    finally:
        shutil.rmtree(place, ignore_errors=True)
    failed = [f"{name}: {facts['why']}" for name, facts in outcome.checks.items() if not facts["ok"]]
    if failed:
        outcome.status, outcome.why = "failed", "; ".join(failed)
    return outcome


def torch_pin() -> str:
    """Return the torch that this project pins, as pip writes it."""
    lines = (packages.ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("torch=="))


def _installs(cell: Cell, wheel: Path) -> list[list[str]]:
    """The arguments of the calls of pip."""
    if cell.extra != "core":
        return [[torch_pin(), f"{wheel}[{cell.extra}]"]]
    if cell.dependencies == "lowest":
        return [[*packages.lowest(packages.requirements(wheel), cell.python), str(wheel)]]
    if cell.dependencies == "headless":  # pip can't be told that this one serves as well
        return [["--no-deps", str(wheel)], ["numpy", "openvino", "opencv-python-headless"]]
    return [[str(wheel)], *([["opencv-python-headless"]] * (cell.dependencies == "both"))]


def _no_torch(python: Path, work: Path) -> str:
    """Why torch is not installed here; empty where it can be. On Linux x86-64 an index gives builds for CUDA only."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return ""
    options = ["--dry-run", "--quiet", "--no-deps", "--no-index"]
    try:
        _command([python, "-m", "pip", "install", *options, torch_pin()], work)
    except RuntimeError:
        return f"no CPU build of {torch_pin()} for this Python at hand, and no build for CUDA is taken from an index"
    return ""


def _smoke(python: Path, extra: str, source: Path, place: Path) -> dict[str, Any]:
    folder = place / "smoke"
    folder.mkdir()
    program = source / "matrix" / "smoke.py"
    found: dict[str, Any] = json.loads(_command([python, program, source, extra], folder).splitlines()[-1])
    return found


def _light_tests(python: Path, source: Path) -> dict[str, Any]:
    """Run the tests against the wheel: the checkout's packages are kept off the import path."""
    _command([python, "-m", "pip", "install", "--quiet", *TEST_TOOLS], source)
    options = ["-p", "no:cacheprovider", "-o", "pythonpath=.", "-q", "--no-header"]
    try:
        said = _command([python, "-m", "pytest", *options, "--rootdir", source, *LIGHT_TESTS], source)
    except RuntimeError as error:
        return {"ok": False, "why": str(error)[-1500:]}
    return {"ok": True, "says": said.strip().splitlines()[-1]}


def _both_are_noticed(doctor: dict[str, Any]) -> None:
    if doctor["ok"] and doctor["bad"] != ["opencv-flavours"]:
        doctor |= {"ok": False, "why": "two flavours of OpenCV are installed and doctor calls nothing bad"}


def _command(command: Sequence[str | Path], folder: Path) -> str:
    """Run a command that must succeed, without this checkout's import path; return what it prints."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}")
    return done.stdout
