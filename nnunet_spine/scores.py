"""Scores of a predicted label map against a reference: Dice, identification, localisation, for one case and a cohort.

Label maps hold nnU-Net ids (`anatomy.BY_NNUNET_ID`), 0 is background. A vertebra's centre is the centroid of its whole
mask, on both sides; body centres lie 8-15 mm further anterior and must not be mixed with these. Everything is computed
on the given grid (VerSe's script first resamples to 1 mm). Nothing is NaN: what does not exist is None, and counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from nnunet_spine import files, geometry
from nnunet_spine.anatomy import BY_NNUNET_ID, LEVELS, REGIONS, sort_cranio_caudal
from nnunet_spine.errors import InputError

IDENTIFICATION_RADIUS_MM = 20.0
GRID_TOLERANCE_MM = 0.1
ROUNDING_MM = 1e-6  # rotated affines put a point that is 20 mm away at 20.000000000000004 mm

N_IDS = 1 + max(BY_NNUNET_ID)
CENTRE_DEFINITION = "centroid of the whole vertebra mask"


@dataclass(frozen=True)
class VertebraScore:
    """One reference vertebra.

    Attributes:
        name: "C1" ... "L6".
        reference_mm3, predicted_mm3: volumes under this label; predicted 0 means missed.
        dice: overlap of the two masks with this label; 0 if missed.
        distance_mm: between the two centres; None if missed.
        identified: see `identified_levels`.
    """

    name: str
    reference_mm3: float
    predicted_mm3: float
    dice: float
    distance_mm: float | None
    identified: bool

    @property
    def missed(self) -> bool:
        """Whether the prediction has no voxel with this label."""
        return self.distance_mm is None


@dataclass(frozen=True)
class CaseScore:
    """One case.

    Attributes:
        case: name of the case.
        binary_dice: all vertebrae against background; None if both maps are empty.
        vertebrae: the reference vertebrae in cranio-caudal order.
        surplus: predicted levels that the reference does not have, in cranio-caudal order. One voxel suffices.
    """

    case: str
    binary_dice: float | None
    vertebrae: tuple[VertebraScore, ...]
    surplus: tuple[str, ...]

    @property
    def missed(self) -> tuple[str, ...]:
        """Reference levels without any predicted voxel."""
        return tuple(v.name for v in self.vertebrae if v.missed)

    @property
    def n_identified(self) -> int:
        """How many reference vertebrae are identified."""
        return sum(v.identified for v in self.vertebrae)

    @property
    def identification_rate(self) -> float | None:
        """Identified / reference vertebrae; None without reference vertebrae."""
        return self.n_identified / len(self.vertebrae) if self.vertebrae else None

    @property
    def dice(self) -> float | None:
        """Mean Dice over the reference vertebrae, missed ones as 0; None without reference vertebrae."""
        return summarise(v.dice for v in self.vertebrae).mean

    @property
    def localisation_error_mm(self) -> float | None:
        """Mean distance over the reference vertebrae that were predicted; None if there are none."""
        return summarise(v.distance_mm for v in self.vertebrae).mean

    @property
    def all_labels_correct(self) -> bool:
        """Whether predicted and reference label sets are equal and every reference vertebra is identified.

        Says nothing about outlines. True for an empty prediction of an empty reference.
        """
        return not self.surplus and self.n_identified == len(self.vertebrae)


@dataclass(frozen=True)
class Summary:
    """Distribution of a score; `missing` values are counted and otherwise left out.

    `sd` is the sample standard deviation (n - 1), None below two values; `mean` and `median` are None without values.
    """

    count: int
    missing: int
    mean: float | None
    sd: float | None
    median: float | None


@dataclass(frozen=True)
class RegionSummary:
    """All vertebrae of a region ("All", "C", "T" or "L"), pooled over the cohort.

    Attributes:
        region: "All", "C", "T" or "L", by the reference label (`surplus`: by the predicted label).
        reference, identified, missed, surplus: numbers of vertebrae.
        identification_rate: identified / reference; None without reference vertebrae.
        dice: over reference vertebrae, missed ones as 0.
        localisation_error_mm: over reference vertebrae that were predicted; the others are its `missing`.
    """

    region: str
    reference: int
    identified: int
    missed: int
    surplus: int
    identification_rate: float | None
    dice: Summary
    localisation_error_mm: Summary


@dataclass(frozen=True)
class CohortSummary:
    """A cohort.

    Attributes:
        cases: number of cases.
        all_labels_correct: number of cases in which every label is right.
        binary_dice: over cases; those with two empty maps are its `missing`.
        dice_per_case: over cases, each case's mean over its vertebrae; cases without reference vertebrae are `missing`.
        regions: All, C, T, L, over vertebrae.
    """

    cases: int
    all_labels_correct: int
    binary_dice: Summary
    dice_per_case: Summary
    regions: tuple[RegionSummary, ...]


# --- one case --------------------------------------------------------------------------------------------------------


def as_label_ids(array: np.ndarray) -> np.ndarray:
    """Check that an array of any type holds nnU-Net ids, and return it as uint8 (a view where it already is).

    Raises:
        InputError: not three axes, fractions, NaN, or values outside 0..26.
    """
    if array.ndim != 3:
        raise InputError(f"label map of shape {array.shape}; expected three axes")
    if array.dtype == np.uint8:
        labels = array
    else:
        with np.errstate(invalid="ignore"):
            labels = array.astype(np.uint8)
        if not np.array_equal(labels, array):
            raise InputError("label map with negative, fractional or large values", f"use whole ids 0..{N_IDS - 1}")
    if labels.size and (largest := int(labels.max())) >= N_IDS:
        raise InputError(
            f"label {largest}; expected nnU-Net ids 0..{N_IDS - 1}",
            "convert the mask from VerSe ids (T13 is 28 there, 26 here)",
        )
    return labels


def label_voxels(*maps: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Voxels that are labelled in at least one of several maps on one grid.

    Returns:
        Indices (n, 3), and for each map its labels there (n,).
    """
    if maps[0].flags.f_contiguous:  # NIfTI order: walk through memory as it lies
        index, values = label_voxels(*(m.T for m in maps))
        return index[:, ::-1], values
    labelled = maps[0] != 0
    for m in maps[1:]:
        labelled |= m != 0
    index = np.nonzero(labelled)
    return np.stack(index, axis=1), tuple(m[index] for m in maps)


