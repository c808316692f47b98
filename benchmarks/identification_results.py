"""Names judged against the reference, and the tables of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmarks.vid import Case
from nnunet_spine.labelling.label import Labelling
from nnunet_spine.scores.identification import IDENTIFICATION_RADIUS_MM, identified_levels

DRAWS = 2000
COVERAGE = 0.8
BINS = np.array([0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0])


@dataclass(frozen=True)
class Result:
    """What became of one scan.

    Attributes:
        reference, detected, identified: numbers of reference bodies, of those that some detection lies at, of those
            identified.
        identified_without_inferred: the same without points for levels that nobody detected.
        stated, right: of each named detection that lies at a reference body, the probability stated, and whether the
            name is right.
        probability: stated for all names of the scan together.
        source: of the scan.
        lowest: the reference's lowest level.
        below: the name of the lowest detection that lies below all reference bodies; "" if there is none.
        called_l6: whether some detection is called L6.
    """

    reference: int
    detected: int
    identified: int
    identified_without_inferred: int
    stated: np.ndarray
    right: np.ndarray
    probability: float
    source: str
    lowest: str
    below: str
    called_l6: bool

    @property
    def all_correct(self) -> bool:
        """Whether every reference body is identified."""
        return self.identified == self.reference


def judge(case: Case, labelling: Labelling) -> Result:
    """Compare names with the reference."""
    reference = dict(case.reference)
    points = {n.name: np.array(d.position_mm) for n, d in zip(labelling.names, case.detections, strict=True) if n.name}
    inferred = {m.name: np.array(m.position_mm) for m in labelling.missing}
    found, seen = (len(identified_levels(reference, p, nearest_among="reference")) for p in (points | inferred, points))
    stated, right, covered, below = [], [], set(), []
    centres, levels = np.array(list(reference.values())), list(reference)
    for name, detection in zip(labelling.names, case.detections, strict=True):
        distance = np.linalg.norm(centres - detection.position_mm, axis=1)
        if distance.min() <= IDENTIFICATION_RADIUS_MM:
            level = levels[int(distance.argmin())]
            covered.add(level)
            if name.name is not None and name.probability is not None:
                stated.append(name.probability)
                right.append(name.name == level)
        elif detection.position_mm[2] < centres[-1, 2]:
            below.append((detection.position_mm[2], name.name or "none"))
    return Result(
        len(reference),
        len(covered),
        found,
        seen,
        np.array(stated),
        np.array(right, bool),
        labelling.probability or 0.0,
        case.source,
        levels[-1],
        min(below)[1] if below else "",
        "L6" in points,
    )


def interval(value: Callable[[np.ndarray], float], columns: np.ndarray) -> str:
    """Value with its 95 % interval of a bootstrap over scans, in per cent.

    Args:
        value: of rows of `columns`.
        columns: (scans, ...) numbers.
    """
    rng = np.random.default_rng(0)
    drawn = [value(columns[rng.integers(0, len(columns), len(columns))]) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{100 * value(columns):.1f} ({100 * low:.1f}-{100 * high:.1f})"


def ratio(rows: np.ndarray) -> float:
    """Sum of the first column by that of the second."""
    return float(rows[:, 0].sum() / max(rows[:, 1].sum(), 1))


def _of_all(r: Result) -> tuple[int, int]:
    return r.identified, r.reference


def _of_detected(r: Result) -> tuple[int, int]:
    return min(r.identified_without_inferred, r.detected), r.detected


def _scans_correct(r: Result) -> tuple[int, int]:
    return r.all_correct, 1


def share(results: Sequence[Result], counts: Callable[[Result], tuple[int, int]]) -> str:
    """Share with its interval.

    Args:
        results: scans, at least one.
        counts: numerator and denominator of a scan.
    """
    return interval(ratio, np.array([counts(r) for r in results], float))


def sources(results: Sequence[Result]) -> list[str]:
    """The sources among them, in alphabetical order."""
    return sorted({r.source for r in results})


HEADER = "| | scans | identified % | of the detected % | scans all correct % |\n|---|---:|---:|---:|---:|"


def row(name: str, results: Sequence[Result]) -> str:
    """One line of the main table."""
    cells = [share(results, counts) for counts in (_of_all, _of_detected, _scans_correct)]
    return f"| {name} | {len(results)} | " + " | ".join(cells) + " |"


def header_by_source(results: Sequence[Result]) -> str:
    """Head of the table of methods: identified / scans all correct, of all scans and by source."""
    columns = ["all: identified %", "all: scans all correct %", *(f"{s}: both" for s in sources(results))]
    return "| | " + " | ".join(columns) + " |\n|---|" + "---:|" * len(columns)


def row_by_source(name: str, results: Sequence[Result]) -> str:
    """One method's line of the table of methods."""
    cells = [share(results, _of_all), share(results, _scans_correct)]
    for source in sources(results):
        of_source = [r for r in results if r.source == source]
        cells.append(f"{share(of_source, _of_all)} / {share(of_source, _scans_correct)}")
    return f"| {name} | " + " | ".join(cells) + " |"


