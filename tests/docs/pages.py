"""The pages of the documentation and their fenced blocks, with the marks that say how a block is checked.

A mark is a comment on the lines right before the fence:

    <!-- not run: REASON -->   the block is only parsed: its commands by their own parsers, Python by the compiler
    <!-- slow: REASON -->      as that, and run where BOIR_SLOW_DOCS is set (`make test-docs`)

and anywhere in a page `<!-- bash is run by TEST -->`: the page's bash blocks have a test of their own.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELLS = ("bash", "console")
TOOLS = ("boir", "boir-convert", "boir-train", "boir-eval")

_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
_MARKS = re.compile(r"((?:^<!-- [^\n]* -->\n)*)\Z", flags=re.MULTILINE)
_PROMPT = re.compile(r"^[\w-]*\$ ")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: where it stands.
        line: of its first line in the page, from 1.
        language: what stands behind the fence.
        text: between the fences.
        mark: `not run`, `slow`, `elsewhere` or none.
        reason: why it isn't run.
    """

    page: Path
    line: int
    language: str
    text: str
    mark: str
    reason: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, text: str | None = None) -> list[Block]:
    """The fenced blocks of a page in order; `text` instead of what the file holds."""
    text = page.read_text(encoding="utf-8") if text is None else text
    elsewhere = re.search(r"^<!-- bash is run by (\S+) -->$", text, flags=re.MULTILINE)
    found = []
    for fence in _FENCE.finditer(text):
        comments = _MARKS.search(text[: fence.start()])
        marks = re.findall(r"<!-- (not run|slow): (.+?) -->", comments[1] if comments else "")
        mark, reason = marks[-1] if marks else ("", "")
        if not mark and elsewhere and fence[1] == "bash":
            mark, reason = "elsewhere", elsewhere[1]
        line = text.count("\n", 0, fence.start()) + 2
        found.append(Block(page, line, fence[1], fence[2], mark, reason))
    return found


def commands(block: Block) -> list[str]:
    """The command lines of a shell block, continued lines joined; of a console only those behind a prompt."""
    text = block.text.replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if block.language == "console":
        lines = [_PROMPT.sub("", line) for line in lines if _PROMPT.match(line)]
    return [line for line in lines if not line.startswith("#")]


def words(line: str) -> list[str]:
    """The words of a command without what stands before its name (variables, `time`)."""
    found = shlex.split(line, comments=True)
    while found and (re.fullmatch(r"[A-Z_]+=.*", found[0]) or found[0] in ("/usr/bin/time", "-v", "nice")):
        found = found[1:]
    return found


def inline_commands(page: Path) -> list[str]:
    """Commands of our tools in running text and tables."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    found = [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    return [code for code in found if code.split(" ")[0] in TOOLS and " " in code]
