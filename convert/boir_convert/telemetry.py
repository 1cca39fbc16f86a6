"""Keep a conversion's tools from reporting home: OpenVINO's converter and NNCF both send usage data by default.

Neither offers a switch in code; both keep quiet in what their environment says is a CI job, so that is what they see
while they work for us.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_SWITCHES = {"CI": "true", "NNCF_CI": "1"}


@contextmanager
def off() -> Iterator[None]:
    """Run a block in which neither OpenVINO's converter nor NNCF sends anything; the environment is restored after."""
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
