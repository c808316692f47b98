"""What is known about one scored case. Nothing is NaN: a value that does not exist is None, and counted."""

from collections.abc import Mapping
from dataclasses import dataclass

from nnunet_spine.anatomy import region_of
from nnunet_spine.scores.metrics import Metric, Value, find_metric, scan_metrics, vertebra_metrics
from nnunet_spine.scores.settings import Settings
from nnunet_spine.scores.summary import summarise
from nnunet_spine.scores.vertebra import SurplusVertebra, VertebraScore

FAR_MM = 20.0  # a centre so far off raises the suspicion as much as no overlap at all


def in_group(name: str, group: str) -> bool:
    """Whether a structure belongs to a group: "All", a region, or itself."""
    return group in ("All", region_of(name), name)


@dataclass(frozen=True)
class CaseScore:
    """One case; `score["dice"]` is the mean over its vertebrae, `score["binary_dice"]` a value of the scan.

    Attributes:
        case: its name.
        kind: what its structures are, of `anatomy.KINDS`; regions and the whole spine are "vertebrae" here, too, but
            metrics that need centres have no values.
        values: key of a metric of scans -> value; None where it does not exist.
        vertebrae: the reference vertebrae in cranio-caudal order.
        surplus: predicted levels that the reference does not have, in cranio-caudal order.
        shift: levels by which the whole prediction is off, see `shift.level_shift`; None: no shift explains the names,
            or none is wrong.
        notes: what a reader of the numbers must know, e.g. that the prediction was resampled.
    """

    case: str
    values: Mapping[str, Value]
    vertebrae: tuple[VertebraScore, ...]
    surplus: tuple[SurplusVertebra, ...]
    shift: int | None = None
    notes: tuple[str, ...] = ()
    kind: str = "vertebrae"

    def __getitem__(self, key: str) -> Value:
        return self.value(find_metric(key))

    def value(self, metric: Metric, settings: Settings = Settings(), group: str = "All") -> Value:  # noqa: B008
        """The scan's value of a metric of scans, or the mean over its vertebrae of one of vertebrae.

        Args:
            settings: what a missed vertebra counts as, where the metric says so.
            group: the vertebrae to average over: "All", a region, or a level's name.
        """
        if metric.level == "scan":
            return self.values.get(metric.key)
        return summarise(self.vertebra_values(metric, settings, group)).mean

    def vertebra_values(self, metric: Metric, settings: Settings, group: str = "All") -> list[Value]:
        """The metric's value of each vertebra of a group."""
        by_setting = isinstance(metric.if_missed, str)
        missed = metric.missed_as(settings)
        inside = [v for v in self.vertebrae if in_group(v.name, group)]
        return [missed if by_setting and v.missed else v.values.get(metric.key) for v in inside]

    def scan_values(self, settings: Settings = Settings()) -> dict[str, Value]:  # noqa: B008
        """One value per metric of scans by its key, and per metric of vertebrae by the key of its mean."""
        metrics = [*vertebra_metrics(), *scan_metrics()]
        return {metric.mean_key: self.value(metric, settings) for metric in metrics}

    @property
    def n_reference(self) -> int:
        """How many vertebrae the reference has."""
        return len(self.vertebrae)

    @property
    def n_predicted(self) -> int:
        """How many levels the prediction has, surplus ones included."""
        return self.n_reference - len(self.missed) + len(self.surplus)

    @property
    def missed(self) -> tuple[str, ...]:
        """Reference levels without any predicted voxel."""
        return tuple(v.name for v in self.vertebrae if v.missed)

    @property
    def misnamed(self) -> tuple[str, ...]:
        """Reference levels that were found under another name."""
        return tuple(v.name for v in self.vertebrae if v.misnamed)

    @property
    def surplus_names(self) -> tuple[str, ...]:
        """Predicted levels that the reference does not have."""
        return tuple(s.name for s in self.surplus)

    @property
    def n_identified(self) -> int:
        """How many reference vertebrae are identified by VerSe's rule."""
        return sum(bool(v["identified"]) for v in self.vertebrae)

    @property
    def n_wrong(self) -> int:
        """Levels that are not identified by VerSe's rule (missed, misplaced, shifted), and surplus ones.

        Of regions and spines those that are missed or found under another name, or surplus.
        """
        if self.kind == "vertebrae":
            return self.n_reference - self.n_identified + len(self.surplus)
        return sum(v.missed or v.misnamed for v in self.vertebrae) + len(self.surplus)

    @property
    def all_labels_correct(self) -> bool:
        """Whether predicted and reference label sets are equal and every vertebra is identified by VerSe's rule.

        Says nothing about outlines. True for an empty prediction of an empty reference.
        """
        return self.n_wrong == 0

    @property
    def suspicion(self) -> float:
        """How much the case asks to be looked at, 0 (perfect) to 1.

        `outline` is the largest, over the vertebrae that were predicted, of 1 - Dice and of distance / 20 mm (at most
        1). With all labels right it is 0.5 outline. Otherwise 0.5 + 0.4 wrong + 0.1 outline, where `wrong` is the
        share of levels, reference and surplus, that `n_wrong` counts: a wrong label always comes before a bad outline.
        """
        found = [v for v in self.vertebrae if not v.missed]
        flaws = [1 - v["dice"] for v in found if v["dice"] is not None]
        flaws += [v["distance_mm"] / FAR_MM for v in found if v["distance_mm"] is not None]
        outline = min(1.0, max(flaws, default=0.0))
        if self.all_labels_correct:
            return 0.5 * outline
        return 0.5 + 0.4 * self.n_wrong / (self.n_reference + len(self.surplus)) + 0.1 * outline
