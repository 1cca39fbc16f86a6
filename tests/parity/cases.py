"""Parity cases, discovered from the `index.json` of a fixture folder.

A folder is a set: another one with the same kinds (other salts, seeds, sizes) can be put in through the environment
variables that `tests.conftest` reads. So nothing here knows a case by name.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.conftest import FIXTURES, SHARED


@dataclass(frozen=True, slots=True)
class Case:
    """One entry of an index.

    Attributes:
        id: `id` of the record, or `kind/case` where records are numbered by kind.
        record: the entry as written.
        path: the file that holds the expected values.
    """

    id: str
    record: dict[str, Any]
    path: Path

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays of an `.npz` case by name, with pickles refused."""
        with np.load(self.path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def json(self) -> Any:
        """The content of a `.json` case."""
        return json.loads(self.path.read_text(encoding="utf-8"))


@cache
def _index(root: Path) -> tuple[dict[str, Any], ...]:
    return tuple(json.loads((root / "index.json").read_text(encoding="utf-8"))["cases"])


def _skipped(kind: str, reason: str) -> list[Any]:
    return [pytest.param(None, id=f"{kind}-absent", marks=pytest.mark.skip(reason=reason))]


def cases(kind: str, root: Path = FIXTURES) -> list[Any]:
    """Return one `pytest.param(Case)` per case of `kind`, in index order, for `@pytest.mark.parametrize("case", ...)`.

    Without the folder, or without a case of that kind, it is one parameter that skips and says why.
    """
    if not (root / "index.json").is_file():
        return _skipped(kind, f"no fixtures at {root} (set BOIR_SHARED, BOIR_FIXTURES or BOIR_FIXTURES_TRAIN)")
    found = [
        Case(id=record.get("id") or f"{record['kind']}/{record['case']}", record=record, path=root / record["file"])
        for record in _index(root)
        if record["kind"] == kind
    ]
    if not found:
        return _skipped(kind, f"the fixtures at {root} hold no case of kind {kind!r}")
    return [pytest.param(case, id=case.id) for case in found]


@cache
def recipe() -> ModuleType:
    """The fixtures' `recipe.py` (pictures and weights from a salt), beside the fixtures or in the shared folder."""
    for path in (FIXTURES.parent / "recipe.py", SHARED / "reference" / "recipe.py"):
        if path.is_file():
            spec = importlib.util.spec_from_file_location("boir_reference_recipe", path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    pytest.skip(f"no recipe.py beside {FIXTURES} or in {SHARED / 'reference'}")
