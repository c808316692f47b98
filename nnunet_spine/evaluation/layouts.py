"""Tables in the layouts of the systems' own papers, one row per method where there are several.

The layouts follow what each paper reports, not its typesetting: Masuzawa et al. (segmentation and identification by
region), Sekuboyina et al. 2017 (Dice by group and by lumbar level), Mita et al. (IoU by level), Hempe and Heinrich 2021
(multi-label and binary Dice).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nnunet_spine.anatomy import REGION_NAMES, sort_cranio_caudal
from nnunet_spine.evaluation.table import MISSING, Table
from nnunet_spine.scores import CENTER_DEFINITIONS, CohortSummary, GroupSummary, Rate, Settings, Summary

_REGIONS = {"All": "all", **{key: name for key, name in REGION_NAMES.items()}}


@dataclass(frozen=True)
class Method:
    """A row, or a block of rows, of a table.

    Attributes:
        name: shown only where there are several methods.
        summary: over the cases that all methods have.
        groups: group of cases -> summary over these.
    """

    name: str
    summary: CohortSummary
    groups: dict[str, CohortSummary] = field(default_factory=dict)


def paper_tables(methods: Sequence[Method], settings: Settings, grid: str) -> tuple[Table, ...]:
    """All tables, for at least one method.

    Args:
        methods: over the same cases.
        settings: of the scores, stated in the captions.
        grid: "native" or "1mm", stated in the captions.
    """
    return (
        _segmentation(methods, settings, grid),
        _identification(methods, settings),
        _dice_by_group(methods),
        _dice_by_lumbar_level(methods),
        _iou_by_lumbar_level(methods),
        _multi_label_and_binary(methods),
        _by_level(methods, settings),
    )


def _segmentation(methods: Sequence[Method], settings: Settings, grid: str) -> Table:
    where = "the reference's grid" if grid == "native" else "a 1 mm isotropic grid (nearest neighbour)"
    return _by_region(
        methods,
        "segmentation",
        f"Segmentation by region (layout after Masuzawa et al., Table 1). {_n(methods)} Mean ± SD over vertebrae on "
        f"{where}; a missed vertebra has Dice 0 and NSD 0 and no distance. NSD at {settings.nsd_tolerance_mm:g} mm.",
        {
            "missed": lambda g: str(g.missed),
            "Dice": lambda g: mean_sd(g.dice, 3),
            "ASSD mm": lambda g: mean_sd(g.assd_mm, 2),
            "HD mm": lambda g: mean_sd(g.hd_mm, 2),
            "HD95 mm": lambda g: mean_sd(g.hd95_mm, 2),
            "NSD": lambda g: mean_sd(g.nsd, 3),
        },
    )


def _identification(methods: Sequence[Method], settings: Settings) -> Table:
    return _by_region(
        methods,
        "identification",
        f"Identification by region (layout after Masuzawa et al., Table 2). {_n(methods)} Localisation error "
        "d_mean: mean ± SD over vertebrae found under their name (hits), and mean over all with "
        f"{settings.miss_penalty_mm:g} mm for a missed one; centre: {CENTER_DEFINITIONS[settings.center]}. "
        "Identification rate in %, [95 % bootstrap interval over scans]: predicted centre within "
        f"{settings.identification_radius_mm:g} mm, and its own reference centre the nearest, among levels on both "
        "sides (VerSe's script) or among all reference levels (Glocker et al. 2012).",
        {
            "missed": lambda g: str(g.missed),
            "surplus": lambda g: str(g.surplus),
            "d_mean hits mm": lambda g: mean_sd(g.localisation_error_mm, 1),
            "median": lambda g: number(g.localisation_error_mm.median, 1),
            "d_mean all mm": lambda g: number(g.localisation_error_penalised_mm.mean, 1),
            "id VerSe %": lambda g: rate_interval(g.identification_rate),
            "id Glocker %": lambda g: rate_interval(g.identification_rate_glocker),
        },
    )


def _dice_by_group(methods: Sequence[Method]) -> Table:
    """By the groups of cases, or by region where there are none."""
    caption = (
        f"Dice in % (layout after Sekuboyina et al., Table 1). {_n(methods)} Mean ± SD over vertebrae, "
        "missed ones as 0."
    )
    groups = methods[0].groups
    if not groups:
        columns = {
            shown: lambda s, region=region: mean_sd(_region(s, region).dice, 1, 100)
            for region, shown in _REGIONS.items()
        }
        return _per_method(methods, "dice_groups", caption, columns)
    caption += " Scans: " + ", ".join(f"{group} {summary.cases}" for group, summary in groups.items()) + "."
    rows = [
        (m.name or "prediction", *(mean_sd(_region(s, "All").dice, 1, 100) for s in (*m.groups.values(), m.summary)))
        for m in methods
    ]
    return Table("dice_groups", caption, ("method", *groups, "all"), tuple(rows))


def _dice_by_lumbar_level(methods: Sequence[Method]) -> Table:
    return _per_method(
        methods,
        "dice_lumbar",
        f"Dice in % by lumbar level (layout after Sekuboyina et al., Table 2). {_n(methods)} Mean ± SD, "
        "missed ones as 0.",
        {**_lumbar(methods, lambda g: mean_sd(g.dice, 1, 100)),
         "lumbar": lambda s: mean_sd(_region(s, "L").dice, 1, 100)},
    )  # fmt: skip


def _iou_by_lumbar_level(methods: Sequence[Method]) -> Table:
    return _per_method(
        methods,
        "iou_lumbar",
        f"IoU by lumbar level (layout after Mita et al., Table 1). {_n(methods)} Mean over vertebrae, "
        "missed ones as 0.",
        {**_lumbar(methods, lambda g: number(g.iou.mean, 3)), "lumbar": lambda s: number(_region(s, "L").iou.mean, 3)},
    )


def _multi_label_and_binary(methods: Sequence[Method]) -> Table:
    return _per_method(
        methods,
        "dice_multilabel",
        f"Multi-label and binary Dice in % (layout after Hempe and Heinrich, Table 1). {_n(methods)} Multi-label: mean "
        "± SD over vertebrae, and over scans of each scan's mean, missed ones as 0; binary: over scans, all vertebrae "
        "against background. All correct: scans with exactly the reference's labels, each identified (VerSe's rule).",
        {
            "multi-label": lambda s: mean_sd(_region(s, "All").dice, 1, 100),
            "multi-label per scan": lambda s: mean_sd(s.dice_per_case, 1, 100),
            "binary": lambda s: mean_sd(s.binary_dice, 1, 100),
            "all correct": lambda s: f"{s.all_labels_correct.count}/{s.all_labels_correct.total}",
        },
    )


def _by_level(methods: Sequence[Method], settings: Settings) -> Table:
    columns: dict[str, Callable[[GroupSummary], str]] = {
        "n": lambda g: str(g.reference),
        "missed": lambda g: str(g.missed),
        "misnamed": lambda g: str(g.misnamed),
        "surplus": lambda g: str(g.surplus),
        "Dice": lambda g: mean_sd(g.dice, 3),
        "IoU": lambda g: mean_sd(g.iou, 3),
        "ASSD mm": lambda g: mean_sd(g.assd_mm, 2),
        "d_mean hits mm": lambda g: mean_sd(g.localisation_error_mm, 1),
        "id VerSe %": lambda g: rate(g.identification_rate),
    }
    caption = (
        f"Every level. {_n(methods)} Mean ± SD, missed ones as 0 in Dice and IoU; misnamed: found under another name, "
        f"which covers at least {100 * settings.covering_share:g} % of it."
    )
    rows = [
        (*_label(methods, method), group.group, *(cell(group) for cell in columns.values()))
        for method in methods
        for group in method.summary.levels
    ]
    return Table(
        "levels", caption, (*_label_header(methods), "level", *columns), tuple(rows), n_names=_n_names(methods)
    )


def _by_region(
    methods: Sequence[Method], key: str, caption: str, columns: dict[str, Callable[[GroupSummary], str]]
) -> Table:
    rows = [
        (
            *_label(methods, method),
            _REGIONS[group.group],
            str(group.reference),
            *(cell(group) for cell in columns.values()),
        )
        for method in methods
        for group in method.summary.regions
    ]
    return Table(
        key, caption, (*_label_header(methods), "region", "n", *columns), tuple(rows), n_names=_n_names(methods)
    )


def _per_method(
    methods: Sequence[Method], key: str, caption: str, columns: dict[str, Callable[[CohortSummary], str]]
) -> Table:
    rows = [(method.name or "prediction", *(cell(method.summary) for cell in columns.values())) for method in methods]
    return Table(key, caption, ("method", *columns), tuple(rows))


def _lumbar(
    methods: Sequence[Method], cell: Callable[[GroupSummary], str]
) -> dict[str, Callable[[CohortSummary], str]]:
    names = sort_cranio_caudal(
        {g.group for m in methods for g in m.summary.levels if g.group[0] == "L" and g.reference}
    )

    def column(name: str) -> Callable[[CohortSummary], str]:
        return lambda s: next((cell(g) for g in s.levels if g.group == name), MISSING)

    return {name: column(name) for name in names}


def _region(summary: CohortSummary, region: str) -> GroupSummary:
    return next(g for g in summary.regions if g.group == region)


def _n(methods: Sequence[Method]) -> str:
    summary = methods[0].summary
    everything = _region(summary, "All")
    scans = f"{summary.cases} scan{'s' * (summary.cases != 1)}"
    return f"n = {scans} with {everything.reference} reference vertebrae."


def _label(methods: Sequence[Method], method: Method) -> tuple[str, ...]:
    return (method.name,) if len(methods) > 1 else ()


def _label_header(methods: Sequence[Method]) -> tuple[str, ...]:
    return ("method",) if len(methods) > 1 else ()


def _n_names(methods: Sequence[Method]) -> int:
    return len(_label_header(methods)) + 1


def number(value: float | None, digits: int, factor: float = 1) -> str:
    """A number, or the sign for a missing one."""
    return MISSING if value is None else f"{factor * value:.{digits}f}"


def mean_sd(s: Summary, digits: int, factor: float = 1) -> str:
    """ "0.912 ± 0.031"; without ± for a single value."""
    sd = f" ± {factor * s.sd:.{digits}f}" if s.sd is not None else ""
    return number(s.mean, digits, factor) + sd


def rate(r: Rate) -> str:
    """In percent."""
    return number(r.value, 1, 100)


def rate_interval(r: Rate) -> str:
    """In percent, with the interval in brackets."""
    interval = f" [{100 * r.low:.1f}, {100 * r.high:.1f}]" if r.low is not None and r.high is not None else ""
    return rate(r) + interval