def centres(index: np.ndarray, values: np.ndarray, weights: np.ndarray | None = None) -> dict[int, np.ndarray]:
    """Centroid of each label.

    Args:
        index: voxel indices or positions, (n, 3).
        values: label of each, (n,); 0 is left out.
        weights: optional weight of each, (n,), positive.

    Returns:
        Label -> centroid (3,), in the units of `index`; empty without labels.
    """
    mass = np.bincount(values, weights, minlength=N_IDS)
    sums = [np.bincount(values, axis if weights is None else axis * weights, minlength=N_IDS) for axis in index.T]
    return {int(i): np.array([s[i] for s in sums]) / mass[i] for i in np.flatnonzero(mass) if i != 0}


def identified_levels(
    reference_mm: Mapping[int, np.ndarray],
    predicted_mm: Mapping[int, np.ndarray],
    *,
    nearest_among: str = "common",
    radius_mm: float = IDENTIFICATION_RADIUS_MM,
) -> set[int]:
    """Levels whose predicted centre lies within the radius, and nearer to no other reference centre than to its own.

    The rule of VerSe's evaluation script (anjany/verse, utils/eval_utilities.py): other reference centres count only if
    their label was predicted too. With `nearest_among="reference"` all reference centres count (Glocker et al. 2012).
    A distance of exactly the radius passes. Unlike the script, a tie passes whatever the order of the labels.

    Args:
        reference_mm, predicted_mm: label -> centre (3,) in mm.
        nearest_among: "common" or "reference".
        radius_mm: largest distance.

    Raises:
        InputError: another `nearest_among`.
    """
    if nearest_among not in ("common", "reference"):
        raise InputError(f"nearest_among '{nearest_among}'; expected 'common' or 'reference'")
    common = reference_mm.keys() & predicted_mm.keys()
    rivals = common if nearest_among == "common" else reference_mm.keys()
    found = set()
    for level in common:
        distances = {rival: np.linalg.norm(predicted_mm[level] - reference_mm[rival]) for rival in rivals}
        limit = min(radius_mm, *distances.values())
        if distances[level] <= limit + ROUNDING_MM:
            found.add(level)
    return found


