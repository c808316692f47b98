"""The Glocker set: landmarks end in their places, and become what nnU-Net can be trained on."""

import json

import nibabel as nib
import numpy as np
import pytest
from glocker_tree import LPS, SHAPE, SPACING, TILTED, example, points_for, write_lml, write_scan
from verse_tree import run_convert

from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.dataset_conversion.glocker import VERSE20, find_scans
from nnunet_spine.dataset_conversion.lml import LmlFile
from nnunet_spine.dataset_conversion.manifest import read_manifest
from nnunet_spine.dataset_conversion.sources import Grid
from nnunet_spine.errors import InputError
from nnunet_spine.io.files import read_json

IGNORE = 27


def convert(tmp_path, *options):
    run_convert("glocker", tmp_path / "src", "-d", "7", "-o", tmp_path / "raw", *options)
    dataset = tmp_path / "raw" / "Dataset007_Glocker"
    return dataset, {row["case"]: row for row in read_manifest(dataset / "manifest.csv")}


def annotated(dataset, case, split="Ts"):
    content = read_json(dataset / f"centroids{split}" / f"{case}.json")
    return {e["name"]: e["annotated_mm"] for e in content["vertebrae"] + content.get("others", [])}


class TestLandmarkFiles:
    def test_places_in_the_world_whatever_the_header_says(self, tmp_path):
        levels = ("T11", "T12", "L1", "L5", "L6", "S1")
        truth = {
            "1": write_scan(tmp_path / "src/spine-1/patient0001/1", "1"),
            "2": write_scan(tmp_path / "src/spine-1/patient0002/2", "2", affine=TILTED, kind="nii"),
            "3": write_scan(tmp_path / "src/spine-2/patient0003/3", "3", points_for(levels, step=25), kind="mhd"),
            "4": write_scan(tmp_path / "src/spine-test-data", "4", newline="\n", extra="\t1\t0", header="# 5 x"),
            "5": write_scan(tmp_path / "src/spine-test-data", "5", header="190\tT12_center\t16.0\t17.5\t135.0"),
        }
        dataset, rows = convert(tmp_path)
        for case, points in truth.items():
            found = annotated(dataset, case)
            assert set(found) == set(points)
            for name, point in points.items():
                np.testing.assert_allclose(found[name], point, atol=0.01)
            assert rows[case]["centroid_frame"] == "index x spacing"
        assert sorted(p.name for p in dataset.iterdir() if p.is_dir()) == ["centroidsTs", "imagesTs"]
        assert rows["3"]["patient"] == "glocker-patient0003"
        assert (rows["1"]["layout"], rows["4"]["layout"]) == ("training", "test")

    def test_known_quirks_are_flags(self, tmp_path):
        gap = points_for(("T10", "T11"), top=140, step=24) | points_for(("L4", "L5"), top=30, step=36)
        gap["L5"] = (16.0, 19.0, -0.75)  # below the first slice
        close = points_for(("T12", "L1"), step=7.0) | {"L5": (16.0, 17.5, 66.0), "S1": (16.0, 17.5, 2.0)}
        write_scan(tmp_path / "src/spine-1/patient0001/1", "1", gap)
        write_scan(tmp_path / "src/spine-1/patient0002/4613319", "4613319", close)
        _, rows = convert(tmp_path)
        assert "L5 lies 0.75 mm outside the outermost voxel centres" in rows["1"]["flags"]
        assert "without a name: T12 to L3 between T11 and L4, 86 mm apart" in rows["1"]["flags"]
        assert "T12 and L1 only 7.0 mm apart" in rows["4613319"]["flags"]
        assert "L5 and S1 64 mm apart: a vertebra between them has no name" in rows["4613319"]["flags"]
        assert "is gl003 of VerSe'20" in rows["4613319"]["flags"]

    def test_points_in_the_world_are_told_from_index_times_spacing(self, tmp_path):
        affine = LPS.copy()
        affine[:3, 3] = (300, 200, -900)
        world_lps = {name: (x - 300, y - 200, z - 900) for name, (x, y, z) in points_for().items()}
        write_lml(tmp_path / "a.lml", world_lps)
        found = LmlFile(tmp_path / "a.lml").read(Grid(SHAPE, affine), None, {})
        assert found.frame == "world LPS"
        assert "landmarks are world LPS (0 of 4 as index x spacing, 4 of 4 as world LPS" in found.flags[0]
        write_lml(tmp_path / "b.lml", {name: (x, y, z + 5000) for name, (x, y, z) in points_for().items()})
        with pytest.raises(InputError, match="landmarks lie outside the scan"):
            LmlFile(tmp_path / "b.lml").read(Grid(SHAPE, affine), None, {})

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("# 0\n190\tT12_center\t1\t2\n", "line 2: 190"),
            ("# 0\n190\tT12_center\t1\t2\tnan\n", "line 2: 190"),
            ("# 0\n190\tcoccyx_center\t1\t2\t3\n", "line 2: 190"),
            ("# 0\n1\tT12_center\t1\t2\t3\n1\tT12_c\t1\t2\t4\n", "line 3: a second point for T12"),
            ("# 0\n\n", "no landmark"),
        ],
    )
    def test_lines_that_are_no_landmarks(self, tmp_path, text, found):
        (tmp_path / "a.lml").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=found):
            LmlFile(tmp_path / "a.lml").points()


