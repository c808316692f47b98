"""Every metric, declared once.

Whatever computes, summarises, writes, draws or compares scores iterates over `METRICS`. To add a metric, add its
declaration here; nothing else needs to change.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from nnunet_spine.errors import InputError
from nnunet_spine.scores.pairs import ScanPair, VertebraPair
from nnunet_spine.scores.settings import Settings
from nnunet_spine.scores.shift import wrong_name_runs
from nnunet_spine.scores.vertebra import VertebraScore

LEVELS = ("vertebra", "scan", "cohort")
TOPICS = {"segmentation": "Segmentation", "identification": "Identification"}
NEEDS = ("masks", "centres")

Value = float | bool | None


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        key: its name in files.
        title: its name for people.
        definition: how it is computed, in a sentence or two; may hold fields of `Settings` ("{nsd_tolerance_mm:g} mm").
        compute: level "vertebra": `VertebraPair` -> value, asked for vertebrae that were predicted only; "scan":
            `ScanPair` -> value; "cohort": `CaseScore` -> numerator and denominator, summed over the cohort's scans.
        source: where the definition comes from.
        level: of what there is one value. Values of vertebrae are also averaged over each scan.
        topic: the table that shows it, a key of `TOPICS`.
        needs: "masks" in the reference, or "centres".
        unit: "mm", or "" for a number without.
        better: "higher" or "lower".
        decimals: that make sense.
        yes_no: values are true or false and their summary is a share.
        if_missed: what a missed vertebra counts as: a number, the name of a setting that holds it, or None: it is left
            out, and counted as missing.
        mean_key: name in files of the mean over a scan's vertebrae and of a group's summary; unset: `key`.
        mark: a vertebra with a worse value is pointed out in pictures and in the report.
        headline: belongs also where there is room for few: terminal, titles of pictures, head of the report.
    """

    key: str
    title: str
    definition: str
    compute: Callable
    source: str = ""
    level: str = "vertebra"
    topic: str = "segmentation"
    needs: str = "masks"
    unit: str = ""
    better: str = "higher"
    decimals: int = 3
    yes_no: bool = False
    if_missed: float | str | None = None
    mean_key: str = ""
    mark: float | None = None
    headline: bool = False

    def __post_init__(self):
        for value, known in (
            (self.level, LEVELS), (self.topic, TOPICS), (self.needs, NEEDS), (self.better, ("higher", "lower"))
        ):  # fmt: skip
            if value not in known:
                raise InputError(f"metric {self.key}: '{value}'; expected {', '.join(known)}")
        object.__setattr__(self, "mean_key", self.mean_key or self.key)

    @property
    def name(self) -> str:
        """Title with unit: "ASSD mm"; shares are shown in percent."""
        return " ".join(filter(None, (self.title, "%" if self.is_share else self.unit)))

    @property
    def is_share(self) -> bool:
        """Whether its summary over a cohort is a share of cases."""
        return self.yes_no or self.level == "cohort"

    @property
    def paired(self) -> bool:
        """Whether a scan has a value of its own, so that methods can be compared scan by scan."""
        return self.level != "cohort"

    def explain(self, settings: Settings) -> str:
        """Definition with the settings' values, what a missed vertebra counts as, and the source."""
        parts = [self.definition.format(**asdict(settings))]
        if self.level == "vertebra":
            missed = self.missed_as(settings)
            unit = f" {self.unit}" if self.unit else ""
            parts.append(
                "Missed vertebrae are left out." if missed is None else f"A missed vertebra counts as {missed:g}{unit}."
            )
        return " ".join([*parts, *([f"[{self.source}]"] if self.source else [])])

    def missed_as(self, settings: Settings) -> float | None:
        """What a missed vertebra counts as."""
        return getattr(settings, self.if_missed) if isinstance(self.if_missed, str) else self.if_missed

    def worse(self, value: Value, than: float) -> bool:
        """Whether a value is worse than another."""
        return value is not None and (value < than if self.better == "higher" else value > than)

    def text(self, value: Value) -> str:
        """A value for people, "-" for None."""
        if value is None:
            return "-"
        if self.yes_no and isinstance(value, bool):
            return "yes" if value else "no"
        return (
            f"{100 * value:.1f} %"
            if self.is_share
            else " ".join(filter(None, (f"{value:.{self.decimals}f}", self.unit)))
        )


def vertebra_metrics(topic: str | None = None) -> list[Metric]:
    """Those with a value per vertebra, of one topic or of all."""
    return [m for m in METRICS if m.level == "vertebra" and topic in (None, m.topic)]


def scan_metrics() -> list[Metric]:
    """Those with a value per scan that is no mean over vertebrae."""
    return [m for m in METRICS if m.level == "scan"]


def cohort_metrics() -> list[Metric]:
    """Those with one value for all scans together."""
    return [m for m in METRICS if m.level == "cohort"]


def marked(vertebra: VertebraScore) -> list[Metric]:
    """Metrics of which a vertebra has a value worse than their mark."""
    return [m for m in vertebra_metrics() if m.mark is not None and m.worse(vertebra.values.get(m.key), m.mark)]


def find_metric(key: str) -> Metric:
    """A metric by its key, or by that of its mean.

    Raises:
        KeyError: there is none.
    """
    for metric in METRICS:
        if key in (metric.key, metric.mean_key):
            return metric
    raise KeyError(key)


def _dice(pair: VertebraPair | ScanPair) -> float | None:
    size = pair.reference_voxels + pair.predicted_voxels
    return 2 * pair.common_voxels / size if size else None


def _iou(pair: VertebraPair) -> float:
    return pair.common_voxels / (pair.reference_voxels + pair.predicted_voxels - pair.common_voxels)


