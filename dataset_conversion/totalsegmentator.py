"""The CT data set of TotalSegmentator, versions 1 and 2: one folder per subject, one binary mask per structure.

Wasserthal et al. 2023 (doi:10.1148/ryai.230024); data CC BY 4.0. Levels are told by the names of the files, since
numbers differ between the versions.
"""

from collections.abc import Iterable
from pathlib import Path, PurePath

from nnunet_spine.anatomy import sort_cranio_caudal
from nnunet_spine.dataset_conversion.case import Converter, Found, Scan
from nnunet_spine.dataset_conversion.distinct import distinct_scans
from nnunet_spine.dataset_conversion.images import NiftiFile
from nnunet_spine.dataset_conversion.labels import StructureFiles
from nnunet_spine.dataset_conversion.source_files import case_id, source_folders, volumes_left_out, walk
from nnunet_spine.errors import InputError
from nnunet_spine.io.label_folders import structure_files
from nnunet_spine.io.text import read_records
from nnunet_spine.jobs import Failure

SPLITS = {"train": "training", "val": "validation", "test": "test"}
_IMAGES = ("ct.nii.gz", "ct.nii")


def find_scans(sources: Iterable[str | Path]) -> Found:
    """All subjects with a CT and the folder `segmentations`; splits by `meta.csv`, where there is one.

    Where masks of two vertebrae overlap the lower one counts. Subjects without any file of a vertebra are left out.

    Raises:
        InputError: a source is missing or holds no subject, or `meta.csv` is unreadable or contradicts another.
    """
    folders = source_folders(sources)
    seen = [(source, path) for source in folders for path in walk(source)]
    split_of_subject = _splits([path for _, path in seen if path.name.lower() == "meta.csv"])
    structures = {path.parent for _, path in seen if path.parent.name.lower() == "segmentations"}
    scans, problems, without = [], [], 0
    for source, path in seen:
        if path.name.lower() not in _IMAGES or path.parent.name.lower() == "segmentations":
            continue
        subject, case = path.parent, case_id(path.parent.name)
        masks = next((folder for folder in structures if folder.parent == subject), None)
        if masks is None:
            problems.append(Failure(case, "CT without the folder segmentations", "fetch the subject again", str(path)))
            continue
        files = structure_files(masks)
        if not files:
            without += 1
            continue
        scans.append(
            Scan(
                case=case,
                patient=case,
                split=split_of_subject.get(subject.name, ""),
                image=NiftiFile(path),
                mask=StructureFiles(tuple((level, files[level]) for level in sort_cranio_caudal(files))),
                place=PurePath(source.name) / subject.parent.relative_to(source) if subject != source else PurePath(),
                cohort="totalsegmentator",
                layout="subjects",
            )
        )
    if not scans and not problems:
        raise InputError("no TotalSegmentator subject found", "expected s0000/ct.nii.gz and s0000/segmentations/",
                         folders[0] if folders else None)  # fmt: skip
    scans, twice = distinct_scans(scans)
    remarks = (f"{without} subjects without any file of a vertebra left out",) if without else ()
    others = [path for _, path in seen if path.parent not in structures]
    left_out = volumes_left_out(others, [path for scan in scans for path in scan.files])
    return Found(tuple(scans), tuple(sorted([*problems, *twice], key=str)), remarks, left_out)


CONVERTER = Converter(
    name="totalsegmentator",
    title="TotalSegmentator CT data set, vertebrae of versions 1 and 2",
    dataset_name="TotalSegmentatorSpine",
    licence="CC BY 4.0",
    reference="Wasserthal et al. 2023 doi:10.1148/ryai.230024",
    find=find_scans,
    gives=frozenset({"image", "mask"}),
)


def _splits(tables: Iterable[Path]) -> dict[str, str]:
    """Subject -> split."""
    splits: dict[str, str] = {}
    for table in tables:
        for row in read_records(table, ("image_id", "split")):
            word = row["split"].lower()
            if word and word not in SPLITS:
                raise InputError(f"split '{row['split']}' of {row['image_id']}", "give train, val or test", table)
            if word and splits.setdefault(row["image_id"], SPLITS[word]) != SPLITS[word]:
                raise InputError(f"{row['image_id']} is in two splits", "keep one line or one table", table)
    return splits
