"""One reader for masks of every program: values are judged, not how they are stored."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from verse_tree import AFFINE_RAS

from nnunet_spine.errors import InputError
from nnunet_spine.io.masks import HIGHEST_LEVEL, case_name, is_mask_name, mask_values, read_mask, require_grid

LABELS = np.zeros((4, 5, 6), np.uint8)
LABELS[1:3, 1:4, 1:3], LABELS[1:3, 1:4, 4] = 20, 21
AFFINE = np.array([[0.0, 0.0, 1.5, -3], [-0.7, 0, 0, 4], [0, 0.9, 0, 10], [0, 0, 0, 1]])


def save(path: Path, array: np.ndarray, slope: float = 1.0, intercept: float = 0.0, endian: str = "<") -> Path:
    """NIfTI with stored values and scaling exactly as given; nibabel itself would choose another scaling."""
    header = nib.Nifti1Header(endianness=endian)
    header.set_data_dtype(array.dtype.newbyteorder(endian))
    plain = path.with_name(path.name.lower())  # nibabel writes no other
    nib.save(nib.Nifti1Image(array, AFFINE, header, dtype=array.dtype.newbyteorder(endian)), plain)
    plain.rename(path)
    raw = bytearray(gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes())
    raw[112:120] = np.array([slope, intercept], f"{endian}f4").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)) if path.suffix.lower() == ".gz" else bytes(raw))
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".NII.GZ"])
@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
@pytest.mark.parametrize("endian", ["<", ">"])
def test_every_type_and_byte_order_holds_the_same_labels(tmp_path, kind, endian, ending):
    mask = read_mask(save(tmp_path / f"a{ending}", LABELS.astype(kind), endian=endian))
    np.testing.assert_array_equal(mask.labels, LABELS)
    assert mask.labels.dtype == np.uint8
    assert mask.labels.flags.f_contiguous
    np.testing.assert_allclose(mask.affine, AFFINE, atol=1e-6)
    assert mask.repair == ""
    assert mask.remarks == (() if kind == "u1" else (f"mask stored as {np.dtype(kind).name}",))


@pytest.mark.parametrize(
    ("stored", "slope", "intercept"),
    [
        (LABELS.astype(np.int16) * 2, 0.5, 0),
        (LABELS.astype(np.int16) - 100, 1, 100),
        (LABELS, 1 / 255 * 255, 0),
        ((LABELS * 12.75).round().astype(np.uint8), 1 / 12.75, 0),  # 8 bits for 0 to 20
        (LABELS.astype(np.float64) * 0.99999, 1, 0),
        (LABELS.astype(np.float32), 0, 0),  # a slope of 0 means that there is none
    ],
)
def test_scaled_and_rounded_values(tmp_path, stored, slope, intercept):
    expected = np.where(LABELS == 21, 20, LABELS) if slope == 1 / 12.75 else LABELS
    stored = np.where(LABELS == 21, stored[1, 1, 1], stored) if slope == 1 / 12.75 else stored
    np.testing.assert_array_equal(read_mask(save(tmp_path / "a.nii.gz", stored, slope, intercept)).labels, expected)


def test_nan_is_background_with_a_remark(tmp_path):
    mask = read_mask(save(tmp_path / "a.nii.gz", np.where(LABELS > 0, LABELS, np.nan).astype(np.float32)))
    np.testing.assert_array_equal(mask.labels, LABELS)
    assert mask.remarks == (
        "mask stored as float32",
        f"NaN in {np.count_nonzero(LABELS == 0)} voxels of the mask set to 0",
    )


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.where(LABELS == 21, 20.5, LABELS), "no whole numbers in 6 voxels (e.g. 20.5)"),
        (np.where(LABELS == 21, np.inf, LABELS), "no whole numbers in 6 voxels (e.g. inf)"),
        (np.where(LABELS == 21, -1, LABELS.astype(np.int16)), "values outside 0 to 255 in 6 voxels (e.g. -1)"),
        (np.where(LABELS == 21, 300.0, LABELS), "values outside 0 to 255 in 6 voxels (e.g. 300)"),
        (np.where(LABELS == 0, -1024, 400).astype(np.int16), "values outside 0 to 255 in 120 voxels (e.g. -1024)"),
        (np.where(LABELS == 21, 2**40, LABELS.astype(np.int64)), "values outside 0 to 255 in 6 voxels"),
    ],
)
def test_what_is_no_label_is_refused_with_its_count(tmp_path, array, found):
    with pytest.raises(InputError, match=r"expected labels|check that this is a mask|Check that") as caught:
        read_mask(save(tmp_path / "a.nii.gz", array))
    assert found in str(caught.value)
    assert "a.nii.gz" in str(caught.value)


def test_ids_above_the_highest_that_is_asked_for(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.where(LABELS == 21, 28, LABELS).astype(np.int16))
    assert read_mask(path).labels.max() == 28
    with pytest.raises(InputError, match=r"values outside 0 to 26 in 6 voxels \(e.g. 28\). .*VerSe's T13 is 28"):
        read_mask(path, highest=HIGHEST_LEVEL)


def test_an_empty_mask_and_a_trailing_axis(tmp_path):
    assert not read_mask(save(tmp_path / "a.nii.gz", np.zeros((3, 4, 5), np.int16))).labels.any()
    np.testing.assert_array_equal(read_mask(save(tmp_path / "b.nii.gz", LABELS[..., None])).labels, LABELS)


def itk_image(array: np.ndarray) -> SimpleITK.Image:
    """`array` (x, y, z) on the grid `AFFINE`, placed by hand: ITK's world has x and y of the opposite sign."""
    image = SimpleITK.GetImageFromArray(array.transpose(2, 1, 0))
    image.SetSpacing((0.7, 0.9, 1.5))
    image.SetDirection((0, 0, -1, 1, 0, 0, 0, 1, 0))
    image.SetOrigin((3, -4, 10))
    return image


