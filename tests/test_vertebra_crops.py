"""Crops around vertebrae: their grid and values, the dataset made of them, and the way back into the scan."""

import nibabel as nib
import numpy as np
import pytest
from verse_tree import run_convert, subject, turned

from nnunet_spine.crops import (
    AIR_HU,
    CROP_SHAPE,
    PredictedCrop,
    crop_affine,
    crop_image,
    crop_label,
    paste,
    share_inside,
    slices_of_crops,
)
from nnunet_spine.dataset_conversion.splits import folds_of_parts
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import resample_linear, to_index, to_world
from nnunet_spine.io.files import read_json, write_json
from nnunet_spine.io.nifti import read_nifti

TILTED = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.2, -0.15, 0.1) @ np.diag([1.5, 2.0, 2.5]), [-60.0, -70.0, 20.0]
)


def grid_mm(shape, affine) -> np.ndarray:
    return to_world(affine, np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1))


def test_the_point_is_the_middle_of_the_crop():
    affine = crop_affine((10.0, -20.0, 300.5))
    corners = to_world(affine, [(0, 0, 0), [n - 1 for n in CROP_SHAPE]])
    np.testing.assert_allclose(corners.mean(0), (10, -20, 300.5))
    np.testing.assert_allclose(corners[1] - corners[0], (95, 111, 63))


def test_a_ramp_keeps_its_values_in_a_tilted_scan():
    shape = (60, 60, 40)
    scan = grid_mm(shape, TILTED) @ [3.0, -2.0, 1.0]
    centre = to_world(TILTED, (30, 30, 20))
    crop = crop_image(scan, TILTED, centre)
    truth = grid_mm(CROP_SHAPE, crop_affine(centre)) @ [3.0, -2.0, 1.0]
    # Half a voxel beyond the outermost centres the outermost value holds; look at what lies between centres.
    index = to_index(TILTED, grid_mm(CROP_SHAPE, crop_affine(centre)))
    inside = np.all((index >= 0) & (index <= np.array(shape) - 1), -1)
    assert 0.3 < inside.mean() < 1
    np.testing.assert_allclose(crop[inside], truth[inside], atol=0.51)  # rounded to whole HU
    assert (crop[np.any((index < -0.51) | (index > np.array(shape) - 0.49), -1)] == AIR_HU).all()


def test_outside_the_scan_is_air():
    assert (crop_image(np.full((8, 8, 8), 40, np.int16), np.eye(4), (500, 0, 0)) == AIR_HU).all()
    edge = crop_image(np.full((8, 8, 8), 40, np.int16), np.eye(4), (3.5, 3.5, 3.5))
    assert np.count_nonzero(edge == 40) == 8**3
    assert np.count_nonzero(edge == AIR_HU) == edge.size - 8**3


def test_label_is_the_one_vertebra_only():
    labels = np.zeros((50, 60, 40), np.uint8)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    labels[20:30, 20:30, 10:16], labels[20:30, 20:30, 18:24] = 21, 22
    crop = crop_label(labels, affine, 22, (49.0, 49.0, 41.0))
    assert crop.dtype == np.uint8
    # 20 x 20 x 12 mm; at each of its eight corners the share is 0.75 ** 3, which is less than one half
    assert np.count_nonzero(crop) == 20 * 20 * 12 - 8
    np.testing.assert_allclose(np.argwhere(crop).mean(0), (np.array(CROP_SHAPE) - 1) / 2)
    assert not crop_label(labels, affine, 23, (49.0, 49.0, 41.0)).any()


@pytest.mark.parametrize("codes", ["PIR", "LPS", "SAL"])
def test_crops_do_not_depend_on_the_orientation_of_the_scan(codes):
    rng = np.random.default_rng(0)
    scan, affine = rng.integers(-500, 500, (30, 40, 35)).astype(np.int16), np.diag([2.0, 1.5, 2.0, 1.0])
    labels = (scan > 300).astype(np.uint8)
    centre = (31.0, 28.0, 33.0)
    other, other_affine = turned(scan, affine, codes)
    np.testing.assert_array_equal(crop_image(scan, affine, centre), crop_image(other, other_affine, centre))
    other_labels, _ = turned(labels, affine, codes)
    np.testing.assert_array_equal(
        crop_label(labels, affine, 1, centre), crop_label(other_labels, other_affine, 1, centre)
    )