def _hd95_mm(pair: VertebraPair) -> float:
    if pair.settings.hd95 == "pooled":
        return float(np.percentile(pair.distances.pooled_mm, 95))
    return float(max(np.percentile(directed, 95) for directed in pair.distances.directed_mm))


def _distance_mm(pair: VertebraPair) -> float:
    return float(np.linalg.norm(pair.predicted_mm - pair.reference_mm))


def _all_labels_correct(scan: ScanPair) -> bool:
    return not scan.surplus and all(v["identified"] for v in scan.vertebrae)


METRICS: tuple[Metric, ...] = (
    Metric(
        "dice", "Dice",
        "Twice the common volume of the two masks of one name, divided by the sum of their volumes.",
        _dice, if_missed=0.0, mark=0.7, headline=True,
    ),
    Metric(
        "iou", "IoU", "Common volume of the two masks of one name, divided by the volume of their union (Jaccard).",
        _iou, if_missed=0.0,
    ),
    Metric(
        "nsd", "NSD",
        "Normalised surface Dice in voxels: share of all surface voxels of both masks that lie within "
        "{nsd_tolerance_mm:g} mm of the other surface. Every surface voxel counts the same; implementations that weigh "
        "by surface area (surface-distance) give other numbers.",
        lambda pair: pair.distances.share_within(pair.settings.nsd_tolerance_mm),
        source="Nikolov et al. 2021, by voxels", if_missed=0.0,
    ),
    Metric(
        "assd_mm", "ASSD",
        "Average symmetric surface distance, pooled: mean of the distances of all surface voxels of both masks to the "
        "other surface, each voxel once. (The mean of the two directed means differs where the surfaces differ in "
        "size.)",
        lambda pair: float(pair.distances.pooled_mm.mean()),
        source="MedPy", unit="mm", better="lower", decimals=2, headline=True,
    ),
    Metric(
        "hd_mm", "HD", "Hausdorff distance: the largest of those distances.",
        lambda pair: float(pair.distances.pooled_mm[-1]),
        source="MedPy", unit="mm", better="lower", decimals=2,
    ),
    Metric(
        "hd95_mm", "HD95",
        "95th percentile of those distances, {hd95}. Pooled: of both surfaces' distances together (MedPy, panoptica); "
        "max-directed: the larger of the two percentiles from one surface to the other (MONAI, surface-distance), as a "
        "rule a larger number.",
        _hd95_mm, unit="mm", better="lower", decimals=2,
    ),
    Metric(
        "distance_mm", "Localisation error",
        "Distance between the predicted and the reference centre of one name.",
        _distance_mm,
        source="Glocker et al. 2012", topic="identification", needs="centres", unit="mm", better="lower", decimals=1,
        mean_key="localisation_error_mm", headline=True,
    ),
    Metric(
        "distance_penalised_mm", "Localisation error, all", "The same over all reference vertebrae.",
        _distance_mm,
        topic="identification", needs="centres", unit="mm", better="lower", decimals=1, if_missed="miss_penalty_mm",
        mean_key="localisation_error_penalised_mm",
    ),
    Metric(
        "identified", "Identified",
        "The predicted centre lies within {identification_radius_mm:g} mm of the reference centre of its name, and "
        "no nearer to that of another level which was predicted too.",
        lambda pair: pair.identified,
        source="VerSe's script", topic="identification", needs="centres", yes_no=True, if_missed=False,
        mean_key="identification_rate", headline=True,
    ),
    Metric(
        "identified_glocker", "Identified (Glocker)",
        "The same with all reference centres as rivals, predicted or not.",
        lambda pair: pair.identified_glocker,
        source="Glocker et al. 2012", topic="identification", needs="centres", yes_no=True, if_missed=False,
        mean_key="identification_rate_glocker",
    ),
    Metric(
        "binary_dice", "Binary Dice", "Dice of the entire spine: all vertebrae together against background.",
        _dice, level="scan", headline=True,
    ),
    Metric(
        "all_labels_correct", "All labels correct",
        "Exactly the reference's labels, each identified (VerSe's rule); says nothing about outlines.",
        _all_labels_correct, level="scan", topic="identification", needs="centres", yes_no=True, headline=True,
    ),
    Metric(
        "wrong_name_runs", "Runs of wrong names",
        "Number of runs of consecutive reference vertebrae that were found under names off by the same number of "
        "levels: one for a spine shifted as a whole, or for one wrong name.",
        lambda scan: float(len(wrong_name_runs((v.name, v.found_as) for v in scan.vertebrae))),
        level="scan", topic="identification", needs="centres", better="lower", decimals=1,
    ),
    Metric(
        "names_probability", "Confidence in names",
        "Probability that all names are right, as `relabel` says in the report beside the prediction.",
        lambda scan: scan.naming.probability if scan.naming else None,
        level="scan", topic="identification", needs="centres", decimals=2,
    ),
    Metric(
        "names_ambiguous", "Names ambiguous",
        "Whether that report says that the names may be shifted as a whole, or were left as they were.",
        lambda scan: scan.naming.ambiguous if scan.naming else None,
        level="scan", topic="identification", needs="centres", better="lower", yes_no=True,
    ),
    Metric(
        "label_precision", "Label precision",
        "Identified vertebrae (VerSe's rule), divided by all predicted levels, surplus ones included: what the "
        "identification rate leaves out.",
        lambda case: (case.n_identified, case.n_predicted),
        level="cohort", topic="identification", needs="centres",
    ),
)  # fmt: skip
"""All metrics, in the order in which they are shown."""
