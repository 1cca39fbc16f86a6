"""Keep the tools we stand on from reporting home: OpenVINO, its converter and NNCF all send usage data by default.

OpenVINO does so as soon as it is imported. None offers a switch in code; all keep quiet in what their environment says
is a CI job, so that is what they see while they are imported and while they work for us.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_SWITCHES = {"CI": "true", "NNCF_CI": "1"}


@contextmanager
def off() -> Iterator[None]:
    """Run a block in which neither OpenVINO nor its converter nor NNCF sends anything; the environment is restored."""
    before = {name: os.environ.get(name) for name in _SWITCHES}
    os.environ.update(_SWITCHES)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
