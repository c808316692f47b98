"""Which files belong to one case: predictions, references and images paired by name."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.errors import InputError
from nnunet_spine.evaluation.points import looks_like_points
from nnunet_spine.io.label_folders import is_structure_folder, level_of_file, structure_case
from nnunet_spine.io.masks import case_name as name_without_ending
from nnunet_spine.io.masks import is_mask_name
from nnunet_spine.io.verse_names import parse_name

_MASK_SUFFIXES = ("_seg-vert_msk", "_seg", "_msk", "_mask")
_IMAGE_SUFFIXES = ("_0000", "_ct")
_POINT_SUFFIXES = ("_seg-subreg_ctd", "_seg-vert_ctd", "_subreg_ctd", "_iso-ctd", "-iso-ctd", "_ctd")


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case.

    Attributes:
        case: its name.
        prediction: label map.
        mask, points: reference label map and centroid file; at least one is there.
        image: CT, only recorded.
    """

    case: str
    prediction: Path
    mask: Path | None = None
    points: Path | None = None
    image: Path | None = None


@dataclass(frozen=True)
class Pairs:
    """What was found.

    Attributes:
        cases: complete ones, by name.
        without_prediction: name -> reference file.
        without_reference: name -> prediction.
    """

    cases: tuple[CaseFiles, ...]
    without_prediction: dict[str, Path]
    without_reference: dict[str, Path]


def case_name(path: str | Path) -> str:
    """Name of the case that a file belongs to: without ending, channel number and the suffixes of VerSe.

    Files of VerSe in either layout get the name that the converted dataset gives them, so that
    `sub-verse405_split-verse258_dir-ax_seg-vert_msk.nii.gz` and `verse405_verse258.nii.gz` are one case.
    """
    if Path(path).is_dir():  # with one file per vertebra
        return structure_case(Path(path))
    name = Path(path).name
    stem = _stem(name)
    for suffix in (*_POINT_SUFFIXES, *_MASK_SUFFIXES, *_IMAGE_SUFFIXES):
        if stem.lower().endswith(suffix):
            stem = stem[: -len(suffix)]
            break
    parsed = parse_name(name) or parse_name(f"{stem}_ct.nii.gz" if stem.lower().startswith("sub-") else f"{stem}.nii")
    return parsed.case if parsed else stem


def _stem(name: str) -> str:
    return name[: -len(".json")] if name.lower().endswith(".json") else name_without_ending(name)


def _files(place: Path, wanted: Callable[[Path], bool]) -> Iterator[Path]:
    """The file itself, or the wanted ones of a folder: at its top, or below where the top has none."""
    if place.is_file():
        yield from [place] if wanted(place) else []
        return
    if not place.is_dir():
        raise InputError("no such file or folder", "check the path", place)
    for folder, subfolders, names in os.walk(place, followlinks=True):
        subfolders[:] = sorted(n for n in subfolders if not n.startswith(".") and n != "__MACOSX")
        paths = (Path(folder) / name for name in sorted(names) if not name.startswith("."))
        found = [path for path in paths if wanted(path)]
        yield from found
        if found and Path(folder) == place:
            return


def _unique(paths: Iterable[Path], place: Path) -> dict[str, Path]:
    """Case -> file. Beside a file that is called a mask, others of the same case are images and left out."""
    ranked: dict[str, list[tuple[int, Path]]] = {}
    for path in paths:
        stem = _stem(path.name).lower()
        rank = 0 if stem.endswith(_MASK_SUFFIXES) else 2 if stem.endswith(_IMAGE_SUFFIXES) else 1
        ranked.setdefault(case_name(path), []).append((rank, path))
    chosen = {}
    for case, found in ranked.items():
        first, *others = sorted(found)
        if others and others[0][0] == first[0]:
            raise InputError(
                f"case {case} is there twice: {first[1].name} and {others[0][1].name}", "remove one", place
            )
        chosen[case] = first[1]
    return chosen


def list_masks(place: str | Path) -> dict[str, Path]:
    """Case name -> mask, of a file or folder; a folder with one file per vertebra is the mask of one case.

    Raises:
        InputError: no such place, or a case that is there twice.
    """
    place = Path(place)
    found = list(_files(place, is_mask_name))
    folders = dict.fromkeys(path.parent for path in found if place.is_dir() and level_of_file(path))
    return _unique([*folders, *(path for path in found if path.parent not in folders)], place)


