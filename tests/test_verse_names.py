"""File names of both layouts and both years."""

from pathlib import PurePath

import pytest

from nnunet_spine.dataset_conversion.split_names import split_of
from nnunet_spine.io.verse_names import (
    PATIENT_OF_SERIES,
    SERIES_OF_PATIENT,
    parse_name,
    year_of,
)


@pytest.mark.parametrize(
    ("file_name", "kind", "case", "patient"),
    [
        ("sub-verse004_ct.nii.gz", "image", "verse004", "verse004"),
        ("sub-verse004_seg-vert_msk.nii.gz", "mask", "verse004", "verse004"),
        ("sub-verse004_seg-subreg_ctd.json", "centroids", "verse004", "verse004"),
        ("sub-verse525_dir-sag_ct.nii.gz", "image", "verse525", "verse525"),
        ("sub-verse525_dir-sag_seg-vert_msk.nii.gz", "mask", "verse525", "verse525"),
        ("sub-gl003_dir-ax_ct.nii.gz", "image", "gl003", "gl003"),
        ("sub-verse405_split-verse258_ct.nii.gz", "image", "verse405_verse258", "verse405"),
        ("sub-verse405_split-verse258_dir-iso_seg-subreg_ctd.json", "centroids", "verse405_verse258", "verse405"),
        ("sub-phantom.01_ct.nii", "image", "phantom-01", "phantom.01"),
        ("verse014.nii.gz", "image", "verse014", "verse014"),
        ("verse014_seg.nii.gz", "mask", "verse014", "verse014"),
        ("verse014_ctd.json", "centroids", "verse014", "verse014"),
        ("verse258.nii.gz", "image", "verse405_verse258", "verse405"),
        ("GL003.nii.gz", "image", "gl003", "gl003"),
        ("GL003_iso-ctd.json", "centroids", "gl003", "gl003"),
        ("GL017_CT_ax_seg.nii.gz", "mask", "gl017", "gl017"),
        ("GL124_CT-ax.nii.gz", "image", "gl124", "gl124"),
        ("GL124_CT_ax-iso-ctd.json", "centroids", "gl124", "gl124"),
        ("verse512_CT-iso_iso-ctd.json", "centroids", "verse512", "verse512"),
        ("verse405_verse258_CT-sag_seg.nii.gz", "mask", "verse405_verse258", "verse405"),
    ],
)
def test_name_variants(file_name, kind, case, patient):
    name = parse_name(file_name)
    assert (name.kind, name.case, name.patient) == (kind, case, patient)


@pytest.mark.parametrize(
    "file_name",
    [
        "sub-verse004_ct.json", "sub-verse004_seg-vert_snp.png", "verse014_snapshot.png", "GL003-w.png", "dataset.json",
        "verse014_seg.nii.gz.tmp", "notes.txt", "sub-verse004_t2.nii.gz", "liver_1.nii.gz",
    ],
)  # fmt: skip
def test_other_files_are_ignored(file_name):
    assert parse_name(file_name) is None


def test_image_and_mask_of_a_scan_share_their_key():
    for image, mask in (
        ("sub-verse1_split-verse2_dir-ax_ct.nii.gz", "sub-verse1_split-verse2_dir-ax_seg-vert_msk.nii.gz"),
        ("GL124_CT-ax.nii.gz", "GL124_CT_ax-iso-ctd.json"),
    ):
        assert parse_name(image).stem == parse_name(mask).stem


def test_series_table():
    assert len(SERIES_OF_PATIENT) == 18
    assert sum(map(len, SERIES_OF_PATIENT.values())) == len(PATIENT_OF_SERIES) == 37
    assert PATIENT_OF_SERIES["verse090"] == "verse400"


@pytest.mark.parametrize(
    ("folder", "split", "year"),
    [
        ("data/dataset-verse19training", "training", "19"),
        ("data/dataset-verse19training/dataset-verse19training", "training", "19"),
        ("dataset-verse20test/dataset-03test", "test", "20"),
        ("dataset-02validation", "validation", "20"),
        ("01_training/verse500", "training", "20"),
        ("VerSe2019/test/verse014", "test", "19"),
        ("VerSe'20/validation", "validation", "20"),
        ("training_data/verse500", "training", ""),
        ("latest/contest", "", ""),
        ("verse201", "", ""),
    ],
)
def test_split_and_year_come_from_folders(folder, split, year):
    assert (split_of(PurePath(folder)), year_of(PurePath(folder))) == (split, year)