def test_spheres_around_the_centres_and_everything_else_ignored(tmp_path):
    example(tmp_path / "src")
    truth = write_scan(tmp_path / "src/spine-2/patient0003/1", "1", affine=TILTED)
    dataset, rows = convert(tmp_path, "--as", "heatmaps", "--radius", "8")
    label = nib.load(dataset / "labelsTr" / "1.nii.gz")
    array = np.asarray(label.dataobj)
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    world = index @ label.affine[:3, :3].T + label.affine[:3, 3]
    expected = np.full(SHAPE, IGNORE)
    for name, point in truth.items():
        expected[np.linalg.norm(world - point, axis=-1) <= 8] = BY_NAME[name].nnunet_id
    assert np.array_equal(array, expected)
    assert rows["1"]["labels_after"] == "T12 L1 L2 L3 ignore"
    assert read_json(dataset / "dataset.json")["labels"]["ignore"] == IGNORE
    assert not (dataset / "labelsTs").exists()  # spheres are no reference for a test
    folds = read_json(dataset / "splits_final.json")
    for fold in folds:  # of three patients; both scans of the first one are on one side
        assert ("2804506" in fold["val"]) == ("2805012" in fold["val"])


def test_neighbouring_spheres_meet_half_way_and_the_background_is_beside_the_line(tmp_path):
    points = points_for(("T12", "L1"), step=10.0)
    write_scan(tmp_path / "src/spine-1/patient0001/1", "1", points)
    dataset, _ = convert(tmp_path, "--as", "heatmaps", "--radius", "9", "--background", "15")
    array = np.asarray(nib.load(dataset / "labelsTr" / "1.nii.gz").dataobj)
    place = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1) * SPACING
    away = {name: np.linalg.norm(place - point, axis=-1) for name, point in points.items()}
    t12 = array == BY_NAME["T12"].nnunet_id
    assert t12.any()
    assert (away["T12"][t12] <= away["L1"][t12]).all()
    zero = array == 0
    assert zero.any()
    assert np.minimum(away["T12"], away["L1"])[zero].min() > 11  # found every 4 mm
    assert set(np.unique(np.nonzero(zero)[2])) <= set(range(49, 56))  # between 125 and 135 mm, as far as 4 mm tell


class TestPseudoLabels:
    @pytest.fixture
    def scan(self, tmp_path):
        """Landmarks T12 to L3, and a model that is right about T12, L1, calls L2 L3, and sees a T11."""
        write_scan(tmp_path / "src/spine-1/patient0001/1", "1")
        points = points_for()
        place = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1) * SPACING
        mask = np.zeros(SHAPE, np.uint8)
        named = {"T12": "T12", "L1": "L1", "L2": "L3"}
        for landmark, predicted in named.items():
            mask[np.linalg.norm(place - points[landmark], axis=-1) < 9] = BY_NAME[predicted].nnunet_id
        mask[12:16, 12:16, 59] = BY_NAME["T11"].nnunet_id
        (tmp_path / "pred").mkdir()
        nib.save(nib.Nifti1Image(mask, LPS), tmp_path / "pred" / "1.nii.gz")
        return mask

    def test_vertebrae_are_kept_whose_landmark_has_their_name(self, tmp_path, scan):
        options = ("--as", "pseudo", "--predictions", tmp_path / "pred", "--prediction-labels", "nnunet")
        dataset, rows = convert(tmp_path, *options)
        array = np.asarray(nib.load(dataset / "labelsTr" / "1.nii.gz").dataobj)
        for name in ("T12", "L1"):
            value = BY_NAME[name].nnunet_id
            assert np.array_equal(array == value, scan == value)
        assert set(np.unique(array)) == {0, BY_NAME["T12"].nnunet_id, BY_NAME["L1"].nnunet_id, IGNORE}
        assert (array[scan == BY_NAME["L3"].nnunet_id] == IGNORE).all()
        assert (array[scan == BY_NAME["T11"].nnunet_id] == IGNORE).all()
        assert array[10, 15, 18] == IGNORE  # at the landmark of L3, where the model saw nothing
        assert (
            "prediction kept in T12 L1, ignored T11 (no landmark), L3 (30 mm from its landmark), not predicted L2"
            in rows["1"]["flags"]
        )

    def test_options_that_belong_together(self, tmp_path, scan):
        with pytest.raises(InputError, match="--as pseudo without --predictions"):
            find_scans([tmp_path / "src"], use="pseudo")
        with pytest.raises(InputError, match="--as test with --predictions"):
            find_scans([tmp_path / "src"], predictions=tmp_path / "pred")
        write_scan(tmp_path / "src/spine-1/patient0001/2", "2")
        found = find_scans([tmp_path / "src"], use="pseudo", predictions=tmp_path / "pred", prediction_labels="nnunet")
        assert [(p.case, p.found) for p in found.problems] == [("2", "no prediction of this scan")]


