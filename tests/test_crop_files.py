"""Crops as files: cut around centres and pasted back through the layout of nnU-Net's predictions."""

import shutil

import nibabel as nib
import numpy as np
import pytest
from verse_tree import run_convert, subject

from nnunet_spine import cli
from nnunet_spine.crops import CROP_SHAPE
from nnunet_spine.geometry import spacing_mm
from nnunet_spine.inference.crop_files import read_centres
from nnunet_spine.io.files import read_json, write_json
from nnunet_spine.io.nifti import read_nifti, write_nifti


@pytest.fixture
def dataset(tmp_path, nnunet_folders):
    """Test scans d (PIR) and e with L1 to L3, and their labels and centroids."""
    root = tmp_path / "v"
    for name, codes in (("d", "PIR"), ("e", "")):
        subject(root / "test", name, codes=codes)
    subject(root / "training", "a")
    run_convert("verse", root, "-d", "710")
    return nnunet_folders["nnUNet_raw"] / "Dataset710_VerSe"


def cut(dataset, out, centres="centroidsTs", *options) -> int:
    arguments = ["-i", str(dataset / "imagesTs"), "-c", str(dataset / centres), "-o", str(out)]
    return cli.main(["crop", "--quiet", *arguments, *options])


def predict(crops, out):
    """What nnU-Net would write for crops: bone within 8 mm of the middle along z is this vertebra."""
    out.mkdir()
    for file in crops.iterdir():
        image, affine = read_nifti(file)
        name = file.name.removesuffix("_0000.nii.gz")
        middle = np.abs(np.indices(CROP_SHAPE)[2] - (CROP_SHAPE[2] - 1) / 2) < 8
        probability = np.where((image > 200) & middle, 0.9, 0.1).astype(np.float32)
        stored = probability.transpose(2, 1, 0)  # nnU-Net's reader: z, y, x
        np.savez_compressed(out / f"{name}.npz", probabilities=np.stack([1 - stored, stored]))
        write_nifti(out / f"{name}.nii.gz", (probability > 0.5).astype(np.uint8), affine)


def paste(dataset, predicted, out) -> int:
    return cli.main(["paste", "--quiet", "-p", str(predicted), "-i", str(dataset / "imagesTs"), "-o", str(out)])


@pytest.mark.parametrize("centres", ["centroidsTs", "labelsTs"])
def test_from_scans_to_crops_to_masks(dataset, tmp_path, centres):
    assert cut(dataset, tmp_path / "crops", centres) == 0
    names = sorted(p.name for p in (tmp_path / "crops").iterdir())
    assert names == [f"{case}_L{n}_0000.nii.gz" for case in "de" for n in (1, 2, 3)]
    predict(tmp_path / "crops", tmp_path / "predicted")
    assert paste(dataset, tmp_path / "predicted", tmp_path / "out") == 0
    for case in "de":
        found, affine = read_nifti(tmp_path / "out" / f"{case}.nii.gz")
        truth, truth_affine = read_nifti(dataset / "labelsTs" / f"{case}.nii.gz")
        np.testing.assert_allclose(affine, truth_affine, atol=1e-5)
        assert found.shape == truth.shape
        for value in (20, 21, 22):
            overlap = 2 * np.count_nonzero((found == value) & (truth == value))
            assert overlap / (np.count_nonzero(found == value) + np.count_nonzero(truth == value)) > 0.85


def test_only_some_levels(dataset, tmp_path):
    assert cut(dataset, tmp_path / "crops", "centroidsTs", "--levels", "L2") == 0
    image, affine = read_nifti(tmp_path / "crops" / "d_L2_0000.nii.gz")
    assert image.shape == CROP_SHAPE
    np.testing.assert_allclose(spacing_mm(affine), 1)
    assert cut(dataset, tmp_path / "crops", "centroidsTs", "--levels", "L9") == 2