@pytest.mark.parametrize("name", ["a.nrrd", "a.seg.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float64])
def test_nrrd_and_metaimage_hold_the_same_mask_as_nifti(tmp_path, name, kind):
    for compressed in (False, True):
        SimpleITK.WriteImage(itk_image(LABELS.astype(kind)), str(tmp_path / name), useCompression=compressed)
        mask = read_mask(tmp_path / name)
        np.testing.assert_array_equal(mask.labels, LABELS)
        np.testing.assert_allclose(mask.affine, AFFINE, atol=1e-6)
        assert mask.labels.flags.f_contiguous


def test_nrrd_with_fractions_several_layers_or_two_axes(tmp_path):
    path = str(tmp_path / "a.nrrd")
    SimpleITK.WriteImage(itk_image(LABELS * 0.5), path)
    with pytest.raises(InputError, match=r"no whole numbers in 6 voxels \(e.g. 10.5\)"):
        read_mask(path)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.zeros((3, 4, 5, 2), np.uint8), isVector=True), path)
    with pytest.raises(InputError, match=r"2 values per voxel; expected one. Export a labelmap of one layer"):
        read_mask(path)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.zeros((4, 5), np.uint8)), path)
    with pytest.raises(InputError, match="2-D image"):
        read_mask(path)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.mhd", "a.nhdr"])
@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_files_of_itk_formats(tmp_path, name, compressed):
    array = np.random.default_rng(0).integers(0, 20, (20, 30, 40)).astype(np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / name), useCompression=compressed)
    data = max(tmp_path.iterdir(), key=lambda path: path.stat().st_size)
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(InputError, match=r"(?s)damaged.*etch"):
        read_mask(tmp_path / name)
    if compressed:  # ITK itself passes over it
        data.write_bytes(
            bytes([*whole[: len(whole) // 2], whole[len(whole) // 2] ^ 255, *whole[len(whole) // 2 + 1 :]])
        )
        with pytest.raises(InputError, match="damaged"):
            read_mask(tmp_path / name)


def test_missing_and_foreign_files(tmp_path):
    (tmp_path / "page.nrrd").write_text("<html>503</html>", encoding="utf-8")
    for name, found in (("none.mha", "no such file"), ("none.nii.gz", "no such file"), ("page.nrrd", "damaged")):
        with pytest.raises(InputError, match=found):
            read_mask(tmp_path / name)


def test_another_grid_is_told_in_millimetres(tmp_path):
    nib.save(nib.Nifti1Image(LABELS, AFFINE_RAS), tmp_path / "a.nii.gz")
    mask = read_mask(tmp_path / "a.nii.gz")
    require_grid(mask, LABELS.shape, mask.affine)
    with pytest.raises(InputError, match=r"grid \(4, 5, 6\); expected \(4, 5, 7\)"):
        require_grid(mask, (4, 5, 7), mask.affine)
    moved = mask.affine.copy()
    moved[0, 3] += 5
    with pytest.raises(InputError, match="corners up to 5 mm apart"):
        require_grid(mask, LABELS.shape, moved)


def test_names():
    assert [case_name(n) for n in ("a.nii.gz", "x/a.b.nii", "a.seg.nrrd", "a.NRRD", "b.mha")] == [
        "a", "a.b", "a", "a", "b",
    ]  # fmt: skip
    assert is_mask_name("a.mhd")
    assert not is_mask_name(".partial-a.nii.gz")
    assert not is_mask_name("a.raw")


def test_what_a_file_is_instead_and_its_cure(tmp_path):
    plain = save(tmp_path / "plain.nii", LABELS).read_bytes()
    for name, content, found in (
        ("empty.nii.gz", b"", "the file is empty. Fetch the file again"),
        ("lfs.nii.gz", b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS. Fetch what it points to"),
        ("page.nii.gz", b"<!DOCTYPE html><html>503</html>", "a web page"),
        ("a.nii.gz", plain, "not compressed, though called .gz. Rename it to .nii"),
        ("b.nii", gzip.compress(plain), "compressed, though not called .gz. Rename it to .nii.gz"),
        ("c.nii.gz", b"something else", "not readable as NIfTI"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=found):
            read_mask(tmp_path / name)


def test_values_beyond_a_byte_are_counted_and_recoded(tmp_path):
    array = np.zeros((6, 5, 4), np.float64)
    array[1:3, 1:3, 1:3] = 1700
    array[4, 4, 3] = 100
    array[0, 0, 0] = np.nan
    path = save(tmp_path / "m.nii.gz", array)
    assert mask_values(path) == {0: 111, 100: 1, 1700: 8}
    mask = read_mask(path, recode={100: 1, 1700: 17})
    assert (mask.labels[1, 1, 1], mask.labels[4, 4, 3], mask.labels[0, 0, 0]) == (17, 1, 0)
    scaled = save(tmp_path / "s.nii.gz", np.array(array == 100, np.int16), slope=300.0)
    assert mask_values(scaled) == {0: 119, 300: 1}
    assert np.count_nonzero(read_mask(scaled, recode={300: 3}).labels == 3) == 1
    with pytest.raises(InputError, match="no whole numbers in 1 voxel"):
        mask_values(save(tmp_path / "f.nii.gz", np.where(array == 100, 0.5, 0.0)))
