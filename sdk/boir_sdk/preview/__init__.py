"""The browser preview: live overlays and figures on a web page, with nothing but the standard library.

Modules: `feed` (results become pictures and figures), `access` (who may see them), `request` (reading a request with
limits), `server` (the routes). The page is `page.html` with its script and style sheet beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boir_sdk.preview.server import Preview

__all__ = ["Preview"]


def __getattr__(name: str) -> object:
    """Load the name on first use (PEP 562)."""
    if name != "Preview":
        raise AttributeError(f"module 'boir_sdk.preview' has no attribute {name!r}")
    from boir_sdk.preview.server import Preview

    return Preview
