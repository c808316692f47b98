"""Evaluation compares what headers, labels and anatomy say."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cube_spine import AFFINE, spine

from nnunet_spine.errors import InputError
from nnunet_spine.evaluation.case_job import CaseJob
from nnunet_spine.evaluation.grids import LabelMap, match
from nnunet_spine.evaluation.pairing import CaseFiles
from nnunet_spine.io.label_ids import NNUNET
from nnunet_spine.scores import CaseScore, Settings


def save(path: Path, labels: np.ndarray, affine: np.ndarray = AFFINE, qform: np.ndarray | None = None) -> Path:
    image = nib.Nifti1Image(labels, affine)
    image.set_sform(affine, 2)
    image.set_qform(affine if qform is None else qform, 1)
    nib.save(image, path)
    return path


def scored(prediction: Path, reference: Path, *accept: str) -> CaseScore:
    files = CaseFiles("a", prediction, reference)
    return CaseJob(files, Settings(), NNUNET, NNUNET, accept=accept).run()


def test_agreeing_headers_leave_no_note(tmp_path):
    assert scored(save(tmp_path / "p.nii", spine()), save(tmp_path / "r.nii", spine())).notes == ()


@pytest.mark.parametrize("lost", [np.eye(4), AFFINE + np.array([[0, 0, 0, 9.0]] * 3 + [[0] * 4])])
def test_a_prediction_that_lost_its_header_is_taken_voxel_for_voxel_with_both_overlaps(tmp_path, lost):
    labels = spine()
    prediction, reference = save(tmp_path / "p.nii", labels, lost), save(tmp_path / "r.nii", labels)
    if lost[2, 3] == 0:  # nowhere near: the user has to say so
        with pytest.raises(InputError, match=r"overlap by 1\.00 \(Dice\).*--accept mask-grid"):
            scored(prediction, reference)
    score = scored(prediction, reference, "mask-grid")
    assert score["dice"] == 1
    assert "voxel for voxel" in score.notes[-1]
    assert "1.00 (Dice)" in score.notes[-1]


def test_another_place_with_overlap_as_the_headers_say_is_believed():
    labels = spine()
    moved = AFFINE.copy()
    moved[2, 3] += 5  # the same bodies, on a grid that begins a slice higher
    prediction = LabelMap(np.roll(labels, -1, 2), moved)
    out = match(prediction, LabelMap(labels, AFFINE))
    np.testing.assert_array_equal(out.labels[..., 1:], labels[..., 1:])
    assert "voxel for voxel" not in out.notes[0]


def test_a_volume_of_other_labels_elsewhere_is_no_lost_header():
    far = AFFINE.copy()
    far[:3, 3] += 1000
    other = np.zeros_like(spine())
    other[0, 0] = 20
    with pytest.raises(InputError, match="different world frame"):
        match(LabelMap(other, far), LabelMap(spine(), AFFINE))


def test_a_header_with_two_sizes_stops_unless_accepted(tmp_path):
    odd = save(tmp_path / "p.nii", spine(), AFFINE, AFFINE @ np.diag([1.0, 1, 2, 1]))
    reference = save(tmp_path / "r.nii", spine())
    with pytest.raises(InputError, match=r"p\.nii: voxels of 5 x 5 x 5 mm by the sform.*--accept header-spacing"):
        scored(odd, reference)
    score = scored(odd, reference, "header-spacing")
    assert score["dice"] == 1
    assert "header-spacing" in score.notes[0]


def test_a_reference_upside_down_is_noted(tmp_path):
    down = AFFINE @ np.diag([1.0, 1, -1, 1])
    score = scored(save(tmp_path / "p.nii", spine(), down), save(tmp_path / "r.nii", spine(), down))
    assert score["dice"] == 1
    assert score.notes[-1].startswith("reference: upside-down: levels ascend from foot to head")
