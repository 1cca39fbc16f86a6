"""Bundle folders: identical content, or a `BundleError`."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from pathlib import Path

from boir_sdk import bundle, selftest
from fuzz import mutate
from fuzz.campaign import Campaign, Case
from fuzz.settings import sealed


def prepare(folder: Path) -> Case:
    """The embedded bundle with its graphs cut to a size that is quickly written, sealed again."""
    good = folder / "good"
    shutil.copytree(bundle.default_path(), good)
    for path in good.rglob("dense.*"):
        path.write_bytes(path.read_bytes()[:3000])
    _seal(good)
    opened = bundle.read(good)
    content = _content(good)
    names = sorted(content)

    def case(rng: random.Random) -> None:
        bad = folder / "bad"
        shutil.rmtree(bad, ignore_errors=True)
        shutil.copytree(good, bad)
        resealed = rng.random() < 0.2
        _harm(rng, bad, names)
        if resealed and (bad / bundle.MANIFEST_NAME).is_file():
            _seal(bad)
        read = bundle.read(bad)
        read.describe()
        tests = selftest.read(read)
        if not resealed:
            assert read.manifest == opened.manifest and _content(bad) == content, "other content was accepted"
            assert tests.keys() == {"int8"}, tests.keys()

    return case


def _harm(rng: random.Random, bad: Path, names: list[str]) -> None:
    path = bad / rng.choice(names)
    how = rng.randrange(12)
    if how < 5:
        path.write_bytes(mutate.data(rng, path.read_bytes()))
    elif how == 5:
        path.unlink()
    elif how == 6:
        other = bad / rng.choice(names)
        path.write_bytes(other.read_bytes())
    elif how == 7:
        path.with_name(rng.choice(("extra", ".hidden", "a\nb", "e.xml", path.name.upper() + "x"))).write_bytes(b"x")
    elif how == 8:
        path.unlink()
        path.symlink_to(rng.choice(("/dev/zero", "/etc/passwd", str(path), "nowhere")))
    elif how == 9:
        path.unlink()
        os.mkfifo(path)
    elif how == 10:
        path.unlink()
        path.mkdir()
    else:
        (bad / "deep" / "er").mkdir(parents=True)


def _seal(folder: Path) -> None:
    """Make the manifest fit what the folder holds, as somebody who means harm would."""
    path = folder / bundle.MANIFEST_NAME
    try:
        content = json.loads(path.read_bytes())
        found = [one for one in folder.rglob("*") if one.is_file() and not one.is_symlink() and one != path]
        content["files"] = {
            one.relative_to(folder).as_posix(): {"size": one.stat().st_size, "sha256": _sha256(one)} for one in found
        }
        path.write_bytes(sealed(content))
    except (ValueError, TypeError, OSError):
        return  # the manifest itself was harmed


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


CAMPAIGN = Campaign("bundles", 5000, prepare, ("boir_sdk.selftest",))