def test_slices_hold_what_the_crops_need():
    rng = np.random.default_rng(1)
    scan, affine = rng.normal(size=(40, 40, 400)), TILTED
    centres = to_world(TILTED, [(20, 20, 100), (20, 20, 130)])
    slices = slices_of_crops(scan.shape, affine, centres)
    assert 0 < slices.start < 100
    assert 130 < slices.stop < 200
    part_affine = affine.copy()
    part_affine[:3, 3] = to_world(affine, (0, 0, slices.start))
    for centre in centres:
        target = crop_affine(centre)
        np.testing.assert_allclose(
            resample_linear(scan[..., slices], part_affine, CROP_SHAPE, target),
            resample_linear(scan, affine, CROP_SHAPE, target),
            atol=1e-5,
        )
    assert slices_of_crops(scan.shape, affine, [(9999.0, 0, 0)]) == slice(0, 0)


def test_share_inside():
    mask = np.zeros((200, 20, 20), bool)
    mask[:, 10, 10] = True  # 200 mm along x, of which 96 fit
    assert share_inside(mask, np.eye(4), (99.5, 10.0, 10.0)) == pytest.approx(96 / 200)
    assert share_inside(mask & False, np.eye(4), (0, 0, 0)) == 1


def test_pasting_brings_crops_back():
    labels = np.zeros((120, 130, 150), np.uint8)
    labels[40:70, 30:80, 40:66], labels[42:72, 30:80, 74:100] = 23, 22
    centres = {23: (54.5, 54.5, 52.5), 22: (56.5, 54.5, 86.5)}
    predicted = (
        PredictedCrop(v, c, crop_label(labels, np.eye(4), v, c).astype(np.float32)) for v, c in centres.items()
    )
    np.testing.assert_array_equal(paste(predicted, labels.shape, np.eye(4)), labels)
    assert not paste([], (4, 5, 6), np.eye(4)).any()


@pytest.mark.parametrize("probabilities", [(0.6, 0.9), (0.9998, 0.99999)])
def test_where_crops_overlap_the_more_probable_vertebra_wins(probabilities):
    weak, strong = (np.full(CROP_SHAPE, p, np.float32) for p in probabilities)
    unsure = np.full(CROP_SHAPE, 0.4, np.float32)
    shape, middle = (96, 112, 100), (47.5, 55.5)
    crops = [PredictedCrop(20, (*middle, 31.5), strong), PredictedCrop(21, (*middle, 51.5), weak)]
    expected = np.zeros(shape, np.uint8)
    expected[..., 20:84], expected[..., :64] = 21, 20  # slices 0 to 63 and 20 to 83
    for order in (crops, crops[::-1]):
        np.testing.assert_array_equal(paste(order, shape, np.eye(4)), expected)
    assert not paste([PredictedCrop(20, (*middle, 31.5), unsure)], shape, np.eye(4)).any()


def test_folds_of_parts():
    folds = [{"train": ["a", "b"], "val": ["c"]}]
    parts = {"a": ["a_L2", "a_L3"], "c": ["c_L2"]}
    assert folds_of_parts(folds, parts) == [{"train": ["a_L2", "a_L3"], "val": ["c_L2"]}]


@pytest.fixture
def raw(tmp_path, nnunet_folders):
    """A vertebrae dataset: L1 to L3 (20 to 22) in a and c, thoracic in b, test scan d."""
    root = tmp_path / "v"
    subject(root / "training", "a", codes="PIR", seed=1)
    subject(root / "training", "b", labels=(17, 18, 19))
    subject(root / "validation", "c", seed=2)
    subject(root / "test", "d", labels=(21, 22, 23))
    run_convert("verse", root, "-d", "710")
    return nnunet_folders["nnUNet_raw"]


def test_dataset_of_single_vertebrae(raw, capsys):
    assert run_convert("vertebra-crops", "-d", "710", "-t", "720") == 0
    assert "7 crops of 3 patients: 2 training, 2 validation, 3 test" in capsys.readouterr().out
    folder = raw / "Dataset720_VertebraCrops"
    description = read_json(folder / "dataset.json")
    assert description["labels"] == {"background": 0, "vertebra": 1}
    assert description["numTraining"] == 4
    assert read_json(folder / "splits_final.json") == [{"train": ["a_L2", "a_L3"], "val": ["c_L2", "c_L3"]}]
    assert sorted(p.name for p in (folder / "labelsTs").iterdir()) == ["d_L2.nii.gz", "d_L3.nii.gz", "d_L4.nii.gz"]

    from nnunetv2.imageio.nibabel_reader_writer import NibabelIOWithReorient

    image, properties = NibabelIOWithReorient().read_images([str(folder / "imagesTr" / "a_L3_0000.nii.gz")])
    assert image.shape == (1, 64, 112, 96)
    assert properties["spacing"] == [1, 1, 1]
    label, affine = read_nifti(folder / "labelsTr" / "a_L3.nii.gz")
    voxels, image_affine = read_nifti(folder / "imagesTr" / "a_L3_0000.nii.gz")
    np.testing.assert_array_equal(affine, image_affine)
    assert set(np.unique(label)) == {0, 1}
    assert voxels[label == 1].mean() > 350  # bone, see `spine_ct`
    point = next(v for v in read_json(raw / "Dataset710_VerSe/centroidsTr/a.json")["vertebrae"] if v["name"] == "L3")
    np.testing.assert_allclose(affine, crop_affine(point["body_centre_mm"]), atol=1e-3)


