"""What is installed in an environment and how large it is; also a program of its own: `python sizes.py`."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

INSTALLERS = {"pip", "setuptools", "wheel"}


def installed() -> dict[str, dict[str, object]]:
    """Return version and bytes on disk of every distribution, without what pip compiles on the way (`.pyc`).

    A file that two distributions wrote (flavours of OpenCV) is there once and counted once.
    """
    found: dict[str, dict[str, object]] = {}
    counted: set[Path] = set()
    for one in metadata.distributions():
        name = one.metadata["Name"].lower().replace("_", "-")
        files = {Path(str(one.locate_file(file))) for file in one.files or ()} - counted
        counted |= files
        size = sum(path.stat().st_size for path in files if path.suffix != ".pyc" and path.is_file())
        if name not in INSTALLERS:
            found[name] = {"version": one.version, "bytes": size}
    return dict(sorted(found.items()))


if __name__ == "__main__":
    print(json.dumps(installed()))
