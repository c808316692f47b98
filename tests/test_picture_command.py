"""`nnunet-spine picture`: pictures of one case or of folders, whatever the labels and grids of their files are."""

import matplotlib.image
import numpy as np
import pytest

from nnunet_spine import cli
from nnunet_spine.anatomy import BY_NAME, structures
from nnunet_spine.geometry import reorient
from nnunet_spine.io.label_tables import write_mask
from nnunet_spine.io.nifti import write_nifti

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def spine() -> tuple[np.ndarray, np.ndarray]:
    """CT and mask of L1 above L2 above L3."""
    labels = np.zeros((30, 40, 60), np.uint8)
    for level, z in (("L3", 8), ("L2", 24), ("L1", 40)):
        labels[8:22, 10:30, z : z + 12] = BY_NAME[level].nnunet_id
    return np.where(labels > 0, 300, 40).astype(np.int16), labels


@pytest.fixture
def cases(tmp_path):
    """Two cases: CTs, masks in which L2 is missing, references."""
    image, labels = spine()
    for case in ("a", "b"):
        write_nifti(tmp_path / "ct" / f"{case}_0000.nii.gz", image, AFFINE)
        predicted = np.where(labels == BY_NAME["L2"].nnunet_id, 0, labels).astype(np.uint8)
        write_mask(tmp_path / "masks" / f"{case}.nii.gz", predicted, AFFINE, "nnunet")
        write_mask(tmp_path / "true" / f"{case}.nii.gz", labels, AFFINE, "nnunet")
    return tmp_path


def shows(path, color) -> bool:
    """Whether outlines of this colour are there: more pixels than a written name could have."""
    pixels = matplotlib.image.imread(path)[..., :3] * 255
    return bool((np.abs(pixels - np.array(color)).sum(-1) < 80).sum() > 40)


def test_folders_are_paired_by_name(cases, capsys):
    arguments = ["-i", str(cases / "ct"), "-s", str(cases / "masks"), "-r", str(cases / "true"), "-np", "1"]
    assert cli.main(["picture", *arguments, "-o", str(cases / "out")]) == 0
    assert sorted(p.name for p in (cases / "out").iterdir()) == ["a.png", "b.png"]
    assert "2 pictures in" in capsys.readouterr().out
    for case in "ab":
        assert shows(cases / "out" / f"{case}.png", BY_NAME["L2"].color)  # of the reference


def test_one_case_to_a_file_whatever_its_names(cases):
    image, mask = cases / "scan.nii.gz", cases / "masks" / "b.nii.gz"
    (cases / "ct" / "a_0000.nii.gz").rename(image)
    out = cases / "new" / "picture.png"
    assert cli.main(["picture", "-i", str(image), "-s", str(mask), "-o", str(out), "--quiet"]) == 0
    assert shows(out, BY_NAME["L1"].color)
    assert not shows(out, BY_NAME["L2"].color)


def test_labels_of_other_kinds_have_their_own_names_and_colours(cases):
    _, labels = spine()
    write_mask(cases / "regions" / "a.nii.gz", np.where(labels > 0, 3, 0).astype(np.uint8), AFFINE, "regions")
    out = cases / "a.png"
    assert cli.main(["picture", "-s", str(cases / "regions" / "a.nii.gz"), "-o", str(out), "--quiet"]) == 0
    lumbar = next(s for s in structures("regions") if s.value == 3)
    assert shows(out, lumbar.color)
    assert cli.main(
        ["picture", "-s", str(cases / "regions"), "-r", str(cases / "true" / "a.nii.gz"), "-o", str(cases / "o")]
    ) == 0  # fmt: skip


def test_other_ids_and_grids_are_said(cases, capsys):
    image, labels = spine()
    turned, turned_affine = reorient(image, AFFINE, "LPI")
    write_nifti(cases / "turned" / "a.nii.gz", turned, turned_affine)
    verse = np.where(labels == BY_NAME["L1"].nnunet_id, 28, 0).astype(np.uint8)  # T13 there
    write_nifti(cases / "verse" / "a.nii.gz", verse, AFFINE)
    arguments = ["picture", "-i", str(cases / "turned"), "-s", str(cases / "verse"), "-o", str(cases / "out")]
    assert cli.main([*arguments, "--labels", "verse"]) == 0
    assert "a: the CT lies on another grid" in capsys.readouterr().err
    assert shows(cases / "out" / "a.png", BY_NAME["T13"].color)


def test_a_bad_case_leaves_the_others(cases, capsys):
    (cases / "ct" / "b_0000.nii.gz").write_bytes(b"no image")
    arguments = ["picture", "-i", str(cases / "ct"), "-s", str(cases / "masks"), "-o", str(cases / "out")]
    assert cli.main([*arguments, "-np", "1"]) == 1
    captured = capsys.readouterr()
    assert "1 of 2 pictures" in captured.out
    assert "b: " in captured.err
    assert [p.name for p in (cases / "out").iterdir()] == ["a.png"]


def test_what_is_missing_is_said(cases, capsys):
    (cases / "ct" / "b_0000.nii.gz").unlink()
    write_mask(cases / "masks" / "a.nii.gz", np.zeros((30, 40, 60), np.uint8), AFFINE, "nnunet")
    arguments = ["picture", "-i", str(cases / "ct"), "-s", str(cases / "masks"), "-o", str(cases / "out")]
    assert cli.main([*arguments, "-np", "1"]) == 0
    captured = capsys.readouterr()
    assert "no CT: b (1)" in captured.out
    assert "a: no label in it" in captured.err
    assert (cases / "out" / "a.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-s", "missing", "-o", "out"], "missing: no such file or folder"),
        (["-s", "ct/none", "-o", "out"], "no such file or folder"),
        (["-s", "masks", "-o", "out.png"], "one file for 2 cases. Name a folder"),
        (["-s", "masks", "-o", "masks"], "is the folder of masks"),
        (["-s", "masks", "-i", "other", "-o", "out"], "no case name in common"),
        (["-s", "masks", "-o", "out", "--labels", "colours"], "label table 'colours'"),
    ],
)
def test_mistakes_are_one_line(cases, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(cases)
    write_nifti(cases / "other" / "c.nii.gz", spine()[0], AFFINE)
    assert cli.main(["picture", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_scan_elsewhere_is_refused(cases, capsys):
    moved = AFFINE.copy()
    moved[2, 3] = 5000
    write_nifti(cases / "ct" / "a_0000.nii.gz", spine()[0], moved)
    arguments = ["picture", "-i", str(cases / "ct"), "-s", str(cases / "masks"), "-o", str(cases / "out")]
    assert cli.main([*arguments, "-np", "1"]) == 1
    assert "CT and labels lie apart" in capsys.readouterr().err
