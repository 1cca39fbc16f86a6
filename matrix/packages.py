"""The wheel and the source distribution: building both, what is in them, what they ask for."""

from __future__ import annotations

import email
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
_NOT_COPIED = (".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "build", "dist", "out", "runs", "*.tmp")


@dataclass(frozen=True, slots=True)
class Built:
    """What was built of a checkout.

    Attributes:
        source: a copy of the checkout, so that work going on in it meanwhile changes nothing.
        wheel: as `pip install .` builds it.
        sdist: the source distribution.
        wheel_of_sdist: the wheel built from that, with no checkout near it.
    """

    source: Path
    wheel: Path
    sdist: Path
    wheel_of_sdist: Path


def build(folder: Path) -> Built:
    """Build all three into an existing folder.

    Raises:
        RuntimeError: a build failed; the message is its output.
    """
    source = shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*_NOT_COPIED))
    _run([sys.executable, "-m", "build", "--wheel", "--outdir", folder / "tree", source], folder)
    _run([sys.executable, "-m", "build", "--outdir", folder / "sdist", source], folder)  # the wheel from the sdist
    (wheel,), (sdist,), (second,) = (
        list((folder / place).glob(kind))
        for place, kind in (("tree", "*.whl"), ("sdist", "*.tar.gz"), ("sdist", "*.whl"))
    )
    return Built(source, wheel, sdist, second)


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the files of a wheel by name, without the record of their hashes, which follows from them."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith(".dist-info/RECORD")}


def sdist_names(sdist: Path) -> set[str]:
    """Return the files of a source distribution, without its top folder's name."""
    with tarfile.open(sdist) as archive:
        return {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}


def requirements(wheel: Path) -> list[str]:
    """Return what a wheel asks for, extras included, as it says so itself."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name)).get_all("Requires-Dist", [])


def lowest(needs: Sequence[str], python: str) -> list[str]:
    """Return the core requirements of a Python, each at exactly its lower bound.

    Args:
        needs: from `requirements`.
        python: such as `3.12`.

    Raises:
        ValueError: a core requirement has no lower bound.
    """
    pins = []
    for text in needs:
        need = Requirement(text)
        if need.marker is not None and not need.marker.evaluate({"python_version": python, "extra": ""}):
            continue
        bounds = [one.version for one in need.specifier if one.operator == ">="]
        if len(bounds) != 1:
            raise ValueError(f"{text} has no lower bound")
        pins.append(f"{need.name}=={bounds[0]}")
    return pins


def _run(command: Sequence[str | Path], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command}\n{done.stdout}\n{done.stderr}")
