"""The documentation site: `make docs` builds it into out/site, strictly; it loads nothing from other hosts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from docutils.nodes import Element, reference
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / package) for package in ("sdk", "train", "convert")]

from boir_sdk import __version__  # noqa: E402 - found only now

project = "boir-sdk"
author = copyright = "The boir-sdk developers"
version = release = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser"]
exclude_patterns = ["performance"]
nitpicky = True
# Types of Python and of other packages: their documentation isn't here to link to, and nothing is fetched.
_FOREIGN = r"(numpy|np|npt|torch|nn|collections|pathlib|typing|types)\..*|(Tensor|NDArray|ArrayLike)"
nitpick_ignore_regex = [
    ("py:.*", _FOREIGN),
    ("py:.*", r"(Any|Callable|Iterable|Iterator|Mapping|Sequence|Literal|Path)"),
]

# Docstrings have Markdown's single backticks: they are code here too.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_mock_imports = [] if importlib.util.find_spec("torch") else ["torch"]
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True

myst_heading_anchors = 3
html_theme = "furo"
html_title = f"boir-sdk {version}"
html_copy_source = False
html_show_sphinx = False


def _by_last_name(app: Sphinx, environment: BuildEnvironment, node: pending_xref, content: Element) -> reference | None:
    """Resolve `boir_sdk.poses.Poses`, or a plain `Poses`, to the one place that documents a `Poses`."""
    domain = environment.domains.python_domain
    last = node.get("reftarget", "").rpartition(".")[2]
    places = {name: entry for name, entry in domain.objects.items() if name.rpartition(".")[2] == last}
    if node.get("refdomain") != "py" or len(places) != 1:
        return None
    (name, entry), *_ = places.items()
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, name)


def setup(app: Sphinx) -> None:
    """Register what Sphinx calls."""
    app.connect("missing-reference", _by_last_name)