def score_case(
    prediction: np.ndarray,
    reference: np.ndarray,
    affine: np.ndarray,
    *,
    case: str = "",
    nearest_among: str = "common",
) -> CaseScore:
    """Compare two label maps on one grid.

    Dice = 2|A∩B| / (|A|+|B|) per reference vertebra; centres are whole-mask centroids in world mm.

    Args:
        prediction, reference: nnU-Net ids, same shape (any axis order).
        affine: voxel index -> RAS mm, 4x4.
        case: name for the report.
        nearest_among: see `identified_levels`.

    Raises:
        InputError: different shapes, or values that are not nnU-Net ids.
    """
    if prediction.shape != reference.shape:
        raise InputError(f"prediction of shape {prediction.shape}, reference {reference.shape}; expected the same grid")
    index, (pred, ref) = label_voxels(as_label_ids(prediction), as_label_ids(reference))
    # joint[i, j]: voxels that are i in the reference and j in the prediction; (0, 0) stays empty
    joint = np.bincount(ref.astype(np.intp) * N_IDS + pred, minlength=N_IDS**2).reshape(N_IDS, N_IDS)
    n_ref, n_pred, both = joint.sum(1), joint.sum(0), joint.diagonal()
    ref_mm = {i: geometry.to_world(affine, c) for i, c in centres(index, ref).items()}
    pred_mm = {i: geometry.to_world(affine, c) for i, c in centres(index, pred).items()}
    identified = identified_levels(ref_mm, pred_mm, nearest_among=nearest_among)
    voxel_mm3 = abs(float(np.linalg.det(np.asarray(affine, float)[:3, :3])))

    vertebrae = tuple(
        VertebraScore(
            name=level.name,
            reference_mm3=float(n_ref[i] * voxel_mm3),
            predicted_mm3=float(n_pred[i] * voxel_mm3),
            dice=float(2 * both[i] / (n_ref[i] + n_pred[i])),
            distance_mm=float(np.linalg.norm(pred_mm[i] - ref_mm[i])) if i in pred_mm else None,
            identified=i in identified,
        )
        for level in LEVELS
        if (i := level.nnunet_id) in ref_mm
    )
    surplus = sort_cranio_caudal(BY_NNUNET_ID[i].name for i in pred_mm.keys() - ref_mm.keys())
    size = n_ref[1:].sum() + n_pred[1:].sum()
    binary_dice = float(2 * joint[1:, 1:].sum() / size) if size else None
    return CaseScore(case, binary_dice, vertebrae, tuple(surplus))


# --- a cohort --------------------------------------------------------------------------------------------------------


def summarise(values: Iterable[float | None]) -> Summary:
    """Mean, sample SD and median of the values that exist; None values are counted as missing."""
    values = list(values)
    present = np.array([v for v in values if v is not None], float)
    n = len(present)
    return Summary(
        count=n,
        missing=len(values) - n,
        mean=float(present.mean()) if n else None,
        sd=float(present.std(ddof=1)) if n > 1 else None,
        median=float(np.median(present)) if n else None,
    )


def summarise_cohort(cases: Sequence[CaseScore]) -> CohortSummary:
    """Pool cases; for no cases all numbers are 0 and all averages None."""
    return CohortSummary(
        cases=len(cases),
        all_labels_correct=sum(case.all_labels_correct for case in cases),
        binary_dice=summarise(case.binary_dice for case in cases),
        dice_per_case=summarise(case.dice for case in cases),
        regions=tuple(_summarise_region(cases, region) for region in ("All", *REGIONS)),
    )