def test_a_scan_without_centres_or_predictions_fails_alone(dataset, tmp_path, capsys):
    (dataset / "centroidsTs" / "d.json").unlink()
    assert cut(dataset, tmp_path / "crops") == 1
    assert "d: " in (error := capsys.readouterr().err)
    assert "neither d.json nor d.nii.gz" in error
    predict(tmp_path / "crops", tmp_path / "predicted")
    assert paste(dataset, tmp_path / "predicted", tmp_path / "out") == 1
    assert "no predicted crops of d" in capsys.readouterr().err
    assert (tmp_path / "out" / "e.nii.gz").is_file()


def test_probabilities_are_asked_for(dataset, tmp_path, capsys):
    cut(dataset, tmp_path / "crops")
    predict(tmp_path / "crops", tmp_path / "predicted")
    (tmp_path / "predicted" / "e_L2.npz").unlink()
    assert paste(dataset, tmp_path / "predicted", tmp_path / "out") == 1
    assert "e_L2.npz: no such file. Predict with --save_probabilities" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("centre", "message"),
    [
        ([400, 0, 0], "the centre of L2 (400, 0, 0 mm) is outside the scan"),
        ([30, 30], "not a centroid file"),
        ([float("nan")] * 3, "not a centroid file"),
    ],
)
def test_centres_that_cannot_be_used_fail_alone(dataset, tmp_path, capsys, centre, message):
    shutil.copytree(dataset / "centroidsTs", tmp_path / "centres")
    bad, *others = sorted((tmp_path / "centres").glob("*.json"))
    write_json(bad, {"vertebrae": [{"name": "L2", "body_centre_mm": centre}]})
    assert cut(dataset, tmp_path / "crops", tmp_path / "centres") == 1
    assert message in capsys.readouterr().err
    assert {f.name.split("_L")[0] for f in (tmp_path / "crops").iterdir()} == {f.stem for f in others}


def test_crops_are_not_put_among_the_scans(dataset, capsys):
    assert cut(dataset, dataset / "imagesTs") == 2
    assert "choose another folder" in capsys.readouterr().err.lower()


def test_a_broken_archive_fails_alone(dataset, tmp_path, capsys):
    assert cut(dataset, tmp_path / "crops") == 0
    predict(tmp_path / "crops", tmp_path / "predicted")
    broken = next(iter(sorted((tmp_path / "predicted").glob("*.npz"))))
    broken.write_bytes(broken.read_bytes()[:200])
    arguments = ["-p", str(tmp_path / "predicted"), "-i", str(dataset / "imagesTs"), "-o", str(tmp_path / "out")]
    assert cli.main(["paste", *arguments]) == 1
    assert "no readable probabilities" in capsys.readouterr().err
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 1


def test_centres_from_a_mask_of_floats_with_nan(dataset, tmp_path, capsys):
    source = nib.load(dataset / "labelsTs" / "d.nii.gz")
    labels = np.asarray(source.dataobj).astype(np.float32)
    labels[0, 0, :3] = np.nan
    (tmp_path / "masks").mkdir()
    nib.save(nib.Nifti1Image(labels, source.affine), tmp_path / "masks" / "d.nii.gz")
    expected = read_centres(dataset / "labelsTs", "d")
    assert read_centres(tmp_path / "masks", "d", print) == expected
    assert capsys.readouterr().out == "NaN in 3 voxels of the mask set to 0\n"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_crops_of_an_earlier_run_do_not_stay(dataset, tmp_path):
    """d has all levels first and L2 only later; e fails later, and has no crops then."""
    crops = tmp_path / "crops"
    assert cut(dataset, crops) == 0
    (dataset / "centroidsTs" / "e.json").unlink()
    assert cut(dataset, crops, "centroidsTs", "--levels", "L2") == 1
    assert names(crops) == ["d_L2_0000.nii.gz"]


def test_crops_of_other_scans_are_not_mixed_with_these(dataset, tmp_path, capsys):
    crops = tmp_path / "crops"
    assert cut(dataset, crops) == 0
    (dataset / "imagesTs" / "e_0000.nii.gz").unlink()
    before = names(crops)
    assert cut(dataset, crops) == 2
    assert "3 images that are no crops of these scans, e.g. e_L1_0000.nii.gz" in capsys.readouterr().err
    assert names(crops) == before


