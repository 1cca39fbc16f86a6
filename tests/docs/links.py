"""Every link, anchor, picture, script and style sheet of a built site is in the site; nothing is fetched.

`python -m tests.docs.links FOLDER` prints what is broken and ends with 1.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes that make a browser load something, and the one that only a click follows.
LOADS = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src"), ("iframe", "src"), ("img", "srcset")}
FOLLOWS = ("a", "href")


@dataclass
class Page(HTMLParser):
    """What a page is linked by and what it links to."""

    anchors: set[str] = field(default_factory=set)
    follows: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (tag, name) == ("a", "name"):
                self.anchors.add(value or "")
            elif (tag, name) == FOLLOWS:
                self.follows.append(value or "")
            elif (tag, name) in LOADS:
                self.loads.append(value or "")


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def broken(site: Path) -> list[str]:
    """What is wrong with the links of a site, a line each."""
    pages = {path: read(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        here = path.relative_to(site)
        for link in page.loads + page.follows:
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                if link in page.loads:
                    found.append(f"{here}: loads {link} from another host")
                continue
            if parts.path.startswith("/"):
                found.append(f"{here}: {link} starts at the root, which no file:// page has")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                found.append(f"{here}: {link} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{here}: {link}: no such anchor")
    for sheet in site.rglob("*.css"):
        for address in re.findall(r"(?:@import\s+|url\()\s*[\"']?((?:https?:)?//[^\"')\s]+)", sheet.read_text("utf-8")):
            found.append(f"{sheet.relative_to(site)}: loads {address} from another host")
    return found


def main() -> int:
    """Check the site that the command line names."""
    site = Path(sys.argv[1]).resolve()
    problems = broken(site)
    print("\n".join(problems) or f"{len(list(site.rglob('*.html')))} pages: every link leads somewhere")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
