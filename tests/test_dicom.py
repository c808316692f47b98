"""DICOM series as images of a data set: put together by position, or refused with the reason."""

import numpy as np
import pytest
import SimpleITK
from test_converters import convert, converter_of, scan_of
from verse_tree import AFFINE_RAS, save, spine_ct, spine_mask, turned

from nnunet_spine.dataset_conversion.dicom import DicomSeries, find_series
from nnunet_spine.dataset_conversion.labels import LabelFile
from nnunet_spine.errors import InputError
from nnunet_spine.io.nifti import read_nifti


def write_series(folder, ct, affine, *, uid="1.2.3", skip=(), positions=None, prefix="x", modality="CT"):
    """Slices along the last axis as DICOM files whose names say nothing of their order, written from the standard."""
    folder.mkdir(exist_ok=True)
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    rows, columns = (lps[:3, :2] / spacing[:2]).T
    order = np.random.default_rng(0).permutation(ct.shape[2])
    paths = []
    for k in range(ct.shape[2]):
        if k in skip:
            continue
        position = (lps @ [0, 0, k, 1])[:3] if positions is None else positions(k, lps)
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(ct[:, :, k].T)[None])
        image.SetSpacing([*spacing[:2].tolist(), float(spacing[2])])
        tags = {
            "0008|0060": modality, "0020|000e": uid, "0020|000d": "1.2", "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{uid}.{k + 1}", "0020|0013": str(k + 1), "0028|1052": "-1024", "0028|1053": "1",
            "0020|0032": "\\".join(f"{v:.6f}" for v in position),
            "0020|0037": "\\".join(f"{v:.6f}" for v in (*rows, *columns)),
        }  # fmt: skip
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer = SimpleITK.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        paths.append(folder / f"{prefix}{order[k]:03d}.dcm")
        writer.SetFileName(str(paths[-1]))
        writer.Execute(image)
    return tuple(sorted(paths))


@pytest.fixture
def ct():
    return spine_ct(spine_mask())


@pytest.mark.parametrize("codes", ["LPS", "LPI", "PIR"])
def test_a_series_becomes_the_volume_in_its_place(tmp_path, ct, codes):
    voxels, affine = turned(ct, AFFINE_RAS, codes)
    paths = write_series(tmp_path / "dicom", voxels, affine)
    mask = save(tmp_path / "mask.nii.gz", *turned(spine_mask(), AFFINE_RAS, codes))
    scan = scan_of(tmp_path, "a", image=DicomSeries(paths), mask=LabelFile(mask))
    code, dataset = convert(tmp_path, converter_of(scan))
    assert code == 0
    stored, stored_affine = read_nifti(dataset / "imagesTr" / "a_0000.nii.gz")
    assert stored.dtype == np.int16
    back, back_affine = turned(stored, stored_affine, "RAS")
    np.testing.assert_array_equal(back, ct)
    np.testing.assert_allclose(back_affine, AFFINE_RAS, atol=1e-4)


def test_series_are_found_among_other_files(tmp_path, ct):
    first = write_series(tmp_path / "d", ct[..., :3], AFFINE_RAS, uid="1.2.3")
    second = write_series(tmp_path / "d", ct[..., :4], AFFINE_RAS, uid="1.2.4", prefix="y")
    (tmp_path / "d" / "notes.dcm").write_text("no image", encoding="utf-8")
    found = find_series(sorted((tmp_path / "d").iterdir()))
    assert [series.paths for series in found] == [first, second]


def tilted(k, lps):
    return (lps @ [0, 0, k, 1])[:3] + np.array([0, 0.3 * k, 0])


def repeated(k, lps):
    return (lps @ [0, 0, k // 2, 1])[:3]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            {"skip": (5, 6)},
            r"1 of 37 distances of slices differ from 2 mm, e.g. 6 mm after x\d+.dcm: slices",
        ),
        ({"positions": tilted}, "gantry tilted by 8.5 degrees"),
        ({"positions": repeated}, "20 slices lie where another one lies"),
        ({"modality": "MR"}, "modality MR; expected CT"),
    ],
)
def test_what_would_be_distorted_is_refused(tmp_path, ct, how, message):
    voxels, affine = turned(ct, AFFINE_RAS, "LPS")
    with pytest.raises(InputError, match=message):
        DicomSeries(write_series(tmp_path / "d", voxels, affine, **how)).open()


def test_what_is_no_single_series_is_refused(tmp_path, ct):
    voxels, affine = turned(ct, AFFINE_RAS, "LPS")
    paths = write_series(tmp_path / "d", voxels, affine)
    other = write_series(tmp_path / "e", voxels, affine, uid="1.9")
    with pytest.raises(InputError, match="80 files of 2 series"):
        DicomSeries(paths + other).open()
    sagittal = write_series(tmp_path / "f", *turned(ct, AFFINE_RAS, "PIR"))
    with pytest.raises(InputError, match="size, spacing or orientation differ"):
        DicomSeries(paths + sagittal).open()
    with pytest.raises(InputError, match="one slice; expected a series"):
        DicomSeries(paths[:1]).open()
    paths[3].write_bytes(b"nothing")
    with pytest.raises(InputError, match="no DICOM image"):
        DicomSeries(paths).open()
