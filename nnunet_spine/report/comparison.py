"""comparison.json -> a page with several methods side by side."""

import os
from pathlib import Path

from nnunet_spine.evaluation.comparison import FILE_NAME, load_comparison
from nnunet_spine.evaluation.record import FILE_NAME as EVALUATION
from nnunet_spine.io.files import atomic_path
from nnunet_spine.report import page
from nnunet_spine.report.build import rounded

TITLE = "Vertebrae in CT: comparison"


def is_comparison(source: str | Path) -> bool:
    """Whether a place is a comparison.json, or a folder that holds one and no evaluation of its own."""
    source = Path(source)
    if source.is_dir():
        return (source / FILE_NAME).is_file() and not (source / EVALUATION).is_file()
    return source.name == FILE_NAME


def build_comparison(source: str | Path, path: str | Path, title: str | None = None) -> Path:
    """Write a page that compares methods: over all cases, by level and by case, with paired differences.

    Values lead to the methods' own pages where these lie in their folders as `nnunet-spine report` writes them.

    Args:
        source: comparison.json, or its folder.
        path: HTML file to write.
        title: heading; None: a general one.

    Raises:
        InputError: not a comparison.
        WriteError: the page cannot be written.
    """
    source, path = Path(source), Path(path)
    source = source / FILE_NAME if source.is_dir() else source
    content = load_comparison(source)
    title = title or TITLE
    methods = []
    for method in content["methods"]:
        own = source.parent / method["folder"] / "report.html"
        link = Path(os.path.relpath(own, path.parent)).as_posix() if own.is_file() else None
        methods.append({**method, "page": link})
    data = {
        "title": title,
        "source": str(source),
        "levels": page.levels(content["settings"]["kind"]),
        **{key: rounded(content[key]) for key in ("software", "metrics", "cases", "differences", "failures")},
        "methods": rounded(methods),
    }
    before, after = page.frame(title, content["software"], data, comparison=True)
    with atomic_path(path) as temporary:
        temporary.write_text(before + after, encoding="utf-8")
    return path
