"""Training of the next vertebra: its patches, memories and targets, its loss, and what its trainer makes of them."""

import math

import numpy as np
import pytest
import torch
from nnunet_dataset import PLANS
from nnunetv2.run.run_training import get_trainer_from_args

from nnunet_spine.errors import InputError
from nnunet_spine.io.files import read_json
from nnunet_spine.losses import LossContext, make_loss
from nnunet_spine.losses.next_vertebra import COMPLETE, IGNORE, INCOMPLETE, NextVertebraLoss
from nnunet_spine.training.next_vertebra_cases import CUT, IGNORED, NextVertebraCases, places_in_walk
from nnunet_spine.training.next_vertebra_target import NextVertebraTransform, faulty

CPU = torch.device("cpu")
SHAPE = (60, 20, 20)
BOXES = {19: slice(0, 12), 26: slice(20, 30), 20: slice(40, 50)}  # T12, T13, L1 along the first axis
LABELS = {"background": 0, "T12": 19, "L1": 20, "T13": 26, "ignore": 27}


class OneCase:
    """A data set of one case, as nnU-Net's."""

    identifiers = ("a",)

    def __init__(self, boxes=BOXES):
        self.boxes = boxes

    def load_case(self, identifier):
        image = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(1, *SHAPE)
        segmentation = np.zeros((1, *SHAPE), np.int8)
        for value, box in self.boxes.items():
            segmentation[0, box, 5:15, 5:15] = value
        segmentation[0, 55:, :, :] = 27
        locations = {value: np.argwhere(segmentation == value) for value in self.boxes}
        return image, segmentation, None, {"class_locations": {**locations, 99: np.zeros((0, 4))}}


def codes(*values: int) -> torch.Tensor:
    """Boxes of twelve rows of eight by eight voxels each; 0 leaves a gap. (1, rows, 8, 8), with a margin."""
    out = torch.zeros(1, 12 * len(values) + 2, 10, 10, dtype=torch.int16)
    for i, value in enumerate(values):
        out[0, 12 * i + 1 : 12 * i + 12, 1:9, 1:9] = value
    return out


def transformed(segmentation, seed: int = 0, **options):
    settings = {"smallest_voxels": 50, "empty": 0.0, "centred": 1.0, "corruption": 0.0, **options}
    first = segmentation[0] if isinstance(segmentation, list) else segmentation
    np.random.seed(seed)  # noqa: NPY002 - the transform draws from the global state
    out = NextVertebraTransform(**settings)(image=torch.zeros(first.shape), segmentation=segmentation)
    return out["image"], out["segmentation"]


class TestPlaces:
    def test_are_those_of_the_walk(self):
        assert places_in_walk(LABELS, upwards=False) == {19: 1, 26: 2, 20: 3}
        assert places_in_walk(LABELS, upwards=True) == {20: 1, 26: 2, 19: 3}

    def test_need_levels(self):
        with pytest.raises(InputError, match="label 'cervical'"):
            places_in_walk({"background": 0, "cervical": 1}, upwards=False)


