"""Tables with the rows and columns of the systems' own papers, for a column beside the published one.

Masuzawa et al. 2020 (Dice, ASSD, HD of all vertebrae; localisation error and identification rate by region),
Sekuboyina et al. 2017 (Dice of the entire spine: data set by row, and method by group of patients), Mita et al. (IoU by
lumbar level), Hempe and Heinrich 2021 (multi-label and binary Dice). What they do not report is in `tables`.
"""

from collections.abc import Callable, Sequence

from nnunet_spine.anatomy import sort_cranio_caudal
from nnunet_spine.evaluation.cells import mean_sd, number, rate
from nnunet_spine.evaluation.method import Method, region_of, size_text
from nnunet_spine.evaluation.table import MISSING, Table
from nnunet_spine.evaluation.tables import REGION_TITLES
from nnunet_spine.scores import CohortSummary, GroupSummary

Column = Callable[[CohortSummary], str]


def paper_tables(methods: Sequence[Method]) -> tuple[Table, ...]:
    """All papers' tables, for at least one method; the methods are over the same cases."""
    return (
        _masuzawa_segmentation(methods),
        _masuzawa_identification(methods),
        *_sekuboyina(methods),
        _mita(methods),
        _hempe(methods),
    )


def _masuzawa_segmentation(methods: Sequence[Method]) -> Table:
    return _per_method(
        methods,
        "masuzawa_segmentation",
        f"Layout of Masuzawa et al., segmentation. {size_text(methods)} Mean ± SD over vertebrae.",
        {
            "Dice %": lambda s: mean_sd(region_of(s, "All")["dice"], 1, 100),
            "ASSD mm": lambda s: mean_sd(region_of(s, "All")["assd_mm"], 2),
            "HD mm": lambda s: mean_sd(region_of(s, "All")["hd_mm"], 2),
        },
    )


def _masuzawa_identification(methods: Sequence[Method]) -> Table:
    columns: dict[str, Column] = {}
    for region, title in REGION_TITLES.items():
        columns[f"{title} error mm"] = lambda s, r=region: mean_sd(region_of(s, r)["localisation_error_mm"], 1)
        columns[f"{title} id %"] = lambda s, r=region: rate(region_of(s, r)["identification_rate_glocker"])
    return _per_method(
        methods,
        "masuzawa_identification",
        f"Layout of Masuzawa et al., localisation and identification. {size_text(methods)} Error: mean ± SD over "
        "vertebrae found under their name; id: rate by the rule of Glocker et al. 2012.",
        columns,
    )


def _sekuboyina(methods: Sequence[Method]) -> tuple[Table, ...]:
    """Table 1: data sets by row; Table 2: method by group of patients. Both: Dice of the entire spine."""
    groups = {**methods[0].groups, "all": methods[0].summary}
    what = "Dice of the entire spine in %, mean ± SD over scans."
    by_set = Table(
        "sekuboyina_1",
        f"Layout of Sekuboyina et al., Table 1. {size_text(methods)} {what}",
        ("data set", "scans", *(m.title for m in methods)),
        tuple((name, str(s.cases), *(_spine({**m.groups, "all": m.summary}[name]) for m in methods))
              for name, s in groups.items()),
    )  # fmt: skip
    if not methods[0].groups:
        return (by_set,)
    rows = tuple((m.title, *(_spine(s) for s in m.groups.values())) for m in methods)
    counts = ", ".join(f"{name} {s.cases}" for name, s in methods[0].groups.items())
    by_group = Table(
        "sekuboyina_2",
        f"Layout of Sekuboyina et al., Table 2. {size_text(methods)} {what} Scans: {counts}.",
        ("method", *methods[0].groups),
        rows,
    )
    return by_set, by_group


def _spine(summary: CohortSummary) -> str:
    return mean_sd(summary["binary_dice"], 1, 100)


def _mita(methods: Sequence[Method]) -> Table:
    names = {g.group for m in methods for g in m.summary.levels if g.group[0] == "L" and g.reference}

    def iou(group: GroupSummary) -> str:
        return number(group["iou"].mean, 3)

    columns: dict[str, Column] = {
        name: lambda s, name=name: next((iou(g) for g in s.levels if g.group == name), MISSING)
        for name in sort_cranio_caudal(names)
    }
    caption = f"Layout of Mita et al., Table 1. {size_text(methods)} IoU by lumbar level, mean over vertebrae."
    return _per_method(methods, "mita", caption, {**columns, "lumbar": lambda s: iou(region_of(s, "L"))})


def _hempe(methods: Sequence[Method]) -> Table:
    return _per_method(
        methods,
        "hempe",
        f"Layout of Hempe and Heinrich, Table 1. {size_text(methods)} Dice in %, mean ± SD over scans. "
        "Multi-label: mean over a scan's vertebrae; binary: all vertebrae against background.",
        {
            "multi-label": lambda s: mean_sd(s.per_scan["dice"], 1, 100),
            "binary": _spine,
        },
    )


def _per_method(methods: Sequence[Method], key: str, caption: str, columns: dict[str, Column]) -> Table:
    rows = [(method.title, *(cell(method.summary) for cell in columns.values())) for method in methods]
    return Table(key, caption, ("method", *columns), tuple(rows))