def list_points(place: str | Path) -> dict[str, Path]:
    """Case name -> centroid file, of a file or folder; other JSON files of a folder are left out.

    Raises:
        InputError: no such place, or a case that is there twice.
    """
    place = Path(place)

    def wanted(path: Path) -> bool:
        return path.name.lower().endswith(".json") and (place.is_file() or looks_like_points(path))

    return _unique(_files(place, wanted), place)


def list_images(place: str | Path) -> dict[str, Path]:
    """Case name -> CT, of a file or folder.

    Raises:
        InputError: no such place.
    """
    images = {}
    for path in _files(Path(place), is_mask_name):
        if not _stem(path.name).lower().endswith(_MASK_SUFFIXES):
            images.setdefault(case_name(path), path)
    return images


def pair(
    prediction: str | Path,
    references: Iterable[str | Path],
    *,
    centroids: str | Path | None = None,
    images: str | Path | None = None,
) -> Pairs:
    """Pair the files of a prediction with those of references.

    Two single files belong together whatever their names; otherwise names decide.

    Args:
        prediction: file or folder of label maps.
        references: files or folders of label maps, or of centroid files, which count for cases without a mask.
        centroids: file or folder of centroid files, which count for all cases.
        images: file or folder of CT scans.

    Raises:
        InputError: a place that does not exist or holds nothing, a case that is there twice, or no case in common.
    """
    prediction, references = Path(prediction), [Path(r) for r in references]
    predictions = list_masks(prediction)
    if not predictions:
        raise InputError(
            "no .nii.gz, .nii, .nrrd or .mha file", "give the folder with the predicted label maps", prediction
        )
    masks, points = {}, {}
    for place in references:
        found = list_masks(place), list_points(place)
        if not any(found):
            raise InputError("neither masks (.nii.gz, .nrrd, ...) nor centroid files (.json)", "check the path", place)
        for known, new in zip((masks, points), found, strict=True):
            if twice := sorted(known.keys() & new.keys()):
                raise InputError(f"case {twice[0]} is also in {known[twice[0]].parent}", "give one of them", place)
            known.update(new)
    points = {case: path for case, path in points.items() if case not in masks}
    if centroids is not None:
        if not (found := list_points(centroids)):
            raise InputError("no centroid file (.json)", "check the path", centroids)
        points.update(found)
    ct = list_images(images) if images is not None else {}
    places = [*references, *([Path(centroids)] if centroids is not None else [])]
    files_only = _is_single(prediction) and all(map(_is_single, places))
    if files_only and len(masks) <= 1 and len(points) <= 1:
        case = case_name(prediction)
        masks, points = (dict.fromkeys([case], *found.values()) if found else {} for found in (masks, points))
        if images is not None and Path(images).is_file():
            ct = {case: Path(images)}
    known = {**points, **masks}
    common = sorted(predictions.keys() & known.keys())
    if not common:
        raise InputError(
            f"no case name in common with {' and '.join(map(str, places))}: {shorten(predictions)} here, "
            f"{shorten(known)} there",
            "rename one side; endings and VerSe's suffixes do not matter",
            prediction,
        )
    cases = [CaseFiles(c, predictions[c], masks.get(c), points.get(c), ct.get(c)) for c in common]
    single = _is_single(prediction) or all(map(_is_single, places))
    return Pairs(
        tuple(cases),
        {} if single else {c: known[c] for c in sorted(known.keys() - predictions.keys())},
        {} if single else {c: predictions[c] for c in sorted(predictions.keys() - known.keys())},
    )


def _is_single(place: Path) -> bool:
    """Whether a place is one case, whatever its name."""
    return place.is_file() or is_structure_folder(place)


def shorten(cases: Iterable[str], most: int = 3) -> str:
    """The first names, and how many there are: "a, b, c, ... (12)"."""
    names = sorted(cases)
    return ", ".join(names[:most]) + (f", ... ({len(names)})" if len(names) > most else "")
