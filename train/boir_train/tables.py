"""The paper's Tables 1, 2, 3, 5 and 6: its figures, ours, and what ours lack (SPEC-training T5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from boir_train.results import RUNS, Result, missing, objections

KEYS = ("1", "2", "3", "5", "6")
PRESETS = {"HRNet-W32": "w32", "HRNet-W48": "w48"}
METHODS = ("BoIR", "BoIR*")
FIGURES = ("AP", "AR", "params_M", "time_ms")  # columns that hold figures start with one of these, or hold a data set


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure.

    Attributes:
        paper: as the paper has it (per cent, millions, milliseconds); None: not reported.
        ours: measured by us in the same unit; None: not measured.
        why: what `ours` lacks, or None.
    """

    paper: float | None
    ours: float | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        names: the columns that say what was measured, such as method and backbone.
        cells: figures by column.
        reproduced: a line that ours can be set beside.
    """

    names: Mapping[str, Any]
    cells: Mapping[str, Cell]
    reproduced: bool


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the paper; `key` is its number."""

    key: str
    title: str
    rows: tuple[Row, ...]


def paper() -> dict[str, Any]:
    """All tables of the paper by number, as the package holds them."""
    text = (resources.files("boir_train") / "paper_tables.json").read_text(encoding="utf-8")
    tables: dict[str, Any] = json.loads(text)["tables"]
    return tables


def fill(results: Mapping[str, Result], root: Path) -> list[Table]:
    """Set our results beside the paper's figures.

    Args:
        results: by name of the run.
        root: folder that `data`, `runs` and `model` are in, to tell what is missing.
    """
    tables = paper()
    return [
        Table(key, tables[key]["title"], tuple(_row(key, row, results, root) for row in tables[key]["rows"]))
        for key in KEYS
    ]


def _row(key: str, row: Mapping[str, Any], results: Mapping[str, Result], root: Path) -> Row:
    names = {name: value for name, value in row.items() if not _is_figure(name)}
    ours = row["method"] in METHODS
    cells = {}
    for column, value in row.items():
        if _is_figure(column):
            source = run_of(key, row, column) if ours else None
            cells[column] = Cell(value) if source is None else _cell(value, *source, results, root)
    return Row(names, cells, ours)


def _is_figure(column: str) -> bool:
    return column.startswith((*FIGURES, "coco_", "ochuman_"))


def run_of(key: str, row: Mapping[str, Any], column: str) -> tuple[str, str] | None:
    """Which run a figure of ours comes from, and what the figure is called in its result.

    Args:
        key: the table's number.
        row: one of our method's.
        column: of the figure.

    Returns:
        None for what isn't the result of an evaluation.
    """
    preset = PRESETS[row["backbone"]]
    if column in ("params_M", "time_ms"):
        return None
    if key == "1":
        return f"coco_{preset}_testdev", column
    if key == "2":
        name = {"AP_E": "AP_easy", "AP_M": "AP_medium", "AP_H": "AP_hard"}.get(column, column)
        return f"crowdpose_{preset}" + ("_finetune" if row["method"] == "BoIR*" else ""), name
    if key == "3":
        dataset, split, name = column.split("_")
        return (f"coco_{preset}" if dataset == "coco" else f"{dataset}_{preset}_{split}"), name
    return f"coco_{preset}", column


def _cell(value: float | None, run: str, name: str, results: Mapping[str, Result], root: Path) -> Cell:
    if run not in results:
        return Cell(value, why=f"{run}: {missing(RUNS[run], root)}")
    found = results[run]
    against = objections(RUNS[run], found)
    if against:
        return Cell(value, why=f"{run}: not run: {found.path} doesn't count ({'; '.join(against)})")
    figure = found.figure(name)
    return Cell(value, figure, None if figure is not None else f"{run}: {found.path} has no {name}")


def others(results: Mapping[str, Result]) -> list[Result]:
    """Results that are no run of the paper's, such as those of `nano` or of a part of a data set."""
    return [result for name, result in results.items() if name not in RUNS]
