"""comparison.json: several methods side by side, over the cases that all of them have."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from nnunet_spine import __version__
from nnunet_spine.errors import InputError
from nnunet_spine.evaluation.method import Method
from nnunet_spine.evaluation.paired import paired_differences
from nnunet_spine.evaluation.record import VERSION, Evaluation, metric_to_dict, settings_to_dict
from nnunet_spine.io.files import read_json, write_json
from nnunet_spine.scores import CaseScore, metrics

FILE_NAME = "comparison.json"


def write_comparison_record(
    evaluations: Sequence[Evaluation], methods: Sequence[Method], cases: Sequence[str], folder: Path
) -> None:
    """Write comparison.json into a folder, in which each method has a folder of its name.

    Args:
        evaluations: the first one is what the others are compared with.
        methods: their summaries over the common cases.
        cases: names of these.
    """
    first = evaluations[0]
    settings = first.settings
    found = {e.method: _chosen(e, cases) for e in evaluations}
    differences = {
        other.method: {
            group: {k: asdict(v) for k, v in paired_differences(found[other.method], found[first.method], settings,
                                                                group=group).items()}
            for group in _groups(methods)
        }
        for other in evaluations[1:]
    }  # fmt: skip
    content = {
        "version": VERSION,
        "software": f"nnunet-spine {__version__}",
        "baseline": first.method,
        "settings": settings_to_dict(first, folder),
        "metrics": [metric_to_dict(metric, settings) for metric in metrics.METRICS],
        "cases": list(cases),
        "methods": [
            {
                "name": method.name,
                "folder": method.name,
                "summary": method.summary.to_dict(),
                "values": {score.case: score.scan_values(settings) for score in found[method.name]},
            }
            for method in methods
        ],
        "differences": differences,
        "failures": [
            {"method": e.method, "case": f.case, "message": f.message} for e in evaluations for f in e.failures
        ],
    }
    write_json(folder / FILE_NAME, content)


def load_comparison(path: str | Path) -> dict:
    """Read comparison.json, or the one in a folder.

    Raises:
        InputError: missing, unreadable, of another version, or something else.
    """
    path = Path(path)
    path = path / FILE_NAME if path.is_dir() else path
    content = read_json(path)
    if not isinstance(content, dict) or not {"version", "methods", "differences", "metrics"} <= content.keys():
        raise InputError("not a comparison of `nnunet-spine evaluate`", "give its comparison.json", path)
    if content["version"] != VERSION:
        raise InputError(f"version {content['version']} of the file format; expected {VERSION}", "evaluate again", path)
    return content


def _chosen(evaluation: Evaluation, cases: Sequence[str]) -> list[CaseScore]:
    by_name = {score.case: score for score in evaluation.scores}
    return [by_name[case] for case in cases]


def _groups(methods: Sequence[Method]) -> Iterator[str]:
    """Regions and levels that the reference has."""
    yield from (group.group for group in methods[0].summary.groups if group.reference or group.group == "All")
