"""What we write has one place in the world for nibabel and for ITK."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from nnunet_spine.io import label_tables
from nnunet_spine.io.nifti import write_nifti
from nnunet_spine.io.slicer_files import write_seg_nrrd

SHAPE = (30, 40, 50)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[5:20, 5:20, 5:20] = 20


def affine_of(degrees_of_shear: float, degrees_of_tilt: float = 0.0) -> np.ndarray:
    """LPS like a CT, 0.7 x 0.7 x 1 mm; slices slide along y as a tilted gantry makes them."""
    shear, (sin, cos) = np.tan(np.deg2rad(degrees_of_shear)), (f(np.deg2rad(degrees_of_tilt)) for f in (np.sin, np.cos))
    tilt = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.array([[-0.7, 0, 0], [0, -0.7, shear], [0, 0, 1.0]])
    affine[:3, 3] = 20, 25, -300
    return affine


def itk_positions(path) -> np.ndarray:
    """World RAS mm of the first and the last voxel, as ITK reads them."""
    image = SimpleITK.ReadImage(str(path))
    ends = [(0.0, 0.0, 0.0), tuple(float(n - 1) for n in SHAPE)]
    return np.array([image.TransformContinuousIndexToPhysicalPoint(end) for end in ends]) * [-1, -1, 1]


def positions(affine: np.ndarray) -> np.ndarray:
    return nib.affines.apply_affine(affine, [(0, 0, 0), [n - 1 for n in SHAPE]])


@pytest.mark.parametrize("shear", [0, 1e-4, 0.01, 0.05])
@pytest.mark.parametrize("tilt", [0, 0.03, 12])
def test_a_hint_of_shear_opens_everywhere_at_the_same_place(tmp_path, shear, tilt):
    affine = affine_of(shear, tilt)
    label_tables.write_mask(tmp_path / "a.nii.gz", LABELS, affine, "nnunet")
    np.testing.assert_allclose(nib.load(tmp_path / "a.nii.gz").affine, affine, atol=1e-4)
    np.testing.assert_allclose(itk_positions(tmp_path / "a.nii.gz"), positions(affine), atol=0.05)
    write_seg_nrrd(tmp_path / "a.nii.gz", tmp_path / "a.seg.nrrd", "nnunet")
    np.testing.assert_allclose(itk_positions(tmp_path / "a.seg.nrrd"), positions(affine), atol=1e-3)


def test_a_tilted_gantry_still_opens_and_nibabel_keeps_the_shear(tmp_path):
    affine = affine_of(20)
    write_nifti(tmp_path / "a.nii.gz", LABELS.astype(np.int16), affine)
    np.testing.assert_allclose(nib.load(tmp_path / "a.nii.gz").affine, affine, atol=1e-4)
    np.testing.assert_allclose(itk_positions(tmp_path / "a.nii.gz")[0], positions(affine)[0], atol=1e-3)


@pytest.mark.parametrize("sform_code", [1, 2])
def test_a_table_put_into_a_mask_without_qform_lets_itk_open_it(tmp_path, sform_code):
    path, affine = tmp_path / "a.nii.gz", affine_of(0.05)
    image = nib.Nifti1Image(LABELS, affine)
    image.set_sform(affine, sform_code)
    nib.save(image, path)
    with pytest.raises(RuntimeError, match="orthonormal"):
        SimpleITK.ReadImage(str(path))
    label_tables.embed(path, "nnunet")
    header = nib.load(path).header
    assert (header["sform_code"], header["qform_code"]) == (sform_code, sform_code)
    np.testing.assert_allclose(itk_positions(path), positions(affine), atol=0.05)


def test_a_qform_that_is_there_stays(tmp_path):
    path, other = tmp_path / "a.nii.gz", affine_of(0, 10)
    image = nib.Nifti1Image(LABELS, affine_of(0))
    image.set_qform(other, code=1)
    nib.save(image, path)
    label_tables.embed(path, "nnunet")
    np.testing.assert_allclose(nib.load(path).get_qform(), other, atol=1e-4)
