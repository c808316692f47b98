"""nnU-Net's own integrity check accepts converted datasets of all three label sets."""

import json

import numpy as np
import pytest
from verse_tree import run_convert, subject

DATASETS = {710: "Dataset710_VerSe", 711: "Dataset711_VerSeRegions", 712: "Dataset712_VerSeSpine"}


@pytest.fixture
def datasets(tmp_path, nnunet_folders):
    """Vertebrae, regions and spine datasets of mixed orientations."""
    root = tmp_path / "v"
    subject(root / "training", "a", labels=(7, 8, 19, 20))
    subject(root / "training", "b", labels=(19, 28, 20), codes="PIR", dtype=np.float64)
    subject(root / "validation", "c", codes="LPS")
    subject(root / "test", "d")
    run_convert("verse", root, "-d", "710")
    run_convert("verse", "-d", "711", "--labels", "regions", "--images-from", "710")
    run_convert("verse", "-d", "712", "--labels", "spine", "--images-from", "710")
    return nnunet_folders["nnUNet_raw"]


@pytest.mark.parametrize("name", DATASETS.values())
def test_cases_and_labels(datasets, name, capsys):
    from nnunetv2.experiment_planning.verify_dataset_integrity import check_cases, verify_labels
    from nnunetv2.imageio.nibabel_reader_writer import NibabelIOWithReorient
    from nnunetv2.utilities import utils
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    folder = datasets / name
    content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    if "dataset" not in content:
        assert utils.get_identifiers_from_splitted_dataset_folder(folder / "imagesTr", ".nii.gz").tolist() == [*"abc"]
        content["dataset"] = {
            case: {"images": [f"imagesTr/{case}_0000.nii.gz"], "label": f"labelsTr/{case}.nii.gz"} for case in "abc"
        }
    cases = utils.get_filenames_of_train_images_and_targets(str(folder), content)
    assert sorted(cases) == ["a", "b", "c"]
    labels = LabelManager(content["labels"], regions_class_order=None).all_labels
    capsys.readouterr()
    for case in cases.values():
        assert check_cases(case["images"], case["label"], 1, NibabelIOWithReorient)
        assert verify_labels(case["label"], NibabelIOWithReorient, labels)
    assert capsys.readouterr().out == ""  # no warning about geometry either


@pytest.mark.slow
def test_whole_integrity_check(datasets):
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    for name in DATASETS.values():
        verify_dataset_integrity(str(datasets / name), num_processes=1)
