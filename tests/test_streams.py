"""Streaming NIfTI files: header facts, completeness, voxels."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from verse_tree import AFFINE_RAS

from nnunet_spine.errors import InputError
from nnunet_spine.io import streams
from nnunet_spine.io.streams import check_complete, decompressed, has_nan, volume_info, voxel_chunks, voxels_at


def write(path, array, slope=None):
    image = nib.Nifti1Image(array, AFFINE_RAS)
    if slope:
        image.header.set_slope_inter(*slope)
    nib.save(image, path)
    return path


def voxels(path):
    info = volume_info(path)
    flat = np.concatenate(list(voxel_chunks(info)))
    if info.scaling:
        flat = flat * info.scaling[0] + info.scaling[1]
    return flat.reshape(info.shape, order="F")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64, ">i2", ">f4"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_voxels_are_those_of_nibabel(tmp_path, dtype, ending, monkeypatch):
    monkeypatch.setattr(streams, "_READ_BYTES", 101)
    monkeypatch.setattr(streams, "_PIECE_BYTES", 67)  # pieces that end inside voxels
    array = np.random.default_rng(0).integers(0, 200, (7, 5, 9)).astype(dtype)
    path = write(tmp_path / f"a{ending}", array)
    np.testing.assert_array_equal(voxels(path), nib.load(path).get_fdata())
    check_complete(volume_info(path), thorough=True)
    check_complete(volume_info(path))


def test_scaled_integers(tmp_path):
    image = nib.Nifti1Image(np.array([[[-1024.0, 0, 976]]]), AFFINE_RAS)
    image.set_data_dtype(np.int16)
    path = tmp_path / "a.nii.gz"
    nib.save(image, path)
    info = volume_info(path)
    assert info.scaling
    np.testing.assert_allclose(voxels(path), image.get_fdata(), atol=0.1)


def test_header_with_extension(tmp_path):
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), AFFINE_RAS)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"scanned on a Monday"))
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(voxels(tmp_path / "a.nii.gz"), image.get_fdata())
    check_complete(volume_info(tmp_path / "a.nii.gz"))


def test_several_gzip_members_and_padding(tmp_path):
    path = write(tmp_path / "a.nii.gz", np.arange(2400, dtype=np.int16).reshape(20, 30, 4))
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]) + b"\0" * 7)
    assert b"".join(decompressed(path)) == content
    check_complete(volume_info(path))


@pytest.mark.parametrize("cut", [1, 8, 300, 1000])
def test_truncation_is_found_without_decompressing(tmp_path, cut):
    noise = np.random.default_rng(0).integers(0, 255, (20, 20, 20)).astype(np.uint8)
    path = write(tmp_path / "a.nii.gz", noise)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputError, match="truncated"):
        check_complete(volume_info(path))
    with pytest.raises(InputError, match="truncated"):
        list(voxel_chunks(volume_info(path)))


def test_truncated_uncompressed_file(tmp_path):
    path = write(tmp_path / "a.nii", np.zeros((20, 20, 20), np.uint8))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="truncated"):
        check_complete(volume_info(path))


def test_whole_gzip_with_too_few_voxels(tmp_path):
    path = write(tmp_path / "a.nii.gz", np.zeros((20, 20, 20), np.uint8))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-5]))
    with pytest.raises(InputError, match="truncated: 8347 bytes, the header needs 8352"):
        check_complete(volume_info(path))


def test_complete_files_are_not_decompressed(tmp_path, monkeypatch):
    path = write(tmp_path / "a.nii.gz", np.zeros((20, 20, 20), np.int16))
    info = volume_info(path)
    monkeypatch.setattr(streams, "decompressed", None)
    check_complete(info)
    assert not has_nan(info)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_in_floating_point_voxels(tmp_path, value):
    array = np.zeros((4, 4, 4), np.float32)
    assert not has_nan(volume_info(write(tmp_path / "a.nii.gz", array)))
    array[1, 2, 3] = value
    assert has_nan(volume_info(write(tmp_path / "a.nii.gz", array)))


def test_analyze_pair_is_refused(tmp_path):
    nib.save(nib.Nifti1Pair(np.zeros((2, 2, 2), np.int16), AFFINE_RAS), tmp_path / "a.img")
    with pytest.raises(InputError, match="expected NIfTI in one file"):
        volume_info(tmp_path / "a.img")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_single_voxels_without_the_volume(tmp_path, name):
    array = np.random.default_rng(0).normal(0, 500, (70, 80, 90))
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    image = nib.Nifti1Image(array, np.eye(4), header)  # scaled to 16 bits
    nib.save(image, tmp_path / name)
    indices = np.sort(np.random.default_rng(1).choice(array.size, 500, replace=False))
    found = voxels_at(volume_info(tmp_path / name), indices)
    np.testing.assert_array_equal(found, nib.load(tmp_path / name).get_fdata().ravel(order="F")[indices])
    assert voxels_at(volume_info(tmp_path / name), []).size == 0
