"""Each kind of damage to a raw dataset is one line with its cure, and a sound dataset has none."""

import json

import nibabel as nib
import numpy as np
import pytest
from verse_tree import run_convert, save, spine_ct, spine_mask, subject

from nnunet_spine.cli import main
from nnunet_spine.io.files import read_json, write_json


@pytest.fixture
def dataset(tmp_path, nnunet_folders):
    """Three training scans of two patients, one to validate, one to test."""
    root = tmp_path / "verse"
    subject(root / "training", "verse004", seed=1)
    subject(root / "training", "verse005", seed=2)
    subject(root / "validation", "verse010", seed=3)
    subject(root / "test", "verse020", seed=4)
    run_convert("verse", root, "-d", "710")
    return nnunet_folders["nnUNet_raw"] / "Dataset710_VerSe"


def verify(capsys, *options) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["verify", "-d", "710", "-np", "1", *options])
    return code, capsys.readouterr().out


def test_a_sound_dataset(dataset, capsys):
    code, out = verify(capsys)
    assert (code, out) == (0, "4 cases of Dataset710_VerSe checked against its manifest and its own files: "
                              "nothing is wrong\n")  # fmt: skip


def rewrite(path, change):
    image = nib.load(path)
    array, affine = change(np.asarray(image.dataobj).copy(), image.affine.copy())
    path.unlink()  # images are links to the sources
    nib.save(nib.Nifti1Image(array, affine), path)


def shifted(array, affine):
    affine[0, 3] += 5
    return array, affine


def relabelled(array, affine):
    array[array == 20] = 40
    return array, affine


def emptied(array, affine):
    return array * 0, affine


def moved(array, affine):
    return np.roll(array, 20, 2), affine


@pytest.mark.parametrize(
    ("file", "change", "lines"),
    [
        ("labelsTr/verse004.nii.gz", shifted, ("geometry", "lie 5 mm apart")),
        ("labelsTr/verse004.nii.gz", relabelled, ("labels", "label 40 is not in dataset.json")),
        ("labelsTr/verse004.nii.gz", relabelled, ("labels", "mask and manifest differ in L1")),
        ("labelsTr/verse004.nii.gz", emptied, ("labels", "nothing is labelled")),
        ("labelsTr/verse004.nii.gz", moved, ("centroids", "the centre of L1 lies outside its mask")),
        ("labelsTr/verse004.nii.gz", moved, ("outputs", "verse004.nii.gz was changed since it was written")),
        ("imagesTr/verse004_0000.nii.gz", lambda a, b: (a[1:], b), ("geometry", "image of (23, 20, 40) and mask of")),
    ],
)
def test_changed_files(dataset, capsys, file, change, lines):
    rewrite(dataset / file, change)
    code, out = verify(capsys)
    assert code == 1
    kind, text = lines
    assert any(line.startswith(kind) and "verse004" in line and text in line for line in out.splitlines())


def test_changed_and_missing_sources(dataset, tmp_path, capsys):
    sources = tmp_path / "verse" / "training" / "derivatives"
    (sources / "sub-verse004" / "sub-verse004_seg-vert_msk.nii.gz").unlink()
    save(sources / "sub-verse005" / "sub-verse005_seg-vert_msk.nii.gz", spine_mask((1, 2, 3)))
    code, out = verify(capsys)
    assert code == 1
    assert "verse004_seg" not in out.splitlines()[0]
    assert any(line.startswith("sources  verse004") and "is not there any more" in line for line in out.splitlines())
    assert any(line.startswith("sources  verse005") and "changed since" in line for line in out.splitlines())


def test_leaks_by_patient_and_by_what_images_show(dataset, capsys):
    manifest = (dataset / "manifest.csv").read_text(encoding="utf-8")
    manifest = manifest.replace("verse010,verse010,validation", "verse010,verse004,validation")
    manifest = manifest.replace("verse020,verse020,test", "verse020,verse005,test")
    (dataset / "manifest.csv").write_text(manifest, encoding="utf-8")
    there = dataset / "imagesTs" / "verse020_0000.nii.gz"
    there.unlink()
    image = nib.load(dataset / "imagesTr" / "verse005_0000.nii.gz")
    nib.save(image.as_reoriented(np.array([[1, -1], [0, 1], [2, 1]])), there)
    code, out = verify(capsys)
    assert code == 1
    leaks = [line for line in out.splitlines() if line.startswith("leak")]
    assert any("patient verse004 is on both sides of fold 0" in line for line in leaks)
    assert any("patient verse005 is in training and test" in line for line in leaks)
    assert any("shows the same scan as verse020 (test and training)" in line for line in leaks)


def test_dataset_json_stray_files_and_folds(dataset, capsys):
    content = read_json(dataset / "dataset.json")
    content["labels"]["T13"], content["numTraining"] = 28, 7
    write_json(dataset / "dataset.json", content)
    (dataset / "imagesTr" / "old_0000.nii.gz").write_bytes(b"")
    (dataset / "labelsTr" / "verse005.nii.gz").unlink()
    write_json(dataset / "splits_final.json", [{"train": ["verse004", "gone"], "val": ["verse010"]}])
    code, out = verify(capsys)
    assert code == 1
    for text in (
        "number labels 0 (background), 1, 2, ...",
        "numTraining 7, 3 cases",
        "old_0000.nii.gz belongs to no case",
        "no label",
        "fold 0 names gone, no training case",
    ):
        assert text in out


def test_derived_and_joined_datasets_are_sound(dataset, tmp_path, capsys):
    run_convert("verse", "-d", "711", "--labels", "regions", "--images-from", "710")
    run_convert("vertebra-crops", "-d", "710", "-t", "712", "--levels", "L1")
    subject(tmp_path / "more" / "training", "gl001", labels=(1, 2), seed=9)
    run_convert("verse", tmp_path / "more", "-d", "713", "--name", "More")
    assert main(["merge", "-d", "710", "713", "-t", "714", "-np", "1"]) == 0
    for number in ("711", "712", "714"):
        capsys.readouterr()
        code = main(["verify", "-d", number, "-np", "1"])
        assert code == 0, capsys.readouterr().out


def test_a_dataset_of_another_program(tmp_path, nnunet_folders, capsys):
    folder = nnunet_folders["nnUNet_raw"] / "Dataset710_Theirs"
    for case, seed in (("x", 1), ("y", 2), ("z", 2)):
        save(folder / "imagesTr" / f"{case}_0000.nii.gz", spine_ct(spine_mask(), seed))
        save(folder / "labelsTr" / f"{case}.nii.gz", spine_mask((1, 2)))
    labels = {"background": 0, "liver": 1}
    content = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 3, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    code, out = verify(capsys)
    assert code == 1
    assert "label 2 is not in dataset.json" in out
    assert "shows the same scan as z" in out
    assert "another program wrote it" in out
    assert main(["verify", "-d", "711", "-o", str(tmp_path)]) == 2
