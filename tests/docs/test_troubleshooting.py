"""docs/troubleshooting.md quotes messages that the code really has."""

from __future__ import annotations

import ast
import re

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
SOURCES = [path for package in ("sdk", "train", "convert") for path in sorted((ROOT / package).rglob("*.py"))]
NOT_OURS = {"libGL.so.1", "libgthread-2.0.so.0"}  # libraries of the system
ANYTHING = "\0"  # where a message has a name or a number


def rows() -> list[list[str]]:
    """The cells of every row of every table of the page with the symptom, the cause and the command."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[0] not in ("symptom", "---")]


def quotes() -> list[str]:
    """What the first cells quote."""
    return [quote for row in rows() for quote in re.findall(r"`([^`]+)`", row[0])]


@pytest.fixture(scope="module")
def messages() -> list[str]:
    """Every text in the sources, as one piece where it is written in several; parts that are filled in are open."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else ANYTHING for part in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def is_in(quote: str, message: str) -> bool:
    parts = [re.escape(part.strip()) for part in quote.split("...") if part.strip()]
    return re.search(r"\s*.*?\s*".join(parts), message, flags=re.DOTALL) is not None


def test_there_are_twenty_rows_with_a_symptom_a_cause_and_a_command() -> None:
    assert len(rows()) >= 20
    for row in rows():
        assert len(row) == 3, row
        assert all(row), row
    assert len(quotes()) >= 20
    assert len(set(quotes())) == len(quotes())


@pytest.mark.parametrize("quote", quotes())
def test_a_quoted_message_is_in_the_code(quote: str, messages: list[str]) -> None:
    assert quote in NOT_OURS or any(is_in(quote, message) for message in messages)


def test_a_message_that_is_gone_is_seen(messages: list[str]) -> None:
    assert not any(is_in("the moon is in the wrong quarter", message) for message in messages)
    assert is_in("no device ... here", f"OpenVINO finds no device {ANYTHING} here: it finds {ANYTHING}")