def calibration_error(stated: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error over ten bins of equal width."""
    bins = np.minimum((stated * 10).astype(int), 9)
    return sum(abs(stated[bins == b].sum() - right[bins == b].sum()) for b in range(10)) / max(len(stated), 1)


def report(title: str, results: Sequence[Result]) -> None:
    """Main table by source, reliability, all-correct scans among the surest, and L6 against S1."""
    print(f"\n### {title}\n\n{HEADER}")
    print(row("all", results))
    for source in sources(results):
        print(row(source, [r for r in results if r.source == source]))
    seen = sum(r.identified_without_inferred for r in results) / sum(r.reference for r in results)
    ceiling = sum(r.detected for r in results) / sum(r.reference for r in results)
    whole = np.mean([r.detected == r.reference for r in results])
    print(f"\nWithout points for undetected levels {100 * seen:.2f} % identified.")
    print(
        f"Some detection lies at {100 * ceiling:.2f} % of the bodies, at all of them in {100 * whole:.1f} % of scans."
    )
    _report_reliability(results)
    _report_surest(results)
    _report_sixth_lumbar(results)


def _report_reliability(results: Sequence[Result]) -> None:
    stated, right = (np.concatenate([getattr(r, name) for r in results]) for name in ("stated", "right"))
    print("\n| stated probability | names | mean stated | right |\n|---|---:|---:|---:|")
    for low, high in pairwise(BINS):
        inside = (stated >= low) & ((stated < high) | (high == 1))
        if inside.any():
            print(
                f"| {low:.2f}-{high:.2f} | {inside.sum()} | {stated[inside].mean():.3f} | {right[inside].mean():.3f} |"
            )
    print(f"\nExpected calibration error {100 * calibration_error(stated, right):.2f} % over {len(stated)} names.")


def _report_surest(results: Sequence[Result]) -> None:
    surest = sorted(results, key=lambda r: -r.probability)[: round(COVERAGE * len(results))]
    whole = [r for r in surest if r.detected == r.reference]
    wrong = sum(r.identified_without_inferred < r.detected for r in surest)
    print(f"Surest {100 * COVERAGE:.0f} % of the scans: all correct {share(surest, _scans_correct)} %,")
    print(f"all detected bodies right {share(surest, lambda r: (r.identified_without_inferred >= r.detected, 1))} %,")
    print(f"{len(surest) - len(whole)} with a body that no detection lies at, {wrong} with a wrong name.")


def _report_sixth_lumbar(results: Sequence[Result]) -> None:
    with_l6 = [r for r in results if r.lowest == "L6"]
    with_more = [r for r in results if r.lowest == "L5" and r.below]
    called = {name: sum(r.below == name for r in with_more) for name in ("L6", "S1", "none")}
    print(f"L6 is the reference's lowest level in {len(with_l6)} scans, named in {sum(r.called_l6 for r in with_l6)};")
    print(
        f"below a lowest L5 something is detected in {len(with_more)}, called S1 in {called['S1']}, "
        f"L6 in {called['L6']}, no vertebra in {called['none']}."
    )
