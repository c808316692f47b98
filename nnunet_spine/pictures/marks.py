"""What is written beside each vertebra of a panel, and what its errors are called."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nnunet_spine import scores
from nnunet_spine.anatomy import structures
from nnunet_spine.scores import Metric, metrics

WHITE, GREY, GREEN, AMBER, RED = "#ffffff", "#b0b0b0", "#7bd88f", "#ffb454", "#ff6b6b"


@dataclass(frozen=True)
class Kind:
    """A kind of note: its colour, and what the legend says about it."""

    color: str
    example: str
    meaning: str


def worse_than_mark(metric: Metric) -> Kind:
    """The kind of note at a vertebra whose value is worse than the metric's mark."""
    below = "below" if metric.better == "higher" else "above"
    example = f"T5 {0.6 * metric.mark:.2f}" if metric.better == "higher" else f"T5 {metric.text(2 * metric.mark)}"
    return Kind(AMBER, example, f"{metric.title} {below} {metric.mark:g}")


FAR = Kind(AMBER, "T5 25 mm", "centre too far off")
MISNAMED = Kind(RED, "T5 (is T6)", "wrong name")
SURPLUS = Kind(RED, "+T5", "not in the reference")
MISSED = Kind(RED, "no T5", "missed")
BESIDE = Kind(GREY, "[T5]", "beside the cut")
KINDS = (FAR, MISNAMED, SURPLUS, MISSED, BESIDE)


@dataclass(frozen=True)
class Name:
    """A level's name in a panel, to be written to the left of a pixel; `kind` None: nothing is wrong."""

    text: str
    row: float
    column: float
    color: str
    kind: Kind | None = None


@dataclass(frozen=True)
class Spot:
    """Where a level is seen in a panel: the pixel to write its name beside, and whether the cut meets it."""

    row: float
    column: float
    met: bool = True


def level_names(
    shown: str,
    spots: Mapping[int, Spot],
    score: scores.CaseScore | None,
    missed_at: Mapping[int, Spot] | None = None,
    kind: str = "vertebrae",
) -> list[Name]:
    """What to write in a panel.

    Args:
        shown: "reference" or "prediction"; only the latter's names carry notes.
        spots: label -> where the panel shows it.
        score: of the case; None: names only.
        missed_at: label -> where to note a reference vertebra that nothing was predicted for.
        kind: what the labels are where there is no score.
    """
    notes = prediction_notes(score) if shown == "prediction" and score is not None else {}
    names = []
    known = structures(score.kind if score is not None else kind)
    by_value, values = {s.value: s for s in known}, {s.name: s.value for s in known}
    for label, spot in spots.items():
        level = by_value[label]
        text, note = notes.get(level.name, (level.name, None))
        if not spot.met:
            text, note = f"[{text}]", note or BESIDE
        color = note.color if note not in (None, BESIDE) else legible(level.color)
        names.append(Name(text, spot.row, spot.column, color, note))
    if shown == "prediction" and score is not None:
        for vertebra in score.vertebrae:
            spot = (missed_at or {}).get(values[vertebra.name])
            if vertebra.missed and not vertebra.misnamed and spot is not None:
                names.append(Name(f"no {vertebra.name}", spot.row, spot.column, MISSED.color, MISSED))
    return names


def prediction_notes(score: scores.CaseScore) -> dict[str, tuple[str, Kind | None]]:
    """Predicted level -> what to write beside it, and the kind of its worst error.

    A wrong name goes before a low Dice; a level that covers its own vertebra and others is "T5 (also T6)".
    """
    notes: dict[str, tuple[str, Kind | None]] = {s.name: (f"+{s.name}", SURPLUS) for s in score.surplus}
    for vertebra in score.vertebrae:
        name, distance_mm = vertebra.name, vertebra["distance_mm"]
        if vertebra.missed:
            continue
        if low := metrics.marked(vertebra):
            notes[name] = (f"{name} {_beyond(low[0], vertebra[low[0].key])}", worse_than_mark(low[0]))
        elif vertebra.reference_mm3 is None and not vertebra["identified"] and distance_mm is not None:
            notes[name] = (f"{name} {distance_mm:.0f} mm", FAR)
        else:
            notes[name] = (name, None)
    own = {vertebra.name for vertebra in score.vertebrae if vertebra.found_as == vertebra.name}
    covered: dict[str, list[str]] = {}
    for vertebra in score.vertebrae:
        if vertebra.misnamed:
            covered.setdefault(vertebra.found_as, []).append(vertebra.name)
    for name, others in covered.items():
        notes[name] = (f"{name} ({'also' if name in own else 'is'} {'+'.join(others)})", MISNAMED)
    return notes


def legend(names: list[Name]) -> list[Kind]:
    """The kinds of notes that occur, in fixed order."""
    low = [worse_than_mark(metric) for metric in metrics.vertebra_metrics() if metric.mark is not None]
    return [kind for kind in (*low, *KINDS) if any(name.kind == kind for name in names)]


def legible(color: tuple[int, int, int]) -> str:
    """A lighter shade for writing on a dark ground, as "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*(round(0.5 * c + 0.5 * 255) for c in color))


def describe(score: scores.CaseScore) -> str:
    """The second line of the title."""
    shown = [m for m in metrics.METRICS if m.headline and m.paired and m.key != "all_labels_correct"]  # stands above
    parts = [f"{m.title} {m.text(score.value(m))}" for m in shown]
    if score.shift:
        levels = "level" if abs(score.shift) == 1 else "levels"
        parts.append(f"named {abs(score.shift)} {levels} too {'caudal' if score.shift > 0 else 'cranial'}")
    for word, found in (("missed", score.missed), ("surplus", score.surplus_names)):
        if found:
            parts.append(f"{word} {' '.join(found[:6])}{' ...' if len(found) > 6 else ''}")
    return "   ".join(parts)


def _beyond(metric: Metric, value: float) -> str:
    """The value as text, rounded towards the worse side: 0.699 is not 0.70."""
    worse = math.floor if metric.better == "higher" else math.ceil
    digits = min(2, metric.decimals)
    return f"{worse(10**digits * value) / 10**digits:.{digits}f}"
