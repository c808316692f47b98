"""Every trainer learns one scan by heart: its loss, its labels and its geometry agree with those of the prediction."""

from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess_dataset
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import get_trainer_from_args

from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.io.files import write_json
from nnunet_spine.io.nifti import read_nifti, write_nifti
from nnunet_spine.phantom import PLAIN, PhantomOptions, draw_phantom
from nnunet_spine.planning import PlanOptions, plan_dataset
from nnunet_spine.spine_map.fusion import MAP_SUFFIX
from nnunet_spine.trainers import TRAINERS, get_recipe
from nnunet_spine.training.base import BaseTrainer

PLANS = "OnePatchPlans"
CPU = torch.device("cpu")
SETTINGS = "Adam_lr{rate}_noaug_1epochs_{steps}iters_1valiters"
RATE = {"AttentionTrainer": "1e-3"}
STEPS = {"AttentionTrainer": 600, "ConvLSTMTrainer": 250, "Hybrid2D3DTrainer": 80, "MobileASPPTrainer": 150}
SMALL = {"GlobalConvTrainer": "width8_kernel5_noadversarial"}


@pytest.fixture(scope="module")
def phantom(nnunet_root):
    """Two vertebrae at 3 mm, labelled 1 (upper) and 2 (lower), in a scan that one patch holds."""
    options = PhantomOptions(**PLAIN, spacing_mm=(3.0,) * 3, shape=None, levels_in_view=(2, 2))
    scan = draw_phantom(5, options)
    labels = np.zeros_like(scan.mask)
    for number, name in enumerate(scan.body_centres_mm):
        labels[scan.mask == BY_NAME[name].verse_id] = 1 + number
    middle = np.argwhere(labels).mean(0).astype(int)
    shape = np.minimum(labels.shape, (32, 32, 32))
    start = np.clip(middle - shape // 2, 0, np.array(labels.shape) - shape)
    box = tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))
    folder = nnunet_root / "nnUNet_raw" / "Dataset001_One"
    for case in "ab":  # nnU-Net plans for at least two
        write_nifti(folder / "imagesTr" / f"{case}_0000.nii.gz", scan.image[box], scan.affine)
        write_nifti(folder / "labelsTr" / f"{case}.nii.gz", labels[box], scan.affine)
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "upper": 1, "lower": 2},
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "NibabelIOWithReorient",
    }
    write_json(folder / "dataset.json", content)
    options = PlanOptions(spacing_mm=(3.0,) * 3, patch_size=(32,) * 3, sagittal=True, cpu=True)
    plan_dataset(1, options, gpu_memory_gb=0.1, plans_name=PLANS, processes=1, quiet=True)
    preprocess_dataset(1, PLANS, ["2d", "3d_fullres"], [1], show_progress_bar=False)
    return folder


def train(name: str) -> BaseTrainer:
    # networks of one output have no deep supervision to turn off
    one_output = not get_recipe(name).settings.network.deep_supervision
    words = [
        name,
        SMALL.get(name),
        None if one_output else "nods",
        SETTINGS.format(rate=RATE.get(name, "3e-3"), steps=STEPS.get(name, 120)),
    ]
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - nnU-Net draws from the global state
    configuration = "2d" if TRAINERS[name].recommended == "2d" else "3d_fullres"
    trainer = get_trainer_from_args("1", configuration, "all", "_".join(filter(None, words)), PLANS, device=CPU)
    trainer.run_training()
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, trainer in TRAINERS.items() if trainer.predicts_labels])
def test_one_scan_is_learnt_by_heart(phantom, name, tmp_path):
    trainer = train(name)
    predictor = nnUNetPredictor(device=CPU, perform_everything_on_device=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, ("all",))
    image, out = phantom / "imagesTr" / "a_0000.nii.gz", tmp_path / "a.nii.gz"
    predictor.predict_from_files_sequential([[str(image)]], [str(tmp_path / "a")], overwrite=True)
    predicted, truth = read_nifti(out)[0], read_nifti(phantom / "labelsTr" / "a.nii.gz")[0]
    dice = [
        2 * np.count_nonzero((predicted == k) & (truth == k))
        / (np.count_nonzero(predicted == k) + np.count_nonzero(truth == k))
        for k in (1, 2)
    ]  # fmt: skip
    assert min(dice) >= 0.9, dice


@pytest.mark.slow
def test_the_map_of_one_scan_is_learnt_by_heart(phantom):
    trainer = train("AttentionTrainer")
    trainer.perform_actual_validation()
    attention = read_nifti(Path(trainer.output_folder) / "validation" / f"a{MAP_SUFFIX}")[0]
    labels = read_nifti(phantom / "labelsTr" / "a.nii.gz")[0]
    # NIfTI's axes are left-right, dorsal-ventral, cranio-caudal; cells are 8 x 16 x 16 voxels
    n = [side // cell for side, cell in zip(labels.shape, (8, 16, 16), strict=True)]
    share = (labels > 0).reshape(n[0], 8, n[1], 16, n[2], 16).mean((1, 3, 5))
    assert attention.shape == share.shape
    assert 2 * (attention * share).sum() / ((attention**2).sum() + (share**2).sum()) >= 0.9
    np.testing.assert_allclose(attention, share, atol=0.2)
