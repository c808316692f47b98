"""Patches around the middle of the scan: where it is, what the loader gets, which trainer takes them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunet_dataset import PLANS
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

from nnunet_spine.errors import InputError
from nnunet_spine.training.centred import CentredCases, middle_of_scan

CPU = torch.device("cpu")
SHAPE = (9, 11, 13)


class OneCase:
    """A data set of one case, as nnU-Net's: the image counts its voxels, the label marks the middle one."""

    identifiers = ("a",)

    def load_case(self, identifier):
        image = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(1, *SHAPE)
        segmentation = np.zeros((1, *SHAPE), np.int8)
        segmentation[0, 4, 5, 6] = 1
        properties = {"shape_before_cropping": SHAPE, "bbox_used_for_cropping": [[0, n] for n in SHAPE]}
        return image, segmentation, None, {**properties, "class_locations": {1: np.array([[0, 0, 0, 0]])}}


def test_middle_after_borders_were_cut_off_and_voxels_resampled():
    properties = {"shape_before_cropping": (20, 20, 20), "bbox_used_for_cropping": [[0, 20], [4, 20], [0, 15]]}
    # 10 of 20; 10 - 4 = 6 of 16, twice as fine; 10 of 15
    assert middle_of_scan(properties, (20, 32, 15)).tolist() == [10, 12, 10]


def test_without_shift_the_middle_voxel_is_in_the_middle():
    image, segmentation, previous, properties = CentredCases(OneCase(), (5, 3, 7), (0, 0, 0)).load_case("a")
    assert image.shape == segmentation.shape == (1, 5, 3, 7)
    assert np.argwhere(segmentation[0] == 1).tolist() == [[2, 1, 3]]
    assert previous is None
    assert properties["class_locations"][1].tolist() == [[0, 2, 1, 3]]


def test_outside_the_scan_as_nnunet_pads():
    image, segmentation, _, _ = CentredCases(OneCase(), (15, 11, 13), (0, 0, 0)).load_case("a")
    for pad in (np.s_[0, :3], np.s_[0, 12:]):
        assert (image[pad] == 0).all()
        assert (segmentation[pad] == -1).all()
    np.testing.assert_array_equal(image[:, 3:12], OneCase().load_case("a")[0])


def test_shifts_fill_their_range_and_stay_within():
    np.random.seed(0)  # noqa: NPY002 - the loader draws from the global state
    cases = CentredCases(OneCase(), (9, 11, 13), (2, 1, 0))
    found = np.array([np.argwhere(cases.load_case("a")[1][0] == 1)[0] for _ in range(100)]) - (4, 5, 6)
    assert np.unique(found[:, 0]).tolist() == [-2, -1, 0, 1, 2]
    assert np.unique(found[:, 1]).tolist() == [-1, 0, 1]
    assert np.unique(found[:, 2]).tolist() == [0]


@pytest.mark.parametrize("final", [(5, 7, 7), (3, 5, 5)])
def test_the_loader_of_nnunet_keeps_the_patch(final):
    """Also where patches are larger than what remains of them after augmentation."""
    labels = SimpleNamespace(all_labels=[0, 1], has_ignore_label=False)
    cases = CentredCases(OneCase(), (5, 7, 7), (0, 0, 0))
    loader = nnUNetDataLoader(cases, 3, (5, 7, 7), final, labels, oversample_foreground_percent=1.0)
    for _ in range(5):
        target = next(loader)["target"]
        assert np.argwhere(target.numpy() == 1)[:, 2:].tolist() == [[2, 3, 3]] * 3


def make(recipe: str, configuration: str = "3d_fullres"):
    return get_trainer_from_args("1", configuration, 0, recipe, PLANS, device=CPU)


class TestTrainer:
    def test_takes_patches_around_the_middle_in_training_and_validation(self, boxes):
        trainer = make("GlobalConvTrainer_width2_noaug")
        trainer.initialize()
        training, validation = trainer.get_dataloaders()
        assert trainer.oversample_foreground_percent == 1
        assert next(training)["data"].shape[2:] == next(validation)["data"].shape[2:] == (32, 32, 32)
        cases = [generator.data_loader._data for generator in (training, validation)]
        assert [c.max_shift_voxels.tolist() for c in cases] == [[2.5] * 3, [0] * 3]  # 5 mm of 2 mm voxels

    def test_flips_left_and_right_in_training_only(self, boxes):
        trainer = make("GlobalConvTrainer")
        assert trainer.plans_manager.transpose_forward[0] == 2  # sagittal: x comes first
        assert trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[3] == (0,)
        assert trainer.inference_allowed_mirroring_axes is None
        trainer.plans_manager.plans["image_reader_writer"] = "SimpleITKIO"  # does not turn scans
        assert trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[3] is None

    def test_whole_scans_by_option(self, boxes):
        trainer = make("GlobalConvTrainer_volumes_width2")
        trainer.initialize()
        assert trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[3] is None
        assert not isinstance(trainer.get_dataloaders()[0].data_loader._data, CentredCases)

    def test_whole_scans_need_the_option(self, boxes):
        trainer = make("GlobalConvTrainer_width2")
        trainer.initialize()
        trainer.configuration_manager.configuration["patch_size"] = [16, 16, 16]
        with pytest.raises(InputError, match=r"these scans are larger .* or the option 'volumes'"):
            trainer.get_tr_and_val_datasets()

    def test_slices_have_no_middle(self, boxes):
        with pytest.raises(InputError, match="a 2d configuration lacks"):
            make("GlobalConvTrainer_width2", "2d")

    def test_options(self, boxes):
        trainer = make("GlobalConvTrainer_gcn6_kernel9_width8_ds_noadversarial_paper")
        assert trainer.settings.network.options == {"gcn_branches": 6, "gcn_kernel_size": 9, "width": 8}
        assert (trainer.settings.adversarial.kind, trainer.settings.loss.name) == (None, "EdgeCE")
        assert trainer.enable_deep_supervision
