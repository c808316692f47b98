"""Masks whose values count vertebrae in an order that nobody wrote down: their places in the world name them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_spine.anatomy import BY_NAME, spine_sequence
from nnunet_spine.dataset_conversion.images import flipped_slices
from nnunet_spine.dataset_conversion.sources import Fitting, OpenImage, OpenMask
from nnunet_spine.errors import InputError
from nnunet_spine.io.itk import data_files

if TYPE_CHECKING:
    import numpy as np

    from nnunet_spine.plausibility import Finding

BACKGROUND = "background"
"""Name, in a table, of values that are no vertebra."""

_NOISE = 0.01  # of the median volume
_STEP_MM = 4.0
_ENOUGH = 6  # vertebrae that show in which direction they grow
_DOWNWARDS = spine_sequence(last_lumbar=6)


@dataclass(frozen=True)
class NumberedLabels:
    """One file with a value for each vertebra, or with values 100 k + c of its parts.

    Attributes:
        path: the file.
        levels: names from head to foot that are expected; another number is refused.
        first: name of the highest vertebra where another number is right; "" for `levels`.
        table: value, or hundreds, -> level where the user has named them; nothing is decided then.
        flipped: the third axis of the file runs the other way than its header says.
    """

    path: Path
    levels: tuple[str, ...]
    first: str = ""
    table: tuple[tuple[int, str], ...] = ()
    flipped: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path, *data_files(self.path))

    def read(self, image: OpenImage | None, fitting: Fitting) -> OpenMask:
        from dataclasses import replace

        from nnunet_spine.dataset_conversion.sources import Grid
        from nnunet_spine.io.masks import mask_values, read_mask

        counts = mask_values(self.path)
        groups, flags = _by_table(counts, dict(self.table), self.path) if self.table else _groups(counts, self.path)
        recode = {value: k for k, members in enumerate(groups.values(), 1) for value in members}
        stored = read_mask(self.path, recode={**dict.fromkeys(counts, 0), **recode})
        if self.flipped:
            stored = replace(stored, affine=flipped_slices(stored.affine, stored.labels.shape))
        if image is None:
            labels, grid, findings = stored.labels, Grid(stored.labels.shape, stored.affine), ()
        else:
            from nnunet_spine.dataset_conversion.placing import fit_to_image

            fitted = fit_to_image(stored, image, fitting)
            labels, grid, findings = fitted.labels, image.grid, fitted.findings
            flags += [flag for flag in fitted.flags if flag not in flags]
        if self.table:
            return OpenMask(labels, grid, dict(enumerate(groups, 1)), tuple(flags), findings)
        names, more, found = self._named(_places(labels, grid.affine, [*groups]))
        named = {k: names[group] for k, group in enumerate(groups, 1) if group in names}
        return OpenMask(labels, grid, named, (*flags, *more), (*findings, *found))

    def _named(self, places: "Mapping[int, _Place]") -> "tuple[dict[int, str], list[str], tuple[Finding, ...]]":
        """Number of a vertebra -> its level, remarks, and what contradicts."""
        if self.first:
            rest = _DOWNWARDS[_DOWNWARDS.index(self.first) :]
            levels, why = rest[: len(places)], f"highest level {self.first} by the user"
        else:
            levels, why = self.levels, ""
        if len(places) != len(levels):
            wanted = f"{len(self.levels)} ({self.levels[0]} to {self.levels[-1]})"
            raise InputError(
                f"{len(places)} vertebrae in the mask; expected {wanted}",
                "name the highest with --first-level CASE=LEVEL, or all in a table with --levels",
                self.path,
            )
        order = sorted(places, key=lambda group: -places[group].point_mm[2])
        self._require_steps(order, places)
        remark = f"levels {levels[0]} to {levels[-1]} by their places: value {order[0]} is the highest"
        flags = [remark, *([why] if why else [])]
        if order not in (sorted(order), sorted(order, reverse=True)):
            flags.append("mask values are not in the order of the vertebrae")
        return dict(zip(order, levels, strict=True)), flags, _growth(order, places, levels)

    def _require_steps(self, order: Sequence[int], places: "Mapping[int, _Place]") -> None:
        for upper, lower in pairwise(order):
            step = places[upper].point_mm[2] - places[lower].point_mm[2]
            if step < _STEP_MM:
                raise InputError(
                    f"vertebrae {upper} and {lower} lie at the same height ({step:.1f} mm apart), so that their order "
                    "is open",
                    "name them in a table with --levels",
                    self.path,
                )


@dataclass(frozen=True)
class _Place:
    point_mm: "np.ndarray"
    volume_mm3: float


def read_level_table(path: str | Path) -> dict[str, tuple[tuple[int, str], ...]]:
    """Case -> its values and their levels, from a CSV file with the columns `case`, `value` and `level`.

    Raises:
        InputError: unreadable, or a value or level that is none, or said twice.
    """
    from nnunet_spine.io.text import read_records

    cases: dict[str, dict[int, str]] = {}
    for row in read_records(path, ("case", "value", "level")):
        value, level = row["value"], row["level"].upper()
        if not value.isdecimal() or level not in BY_NAME or not row["case"]:
            raise InputError(f"line {row['case']},{value},{row['level']}", "give a case, a number and a level", path)
        table = cases.setdefault(row["case"], {})
        if int(value) in table or level in table.values():
            raise InputError(f"{row['case']}: {value} or {level} is there twice", "keep one", path)
        table[int(value)] = level
    return {case: tuple(sorted(table.items())) for case, table in cases.items()}


def parse_first_levels(texts: Sequence[str]) -> dict[str, str]:
    """`LEVEL` for all cases ("" in the result), `CASE=LEVEL` for one.

    Raises:
        InputError: no level.
    """
    out = {}
    for text in texts:
        case, _, level = text.rpartition("=")
        if level.upper() not in _DOWNWARDS:
            raise InputError(f"--first-level {text}", f"give one of {' '.join(_DOWNWARDS)}, or CASE=LEVEL")
        out[case] = level.upper()
    return out


def _by_table(
    counts: Mapping[int, int], table: Mapping[int, str], path: Path
) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """Level -> its values, by the user's table: of the value itself, or of its hundreds (300 for 301 and 302)."""
    found: dict[str, list[int]] = {}
    for value in sorted(value for value in counts if value):
        level = table.get(value) or table.get(value // 100 * 100)
        if level == BACKGROUND:
            continue
        if level is None:
            raise InputError(f"the table of levels has no value {value}", "add it", path)
        found.setdefault(level, []).append(value)
    return {level: tuple(values) for level, values in found.items()}, ["levels by the user's table"]


def _groups(counts: Mapping[int, int], path: Path) -> tuple[dict[int, tuple[int, ...]], list[str]]:
    """Vertebra by its number -> values of its parts; and remarks. Values of noise belong to no vertebra's number."""
    values = sorted(value for value in counts if value)
    if not values:
        raise InputError("no label in the mask", "leave the case out", path)
    if values[0] < 0:
        raise InputError(f"negative value {values[0]} in the mask", "check that this is a mask", path)
    hundreds = values[-1] >= 100
    found: dict[int, list[int]] = {}
    for value in values:
        found.setdefault(value // 100 if hundreds else value, []).append(value)
    sizes = {group: sum(counts[value] for value in members) for group, members in found.items()}
    median = sorted(sizes.values())[len(sizes) // 2]
    noise = [group for group, size in sizes.items() if size < _NOISE * median]
    flags = [f"mask values {values[0]} to {values[-1]}, {'in hundreds' if hundreds else 'one for each vertebra'}"]
    for group in noise:
        flags.append(f"value {', '.join(map(str, found[group]))} removed as noise ({sizes[group]} voxels)")
    kept = {group: tuple(members) for group, members in found.items() if group not in noise}
    if 0 in kept:
        raise InputError(
            f"value {kept[0][0]} beside values from 100 on", "check the mask, or name the values with --levels", path
        )
    if len(kept) > 255:
        raise InputError(f"{len(kept)} different values", "check that this is a mask", path)
    return kept, flags


def _places(labels: "np.ndarray", affine: "np.ndarray", groups: Sequence[int]) -> dict[int, _Place]:
    import cc3d
    import numpy as np

    from nnunet_spine.geometry import to_world

    found = cc3d.statistics(np.asfortranarray(labels))
    size = float(abs(np.linalg.det(np.asarray(affine, float)[:3, :3])))
    return {
        group: _Place(to_world(affine, found["centroids"][k]), float(found["voxel_counts"][k]) * size)
        for k, group in enumerate(groups, 1)
        if k < len(found["voxel_counts"]) and found["voxel_counts"][k]
    }


def _growth(order: Sequence[int], places: Mapping[int, _Place], levels: Sequence[str]) -> "tuple[Finding, ...]":
    """Whether vertebrae grow from head to foot, as they do from T1 to L5: "upside-down" where they shrink."""
    from nnunet_spine.plausibility import Finding

    if len(order) < _ENOUGH:
        return ()
    third = max(2, len(order) // 4)
    top, bottom = (sum(places[group].volume_mm3 for group in part) / third for part in (order[:third], order[-third:]))
    if top <= bottom:
        return ()
    sentence = (
        f"vertebrae shrink from head to foot: {levels[0]} and its neighbours have {top / 1000:.3g} ml, those down to "
        f"{levels[-1]} {bottom / 1000:.3g} ml: the slices are stored the other way round than the header says"
    )
    cure = "turn the slices with --flip-slices CASE"
    return (Finding("upside-down", sentence, True, cure, {"top_mm3": top, "bottom_mm3": bottom}),)