def _summarise_region(cases: Sequence[CaseScore], region: str) -> RegionSummary:
    def inside(name: str) -> bool:
        return region in ("All", name[0])

    vertebrae = [v for case in cases for v in case.vertebrae if inside(v.name)]
    identified = sum(v.identified for v in vertebrae)
    return RegionSummary(
        region=region,
        reference=len(vertebrae),
        identified=identified,
        missed=sum(v.missed for v in vertebrae),
        surplus=sum(inside(name) for case in cases for name in case.surplus),
        identification_rate=identified / len(vertebrae) if vertebrae else None,
        dice=summarise(v.dice for v in vertebrae),
        localisation_error_mm=summarise(v.distance_mm for v in vertebrae),
    )


# --- reports ---------------------------------------------------------------------------------------------------------


def to_json(cases: Sequence[CaseScore]) -> dict:
    """Cases and their summary as plain dicts, lists, numbers and None."""

    def case_entry(case: CaseScore) -> dict:
        derived = ("dice", "identification_rate", "localisation_error_mm", "all_labels_correct")
        return {
            "case": case.case,
            "binary_dice": case.binary_dice,
            **{name: getattr(case, name) for name in derived},
            "missed": list(case.missed),
            "surplus": list(case.surplus),
            "vertebrae": [asdict(v) for v in case.vertebrae],
        }

    summary = asdict(summarise_cohort(cases))
    summary["regions"] = list(summary["regions"])
    return {
        "centre": CENTRE_DEFINITION,
        "identification_radius_mm": IDENTIFICATION_RADIUS_MM,
        "summary": summary,
        "cases": [case_entry(case) for case in cases],
    }


def case_table(cases: Sequence[CaseScore]) -> str:
    """One line per case, as a Markdown table with aligned columns; "-" where a value does not exist."""
    rows = [
        [
            case.case,
            _number(case.dice, 3),
            _number(case.binary_dice, 3),
            f"{case.n_identified}/{len(case.vertebrae)}",
            _number(case.localisation_error_mm, 1),
            " ".join(case.missed) or "-",
            " ".join(case.surplus) or "-",
            "yes" if case.all_labels_correct else "no",
        ]
        for case in cases
    ]
    return _table(
        ["case", "Dice", "binary Dice", "identified", "error mm", "missed", "surplus", "all labels correct"], rows
    )


def summary_table(summary: CohortSummary) -> str:
    """The cohort by region, as a Markdown table with aligned columns, and lines for the values per case."""
    rows = [
        [
            r.region,
            str(r.reference),
            _percent(r.identified, r.reference),
            _mean_sd(r.dice, 3),
            _number(r.dice.median, 3),
            _mean_sd(r.localisation_error_mm, 1),
            _number(r.localisation_error_mm.median, 1),
            str(r.missed),
            str(r.surplus),
        ]
        for r in summary.regions
    ]
    header = ["region", "vertebrae", "identified", "Dice", "median", "error mm", "median", "missed", "surplus"]
    return "\n".join(
        [
            _table(header, rows),
            "",
            f"All labels correct: {summary.all_labels_correct} of {summary.cases} cases "
            f"({_percent(summary.all_labels_correct, summary.cases)})",
            f"Binary Dice per case: {_describe(summary.binary_dice)}",
            f"Vertebra Dice per case: {_describe(summary.dice_per_case)}",
            "Dice and error are mean ± SD over reference vertebrae; missed vertebrae have Dice 0 and no error.",
        ]
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _mean_sd(s: Summary, digits: int) -> str:
    return _number(s.mean, digits) + (f" ± {s.sd:.{digits}f}" if s.sd is not None else "")


def _describe(s: Summary) -> str:
    missing = f", undefined in {s.missing}" if s.missing else ""
    return f"{_mean_sd(s, 3)}, median {_number(s.median, 3)}, n = {s.count}{missing}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    widths = [max(3, *(len(row[k]) for row in [header, *rows])) for k in range(len(header))]
    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]

    def padded(line: list[str]) -> list[str]:  # names to the left, values to the right
        return [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]

    return "\n".join(f"| {' | '.join(padded(line))} |" for line in (header, rule, *rows))