def test_a_second_run_changes_nothing_and_a_dry_run_writes_nothing(raw, capsys):
    arguments = ("vertebra-crops", "-d", "710", "-t", "720", "--levels", "all")
    run_convert(*arguments, "--dry-run")
    assert not (raw / "Dataset720_VertebraCrops").exists()
    run_convert(*arguments)
    assert "12 crops" in capsys.readouterr().out
    run_convert(*arguments)
    assert "is complete, nothing to do" in capsys.readouterr().out
    with pytest.raises(InputError, match="exists and differs in: levels"):
        run_convert(*arguments[:-1], "L3")


def test_an_interrupted_run_goes_on_where_it_was(raw, monkeypatch):
    from nnunet_spine.dataset_conversion import vertebra_crops

    cropped = []

    def recorded(read):
        def reading(path, *args, **kwargs):
            cropped.append(path.name)
            if len(cropped) == 4:
                raise KeyboardInterrupt
            return read(path, *args, **kwargs)

        return reading

    for name in ("read_nifti", "read_mask"):
        monkeypatch.setattr(vertebra_crops, name, recorded(getattr(vertebra_crops, name)))
    with pytest.raises(KeyboardInterrupt):
        run_convert("vertebra-crops", "-d", "710", "-t", "720")
    assert cropped == ["a.nii.gz", "a_0000.nii.gz", "b.nii.gz", "c.nii.gz"]
    run_convert("vertebra-crops", "-d", "710", "-t", "720")
    assert cropped[4:] == ["c.nii.gz", "c_0000.nii.gz", "d.nii.gz", "d_0000.nii.gz"]
    assert len(list((raw / "Dataset720_VertebraCrops" / "labelsTr").iterdir())) == 4


def test_a_fold_without_crops_on_one_side_is_refused(raw):
    folds = read_json(raw / "Dataset710_VerSe" / "splits_final.json")
    write_json(raw / "Dataset710_VerSe" / "splits_final.json", [{**folds[0], "val": ["no_such_case"]}])
    with pytest.raises(InputError, match="fold 0 would have no validation crop"):
        run_convert("vertebra-crops", "-d", "710", "-t", "720")
    assert not (raw / "Dataset720_VertebraCrops").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-d", "711", "-t", "720"), "dataset 711: none. Convert the vertebrae dataset first"),
        (("-d", "710", "-t", "710"), "dataset id 710 is taken"),
        (("-d", "710", "-t", "720", "--levels", "L7"), "--levels L7. Give `all`, or some of C1"),
        (("-d", "710", "-t", "720", "--levels", "C3"), "no training case"),
    ],
)
def test_bad_input(raw, arguments, message):
    with pytest.raises(InputError, match=message):
        run_convert("vertebra-crops", *arguments)
    assert sorted(p.name for p in raw.iterdir() if not p.name.startswith(".")) == ["Dataset710_VerSe"]


def test_crops_of_crops_are_refused(raw):
    run_convert("vertebra-crops", "-d", "710", "-t", "720")
    with pytest.raises(InputError, match=r"not a vertebrae dataset\. Give the number of one"):
        run_convert("vertebra-crops", "-d", "720", "-t", "721")


def test_preset_of_mita_crops_its_eleven_scans(tmp_path, nnunet_folders):
    for i in range(12):
        subject(tmp_path / "v" / ("test" if i == 11 else "training"), f"s{i:02d}", labels=(21, 22, 23, 24), seed=i)
    run_convert("verse", tmp_path / "v", "-d", "710", "--folds", "mita", "--quiet")
    run_convert("vertebra-crops", "-d", "710", "-t", "720", "--folds", "mita", "--quiet")
    scans = read_json(nnunet_folders["nnUNet_raw"] / "Dataset710_VerSe" / "splits_final.json")
    crops = read_json(nnunet_folders["nnUNet_raw"] / "Dataset720_VertebraCrops" / "splits_final.json")
    assert [(len(fold["train"]), len(fold["val"])) for fold in (*scans, *crops)] == [(9, 2), (36, 8)]
    assert {case.rsplit("_", 1)[0] for case in crops[0]["val"]} == set(scans[0]["val"])
    assert not (nnunet_folders["nnUNet_raw"] / "Dataset720_VertebraCrops" / "imagesTs").exists()
    with pytest.raises(InputError, match="--folds leave-one-out"):
        run_convert("vertebra-crops", "-d", "710", "-t", "721", "--folds", "leave-one-out")
