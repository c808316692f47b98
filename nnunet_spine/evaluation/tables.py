"""Our own tables: every declared metric by region, by level and by scan, one row per method where there are several."""

from collections.abc import Callable, Iterator, Sequence

from nnunet_spine.anatomy import REGION_NAMES
from nnunet_spine.evaluation.cells import EXACT_NOTE, EXACT_SIGN, mean_sd, summary_cell
from nnunet_spine.evaluation.method import Method, size_text
from nnunet_spine.evaluation.table import Table
from nnunet_spine.scores import CENTRE_DEFINITIONS, CohortSummary, GroupSummary, Settings, metrics

REGION_TITLES = {"All": "all", **REGION_NAMES}
COUNTS = ("missed", "misnamed", "surplus")


def metric_tables(methods: Sequence[Method], settings: Settings, grid: str) -> tuple[Table, ...]:
    """All tables of ours, for at least one method.

    Args:
        methods: over the same cases.
        settings: of the scores, stated in the captions.
        grid: "native" or "1mm", stated in the captions.
    """
    where = "the reference's grid" if grid == "native" else "a 1 mm isotropic grid (nearest neighbour)"
    notes = {
        "segmentation": f"Mean ± SD over vertebrae on {where}.",
        "identification": f"Mean ± SD over vertebrae, shares in %; centre: {CENTRE_DEFINITIONS[settings.centre]}.",
    }
    by_region = [
        _by_group(methods, topic, f"{title} by region. {size_text(methods)} {notes[topic]}", "region")
        for topic, title in metrics.TOPICS.items()
    ]
    by_level = [
        _by_group(methods, topic, f"{title} by level. {size_text(methods)} {notes[topic]}", "level")
        for topic, title in metrics.TOPICS.items()
    ]
    return *by_region, _by_scan(methods), *by_level


def definitions(settings: Settings) -> list[str]:
    """One sentence or more about every metric, and how the means compare with nnU-Net's; for notes below tables."""
    lines = [f"{m.title}: {m.explain(settings)}" for m in metrics.METRICS]
    return [*lines, NNUNET_NOTE]


NNUNET_NOTE = (
    "nnU-Net's summary.json: its means differ from these. It averages each label over the cases in which the reference "
    "or the prediction has it, so that a surplus level counts as 0 there, and then averages the labels, each alike "
    "however rare; here every reference vertebra counts alike, and surplus levels are counted apart."
)


def _by_group(methods: Sequence[Method], topic: str, caption: str, kind: str) -> Table:
    columns = metrics.vertebra_metrics(topic)
    several = len(methods) > 1

    def cells(group: GroupSummary) -> Iterator[str]:
        yield from (str(group.reference), *(str(getattr(group, count)) for count in COUNTS))
        yield from (summary_cell(m, group[m.mean_key], interval=kind == "region") for m in columns)

    rows = [
        ((method.title,) * several) + (REGION_TITLES.get(group.group, group.group), *cells(group))
        for method in methods
        for group in (method.summary.regions if kind == "region" else method.summary.levels)
    ]
    header = (*["method"] * several, kind, "n", *COUNTS, *(m.name for m in columns))
    key = topic if kind == "region" else f"{topic}_levels"
    return _noted(Table(key, caption, header, tuple(rows), n_names=1 + several))


def _by_scan(methods: Sequence[Method]) -> Table:
    """One value per scan: of the scan, or the mean over its vertebrae; and one per cohort."""
    columns: dict[str, Callable[[CohortSummary], str]] = {"scans": lambda s: str(s.cases)}
    for m in (*metrics.scan_metrics(), *metrics.cohort_metrics()):
        columns[m.name] = lambda s, m=m: summary_cell(m, s[m.key], interval=True)
    for m in metrics.vertebra_metrics():
        factor, decimals = (100, 1) if m.is_share else (1, m.decimals)
        columns[f"{m.name} per scan"] = lambda s, m=m, f=factor, d=decimals: mean_sd(s.per_scan[m.mean_key], d, f)
    rows = []
    for method in methods:
        for group, summary in {**method.groups, "all": method.summary}.items():
            rows.append((method.title, group, *(cell(summary) for cell in columns.values())))
    caption = f"By scan. {size_text(methods)} Mean ± SD over scans, of a scan's value or of its vertebrae's mean."
    return _noted(Table("scans", caption, ("method", "group", *columns), tuple(rows), n_names=2))


def _noted(table: Table) -> Table:
    """The table, its signs explained."""
    text = [cell for row in table.rows for cell in row]
    notes = []
    if any("[" in cell for cell in text):
        notes.append("In brackets: 95 % interval over scans, by bootstrap.")
    if any(cell.endswith(f"]{EXACT_SIGN}") for cell in text):
        notes.append(EXACT_NOTE)
    return Table(table.key, " ".join([table.caption, *notes]), table.header, table.rows, table.n_names)