# --- files -----------------------------------------------------------------------------------------------------------


def read_labels(
    path: str | Path, shape: tuple[int, ...] | None = None, affine: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Label map of nnU-Net ids (uint8, stored axis order) and its affine.

    Args:
        path: NIfTI file.
        shape, affine: the grid that it must share, corners within 0.1 mm; None: any.

    Raises:
        InputError: unreadable, not nnU-Net ids, or on another grid.
    """
    array, own_affine = files.read_nifti(path)
    if shape is not None and array.shape != tuple(shape):
        raise InputError(f"grid {array.shape}; expected {tuple(shape)}", "resample it to the same grid", path)
    if affine is not None:
        distance = geometry.corner_distance_mm(array.shape, own_affine, affine)
        if not distance < GRID_TOLERANCE_MM:
            raise InputError(
                f"position, spacing or orientation differ: corners up to {distance:.3g} mm apart; "
                f"expected less than {GRID_TOLERANCE_MM} mm",
                "resample it to the same grid",
                path,
            )
    try:
        return as_label_ids(array), own_affine
    except InputError as error:
        raise InputError(error.found, error.cure, path) from None


def score_files(prediction: str | Path, reference: str | Path, *, nearest_among: str = "common") -> CaseScore:
    """`score_case` for two NIfTI files; the case is named after the prediction.

    Raises:
        InputError: as `read_labels`; the grids must agree within 0.1 mm.
    """
    reference_labels, affine = read_labels(reference)
    labels, _ = read_labels(prediction, reference_labels.shape, affine)
    return score_case(labels, reference_labels, affine, case=case_name(prediction), nearest_among=nearest_among)


def score_folders(
    prediction_dir: str | Path, reference_dir: str | Path, *, only_common: bool = False, nearest_among: str = "common"
) -> tuple[CaseScore, ...]:
    """Score all cases of two folders, paired by case name, in the order of their names.

    Args:
        prediction_dir, reference_dir: folders with one NIfTI file per case.
        only_common: score the cases found in both folders instead of refusing unpaired ones (nnU-Net's `--chill`).
        nearest_among: see `identified_levels`.

    Raises:
        InputError: no such folder, unpaired cases, no cases at all, or as `score_files`.
    """
    predictions, references = list_cases(prediction_dir), list_cases(reference_dir)
    for found, missing, folder in (
        (references, references.keys() - predictions.keys(), prediction_dir),
        (predictions, predictions.keys() - references.keys(), reference_dir),
    ):
        if missing and not only_common:
            some = ", ".join(sorted(missing)[:5]) + (", ..." if len(missing) > 5 else "")
            raise InputError(
                f"{len(missing)} of {len(found)} cases have no counterpart here: {some}",
                "add them, or score only the common cases",
                folder,
            )
    common = sorted(predictions.keys() & references.keys())
    if not common:
        raise InputError(f"no case in common with {reference_dir}", "check both folders", prediction_dir)
    return tuple(score_files(predictions[c], references[c], nearest_among=nearest_among) for c in common)


def case_name(path: str | Path) -> str:
    """File name without .nii or .nii.gz."""
    return Path(path).name.removesuffix(".gz").removesuffix(".nii")


def list_cases(folder: str | Path) -> dict[str, Path]:
    """Case name -> NIfTI file, for the visible .nii and .nii.gz files of a folder.

    Raises:
        InputError: no such folder, or a case stored twice.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("no such folder", "check the path", folder)
    cases: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.name.endswith((".nii", ".nii.gz")):
            continue
        if (name := case_name(path)) in cases:
            raise InputError(f"case {name} is there twice, as .nii and .nii.gz", "remove one", folder)
        cases[name] = path
    return cases