class TestCases:
    def load(self, n: int = 40, **options):
        np.random.seed(1)  # noqa: NPY002 - the loader draws from the global state
        settings = {"ignore_label": 27, "anywhere": 0.0, **options}
        cases = NextVertebraCases(OneCase(), (16, 10, 10), places_in_walk(LABELS, upwards=False), **settings)
        return [cases.load_case("a") for _ in range(n)]

    def test_patches_lie_around_vertebrae_and_carry_their_places(self):
        seen = set()
        for image, coded, previous, properties in self.load():
            assert image.shape == coded.shape == (1, 16, 10, 10) and previous is None
            assert properties["class_locations"][1].tolist() == [[0, 8, 5, 5]]
            seen |= set(np.unique(coded).tolist())
            there = coded >= 0
            rows = (image[there] // 400).astype(int)  # of the scan
            for place, value in ((1 + CUT, 19), (2, 26), (3, 20)):
                inside = (rows >= BOXES[value].start) & (rows < BOXES[value].stop)
                assert (coded[there] == place)[~inside].sum() == 0
        assert seen == {-1, 0, 1 + CUT, 2, 3, IGNORED}  # the first is cut by the scan

    def test_some_lie_anywhere(self):
        assert all((coded > 0).any() for _, coded, _, _ in self.load(anywhere=0.0))
        assert not all((coded > 0).any() for _, coded, _, _ in self.load(anywhere=1.0))

    def test_a_scan_without_spine_is_a_case(self):
        cases = NextVertebraCases(OneCase({}), (16, 10, 10), {19: 1}, None, 0.3)
        _, coded, _, _ = cases.load_case("a")
        assert set(np.unique(coded).tolist()) <= {-1, 0}


class TestTarget:
    def test_the_middle_vertebra_is_the_target_and_those_before_are_in_the_memory(self):
        segmentation = codes(4, 5, 6)
        image, target = transformed(segmentation)
        assert image.shape[0] == 2
        assert torch.equal(image[1] == 1, segmentation[0] == 4)
        assert torch.equal(target[0] == COMPLETE, segmentation[0] == 5)
        assert set(target.unique().tolist()) == {0, COMPLETE}

    def test_when_all_are_found_the_target_is_empty(self):
        segmentation = codes(4, 5 + CUT, 6)
        image, target = transformed(segmentation, empty=1.0)
        assert torch.equal(image[1] == 1, segmentation[0] > 0)
        assert not target.any()

    @pytest.mark.parametrize("cut", ["scan", "patch"])
    def test_what_a_face_cuts_is_incomplete(self, cut):
        segmentation = codes(4, 5 + CUT, 6) if cut == "scan" else codes(4, 5, 6)[:, :, 3:]
        _, target = transformed(segmentation)
        assert set(target.unique().tolist()) == {0, INCOMPLETE}

    def test_targets_off_the_middle(self):
        found = {int(transformed(codes(4, 5, 6), seed, centred=0.0)[0][1].sum()) // (11 * 64) for seed in range(20)}
        assert found == {0, 1, 2}  # vertebrae in the memory

    def test_slivers_are_no_target(self):
        segmentation = codes(4, 5, 6)
        segmentation[0][segmentation[0] == 5] = 0
        segmentation[0, 18, 5, 5] = 5  # one voxel in the middle
        _, target = transformed(segmentation)
        assert not target[0, 18, 5, 5]

    def test_ignored_voxels_stay_ignored_and_are_in_no_memory(self):
        segmentation = codes(4, 5, 6)
        segmentation[:, :, :2] = IGNORED
        image, target = transformed(segmentation)
        assert (target[:, :, :2] == IGNORE).all()
        assert not image[1, :, :2].any()

    def test_every_scale_of_deep_supervision_has_the_same_target(self):
        fine = codes(4, 5, 6)
        _, targets = transformed([fine, fine[:, ::2, ::2, ::2]])
        assert [set(t.unique().tolist()) for t in targets] == [{0, COMPLETE}] * 2
        assert torch.equal(targets[0][:, ::2, ::2, ::2], targets[1])

    def test_faulty_memories_differ_little_and_never_hold_much_of_the_target(self):
        coded = codes(4, 5, 6)[0]
        memory, target = coded == 4, coded == 5
        np.random.seed(2)  # noqa: NPY002
        made = [faulty(memory, target) for _ in range(40)]
        changed = [int((m ^ memory).sum()) for m in made]
        assert all(m.any() for m in made) and sum(c > 0 for c in changed) > 35
        assert max(int((m & target).sum()) for m in made) < 0.7 * int(target.sum())
        assert not faulty(memory & False, target).any()


class TestLoss:
    def loss(self, completeness: float = 1.0):
        return NextVertebraLoss(make_loss("CE", LossContext(False, IGNORE)), completeness)

    def test_computed_by_hand(self):
        """Four voxels of even odds; the vertebra's are said to be complete with odds of three to one."""
        logits = torch.zeros(1, 3, 4, 1)
        logits[:, 2] = math.log(3)
        target = torch.tensor([0, 0, 1, 1]).view(1, 1, 4, 1)
        assert self.loss()(logits, COMPLETE * target).item() == pytest.approx(math.log(2) - math.log(0.75))
        assert self.loss()(logits, INCOMPLETE * target).item() == pytest.approx(math.log(2) - math.log(0.25))
        assert self.loss(0.0)(logits[:, :2], target).item() == pytest.approx(math.log(2))

    def test_without_a_target_there_is_no_completeness(self):
        logits = torch.zeros(1, 3, 4, 1, requires_grad=True)
        loss = self.loss()(logits, torch.tensor([0, 0, 0, IGNORE]).view(1, 1, 4, 1))
        loss.backward()
        assert loss.item() == pytest.approx(math.log(2))
        assert not logits.grad[:, 2].any() and not logits.grad[:, :, 3].any()


class TestTrainer:
    """On boxes named L1, L2 and L3."""

    def make(self, recipe: str, dataset: str = "1", configuration: str = "3d_fullres"):
        return get_trainer_from_args(dataset, configuration, 0, recipe, PLANS, device=CPU)

    @pytest.mark.parametrize("recipe", ["IterativeInstanceTrainer", "IterativeInstanceTrainer_up_nods_nocompleteness"])
    def test_trains_and_walks_along_the_validation_scan(self, boxes, recipe):
        trainer = self.make(f"{recipe}_1epochs_1iters_1valiters")
        trainer.run_training()
        batch = next(trainer.dataloader_train)
        assert batch["data"].shape[1] == 2
        target = batch["target"]
        finest = target[0] if isinstance(target, list) else target
        assert set(finest.unique().tolist()) <= {0, INCOMPLETE, COMPLETE}
        assert trainer.output_channels(4) == (2 if "nocompleteness" in recipe else 3)
        trainer.perform_actual_validation()
        written = read_json(next((boxes / "nnUNet_results").rglob(f"{type(trainer).__name__}__*/**/validation/*.json")))
        assert written["agreement"]["vertebrae"] == 3
        assert written["walk"]["passes"] == written["walk"]["decisions"][-1]["at_pass"]

    def test_what_it_cannot_do_is_said(self, boxes):
        with pytest.raises(InputError, match="train slices"):
            self.make("IterativeInstanceTrainer", configuration="2d")
        with pytest.raises(InputError, match=r"clip intensities to .*--window -512 1024"):
            self.make("IterativeInstanceTrainer_paper").initialize()
        trainer = self.make("IterativeInstanceTrainer")
        trainer.plans_manager.plans["image_reader_writer"] = "SimpleITKIO"
        with pytest.raises(InputError, match="where the head is"):
            trainer.check(trainer.plans_manager, trainer.configuration_manager, trainer.label_manager)