def test_a_level_that_no_scan_has_is_an_error_and_one_that_a_scan_lacks_a_remark(dataset, tmp_path, capsys):
    assert cut(dataset, tmp_path / "crops", "centroidsTs", "--levels", "C1") == 2
    error = capsys.readouterr().err
    assert "d: no centre of these levels; there is L1 L2 L3" in error
    assert "no scan has C1. Centres there are: L1 L2 L3" in error
    points = read_json(dataset / "centroidsTs" / "d.json")
    points["vertebrae"] = [v for v in points["vertebrae"] if v["name"] != "L1"]
    write_json(dataset / "centroidsTs" / "d.json", points)
    arguments = ["-i", str(dataset / "imagesTs"), "-c", str(dataset / "centroidsTs"), "-o", str(tmp_path / "crops")]
    assert cli.main(["crop", *arguments, "--levels", "L1"]) == 0
    captured = capsys.readouterr()
    assert "d: no centre of these levels; there is L2 L3" in captured.err
    assert captured.out == f"1 crop of 2 scans in {tmp_path / 'crops'}\n"


@pytest.mark.parametrize("command", ["crop", "paste"])
def test_results_are_not_put_among_inputs(dataset, tmp_path, capsys, command):
    cut(dataset, tmp_path / "crops")
    given = {"crop": ("-c", dataset / "centroidsTs"), "paste": ("-p", tmp_path / "crops")}[command]
    for place in (dataset / "imagesTs", given[1]):
        before = names(place)
        arguments = [command, "-i", str(dataset / "imagesTs"), given[0], str(given[1]), "-o", str(place)]
        assert cli.main(arguments) == 2
        assert "is the folder of" in capsys.readouterr().err
        assert names(place) == before


def test_crops_that_were_not_predicted_are_said(dataset, tmp_path, capsys):
    """d lacks L2 between others; e lacks L3, which only nnU-Net's record of its input tells."""
    crops, predicted = tmp_path / "crops", tmp_path / "predicted"
    cut(dataset, crops)
    predict(crops, predicted)
    for name in ("d_L2", "e_L3"):
        (predicted / f"{name}.nii.gz").unlink()
    capsys.readouterr()
    assert paste(dataset, predicted, tmp_path / "out") == 0
    assert capsys.readouterr().err == "d: nothing was predicted between L1 and L3\n"
    write_json(predicted / "predict_from_raw_data_args.json", {"list_of_lists_or_source_folder": str(crops)})
    assert paste(dataset, predicted, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert error == "d: no prediction for the crop of L2\ne: no prediction for the crop of L3\n"


def test_a_mask_of_an_earlier_run_does_not_stay_where_pasting_fails(dataset, tmp_path):
    cut(dataset, tmp_path / "crops")
    predict(tmp_path / "crops", tmp_path / "predicted")
    assert paste(dataset, tmp_path / "predicted", tmp_path / "out") == 0
    (tmp_path / "predicted" / "d_L1.npz").write_bytes(b"broken")
    assert paste(dataset, tmp_path / "predicted", tmp_path / "out") == 1
    assert "d.nii.gz" not in names(tmp_path / "out")


def test_parts_and_workers_cut_the_same_crops(dataset, tmp_path):
    cut(dataset, tmp_path / "whole")
    cut(dataset, tmp_path / "parts", "centroidsTs", "-num_parts", "2", "-part_id", "1")
    assert names(tmp_path / "parts") == [f"e_L{n}_0000.nii.gz" for n in (1, 2, 3)]
    cut(dataset, tmp_path / "parts", "centroidsTs", "-num_parts", "2", "-part_id", "0")
    cut(dataset, tmp_path / "workers", "centroidsTs", "-np", "2")
    for name in names(tmp_path / "whole"):
        content = (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / "parts" / name).read_bytes() == content == (tmp_path / "workers" / name).read_bytes()
