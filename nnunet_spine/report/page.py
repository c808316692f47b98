"""The page's text: template, styles, scripts and data put into one file."""

import base64
import gzip
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from nnunet_spine.anatomy import structures

_PAGE = files("nnunet_spine.report") / "page"
_VENDOR = files("nnunet_spine.report") / "vendor"
STYLES = ("report.css", "case.css")
# In this order: later scripts use what earlier ones define.
SCRIPTS = (
    "dom.js", "metrics.js", "data.js", "summary.js", "table.js", "plots.js", "meshes.js", "renderer.js",
    "surface_view.js", "slice_view.js", "case.js", "main.js",
)  # fmt: skip
COMPARISON_SCRIPTS = ("dom.js", "metrics.js", "compare.js")
SECTIONS, COMPARISON_SECTIONS = ("summary", "distributions"), ("overall", "levels")
BLOB_OPEN, BLOB_CLOSE = '<script type="application/octet-stream+base64" data-blob="{name}">', "</script>\n"


def levels(kind: str) -> list[dict]:
    """What the page knows of the levels, or other structures of `anatomy.KINDS`, cranio-caudal."""
    return [
        {"name": s.name, "id": s.value, "region": s.region, "color": "#{:02x}{:02x}{:02x}".format(*s.color)}
        for s in structures(kind)
    ]


def json_text(content: object) -> str:
    """JSON that may stand inside a script element whatever its strings hold."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def frame(title: str, software: str, data: Mapping[str, object], *, comparison: bool = False) -> tuple[str, str]:
    """The page before and after its blobs; of one evaluation, or of a comparison."""
    parts = {
        "title": html.escape(title),
        "software": html.escape(software),
        "style": _joined(STYLES),
        "script": _joined(COMPARISON_SCRIPTS if comparison else SCRIPTS),
        "data": json_text(data),
        "sections": "\n".join(map(_section, COMPARISON_SECTIONS if comparison else SECTIONS)),
        "dialog": "" if comparison else '<dialog id="case" aria-labelledby="case-name"></dialog>\n',
    }
    before, after = (_PAGE / "template.html").read_text(encoding="utf-8").split("@@blobs@@\n")
    return re.sub(r"@@(\w+)@@", lambda match: parts[match[1]], before), after


def _section(name: str) -> str:
    return f'<section id="{name}" aria-labelledby="{name}-heading"></section>'


def _joined(names: tuple[str, ...]) -> str:
    return "\n".join((_PAGE / name).read_text(encoding="utf-8") for name in names)


def write_library(folder: Path) -> dict[str, Path]:
    """Blobs of the slice viewer's library and of its licences: name -> file with base64 text."""
    written = {}
    for name, source in (("niivue", "niivue.umd.js"), ("licences", "NIIVUE-LICENSES.txt")):
        written[name] = folder / name
        written[name].write_bytes(base64.b64encode(gzip.compress((_VENDOR / source).read_bytes(), 9, mtime=0)))
    return written