class TestScansOfVerse20:
    def test_known_ones_and_those_that_show_the_same(self, tmp_path):
        write_scan(tmp_path / "a/spine-1/patient0001/4613319", "4613319")
        write_scan(tmp_path / "a/spine-1/patient0002/1", "1", points_for(x=18.0))
        write_scan(tmp_path / "a/spine-test-data", "2", points_for(x=14.0))
        assert {s.case for s in find_scans([tmp_path / "a"], without_verse20=True).scans} == {"1", "2"}
        image = nib.load(tmp_path / "a/spine-test-data/2.nii.gz")  # VerSe's copy: other axes, other padding, other name
        turned = image.as_reoriented(
            nib.orientations.ornt_transform(
                nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(("P", "S", "R"))
            )
        )
        voxels = np.asarray(turned.dataobj).copy()
        voxels[voxels < -900] = -1024
        (tmp_path / "verse").mkdir()
        nib.save(nib.Nifti1Image(voxels, turned.affine), tmp_path / "verse" / "sub-gl900_ct.nii.gz")
        found = find_scans([tmp_path / "a"], not_in=[tmp_path / "verse"])
        assert {scan.case for scan in found.scans} == {"1", "4613319"}
        assert "1 scans left out that another data set holds: 2 (" in found.remarks[0]

    def test_the_table(self):
        assert len(set(VERSE20.values())) == len(VERSE20) == 10


def test_landmarks_without_images_and_images_elsewhere(tmp_path):
    write_scan(tmp_path / "a", "1")
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "1.nii.gz").rename(tmp_path / "b" / "1.nii.gz")
    write_lml(tmp_path / "a" / "2.lml", points_for())
    found = find_scans([tmp_path / "a", tmp_path / "b"])
    assert [scan.image.path.parent.name for scan in found.scans] == ["b"]
    assert [(p.case, p.found) for p in found.problems] == [("2", "landmarks without an image")]


@pytest.mark.slow
def test_stock_nnunet_plans_preprocesses_and_trains_on_spheres(tmp_path, nnunet_folders, monkeypatch):
    """The ordinary functions behind nnUNetv2_plan_and_preprocess and nnUNetv2_train, for an iteration."""
    import torch
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.dataset_name_id_conversion import convert_id_to_dataset_name

    for patient in ("1", "2", "3"):
        write_scan(tmp_path / "src" / "spine-1" / f"patient000{patient}", f"280450{patient}")
    run_convert("glocker", tmp_path / "src", "-d", "7", "--as", "heatmaps", "--background", "18")
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")  # the planner takes it for a number of threads
    extract_fingerprints([7], num_processes=1, check_dataset_integrity=True)
    plans = plan_experiments([7], gpu_memory_target_in_gb=1)
    preprocess([7], plans, configurations=["3d_fullres"], num_processes=[1])
    preprocessed = nnunet_folders["nnUNet_preprocessed"] / convert_id_to_dataset_name(7)
    plans_json = json.loads((preprocessed / f"{plans}.json").read_text(encoding="utf-8"))
    plans_json["configurations"]["3d_fullres"]["patch_size"] = [32, 32, 32]
    plans_json["continue_training"] = False  # as nnUNetv2_train hands it over
    trainer = nnUNetTrainer(
        plans_json, "3d_fullres", 0, read_json(preprocessed / "dataset.json"), device=torch.device("cpu")
    )
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 1, 1, 1
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    trainer.enable_deep_supervision = False
    monkeypatch.setattr(trainer, "perform_actual_validation", lambda *_: None)
    trainer.run_training()
    assert trainer.label_manager.has_ignore_label
    assert np.isfinite(trainer.logger.get_value("train_losses", step=None)).all()
