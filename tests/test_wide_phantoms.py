"""Phantoms of the wide domain, and the training that redraws their densities."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunet_dataset import PLANS
from nnunetv2.run.run_training import get_trainer_from_args

from nnunet_spine.anatomy import BY_NAME, dataset_labels
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import to_index
from nnunet_spine.phantom import PLAIN, PhantomOptions, draw_phantom
from nnunet_spine.phantom.dimensions import MEAN_DIMENSIONS
from nnunet_spine.phantom.grid import Grid
from nnunet_spine.phantom.shapes import Ellipsoid
from nnunet_spine.phantom.wide import look
from nnunet_spine.phantom.wide.warp import draw_warp, moved, warp
from nnunet_spine.phantom.wide.wear import Wear, vary_dimensions
from nnunet_spine.training.averaging import WeightAverage
from nnunet_spine.training.drawn import DrawnCases, kind_of_labels
from nnunet_spine.training.tissue import TissueTransform, Window, redraw_bone

WIDE = PhantomOptions(**PLAIN, shape=None, spacing_mm=(3.0, 3.0, 3.0), levels_in_view=(5, 7), domain="wide")
WINDOW = Window(-512, 1024, -512, 768)


def bones(image, mask):
    return image[mask > 0]


class TestPhantoms:
    def test_the_same_seed_gives_identical_arrays(self):
        first, again = draw_phantom(3, WIDE), draw_phantom(3, WIDE)
        np.testing.assert_array_equal(first.image, again.image)
        np.testing.assert_array_equal(first.mask, again.mask)

    def test_scans_differ_more_than_usual_ones(self):
        def spread(domain):
            means = []
            for seed in range(8):
                phantom = draw_phantom(seed, replace(WIDE, domain=domain, spacing_mm=(4.0, 4.0, 4.0)))
                means.append(bones(phantom.image, phantom.mask).mean())
            return np.std(means)

        assert spread("wide") > 1.5 * spread("usual")

    @pytest.mark.parametrize("seed", range(4))
    def test_body_centres_move_with_the_deformation(self, seed):
        phantom = draw_phantom(seed, WIDE)
        for name, centre in phantom.body_centres_mm.items():
            index = tuple(np.rint(to_index(phantom.affine, centre)).astype(int))
            if name not in ("C1", "C2"):
                near = phantom.mask[tuple(slice(max(i - 1, 0), i + 2) for i in index)]
                assert (near == BY_NAME[name].verse_id).mean() > 0.5, name

    def test_every_variant_can_be_drawn(self):
        for thoracic, lumbar in ((11, 4), (13, 6)):
            options = replace(WIDE, last_thoracic=thoracic, last_lumbar=lumbar, spacing_mm=(5.0, 5.0, 5.0))
            assert len(draw_phantom(1, replace(options, levels_in_view=None)).levels) == 7 + thoracic + lumbar


def test_an_ellipsoid_is_as_long_as_its_axes():
    grid = Grid((21, 21, 21), np.ones(3), np.full(3, -10.0))
    inside = Ellipsoid(np.zeros(3), np.array([3.5, 5.5, 7.5])).distance(grid.axes()) < 0
    assert [int(n) for n in (inside[:, 10, 10].sum(), inside[10, :, 10].sum(), inside[10, 10].sum())] == [7, 11, 15]


def test_a_point_is_found_where_the_deformation_put_it():
    grid = Grid((40, 40, 40), np.full(3, 2.0), np.zeros(3))
    displacement = draw_warp(np.random.default_rng(0), grid, 3.0)
    ball = np.zeros(grid.shape, np.float32)
    ball[17:22, 20:25, 14:19] = 1
    found = np.argwhere(warp(ball, displacement, 1) > 0.5).mean(0)
    np.testing.assert_allclose(moved(np.array([19.0, 22.0, 16.0]), displacement), found, atol=0.5)


def test_a_disc_that_is_gone_leaves_bodies_that_touch():
    dims = tuple(MEAN_DIMENSIONS.values())
    worn = vary_dimensions(np.random.default_rng(0), dims, Wear(np.ones(len(dims)), 0.2))
    for above, below in pairwise(worn[3:]):
        assert above.spacing - (above.height + below.height) / 2 == pytest.approx(0.2, abs=1e-6)


def test_thick_slices_blur_along_their_axis_only():
    grid = Grid((9, 9, 9), np.ones(3), np.zeros(3))
    image = np.zeros(grid.shape, np.float32)
    image[4, 4, 4] = 900
    scanner = replace(look.draw_scanner(np.random.default_rng(0)), slice_mm=3.0, slice_axis=2, soft_mm=0.01, noise=0.0)
    scanner = replace(scanner, sharpening=0.0, gain=1.0, offset=0.0, horizontal=False, grain=0.0)
    scanned = look.scan(np.random.default_rng(0), image, grid, scanner, None)
    assert scanned[4, 4].tolist() == [0, 0, 0, 300, 300, 300, 0, 0, 0]
    assert scanned[3, 4, 4] == scanned[4, 5, 4] == 0


class TestDensities:
    def patch(self):
        hu = np.full((1, 24, 24, 24), 40, np.float32)
        segmentation = torch.zeros((1, 24, 24, 24), dtype=torch.int16)
        segmentation[0, 6:18, 6:18, 6:18] = 2
        return {"image": torch.from_numpy(WINDOW.from_hu(hu)), "segmentation": segmentation}

    def test_the_window_is_that_of_ct_normalisation(self):
        assert WINDOW.from_hu(np.array([-3000.0, -512.0, 256.0, 1024.0, 3000.0])).tolist() == [0, 0, 1, 2, 2]
        assert WINDOW.to_hu(np.array([0.0, 1.0, 2.0])).tolist() == [-512, 256, 1024]

    def test_bone_is_brighter_at_its_rim_than_inside(self):
        bone = np.zeros((24, 24, 24), bool)
        bone[4:20, 4:20, 4:20] = True
        redrawn = redraw_bone(np.random.default_rng(1), np.full(bone.shape, 40, np.float32), bone, (1, 1, 1))
        assert (redrawn[~bone] == 40).all()
        assert redrawn[12, 12, 4:7].max() > redrawn[12, 12, 9:15].mean() + 50

    def test_labels_stay_but_for_views_that_are_cut(self):
        np.random.seed(0)  # noqa: NPY002 - nnU-Net's workers draw from the global state
        transform, kept, cut = TissueTransform(WINDOW, (2, 2, 2)), 0, 0
        for _ in range(12):
            given = self.patch()
            result = transform(**given)
            assert result["image"].shape == given["image"].shape
            assert result["image"].dtype == torch.float32
            assert result["image"].min() >= 0
            assert result["image"].max() <= 2
            missing = (result["segmentation"] == 0) & (given["segmentation"] == 2)
            assert (result["image"][missing] == 0).all()  # air
            assert torch.equal(result["segmentation"][~missing], given["segmentation"][~missing])
            cut, kept = cut + bool(missing.any()), kept + (not missing.any())
        assert cut
        assert kept

    def test_parts_can_be_left_out(self):
        everything = ("bone", "soft", "other_bone", "blobs", "cut", "blur", "slices", "noise")
        given = self.patch()
        result = TissueTransform(WINDOW, (2, 2, 2), without=everything)(**given)
        torch.testing.assert_close(result["image"], given["image"])


class TestAverage:
    def network(self, value):
        network = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(network.weight, value)
        return network

    def test_it_follows_the_weights_slowly(self):
        network = self.network(0.0)
        average = WeightAverage(network, 0.5)
        torch.nn.init.constant_(network.weight, 1.0)
        average.update(network)  # the first update keeps a tenth of the start
        assert average.values[0].item() == pytest.approx(0.9)
        for _ in range(20):
            average.update(network)
        assert average.values[0].item() == pytest.approx(1.0, abs=1e-4)

    def test_the_network_has_it_inside_the_block_only(self):
        network = self.network(0.0)
        average = WeightAverage(network, 0.5)
        torch.nn.init.constant_(network.weight, 1.0)
        with average.used_by(network), average.used_by(network):
            assert network.weight.item() == 0
            assert average.own_weights()[0].item() == 1
        assert network.weight.item() == 1

    def test_a_checkpoint_brings_both_back(self):
        network = self.network(0.25)  # as it is loaded: averaged
        average = WeightAverage(network, 0.5)
        average.resume(network, [torch.tensor([[3.0]])], 7)
        assert (network.weight.item(), average.values[0].item(), average.updates) == (3.0, 0.25, 7)


class TestDrawnCases:
    def cases(self, kind="regions", transpose=(0, 1, 2)):
        return DrawnCases(SimpleNamespace(identifiers=["a"]), kind, (4.0, 3.0, 5.0), transpose, WINDOW, 2)

    def test_each_phantom_gives_some_patches(self):
        np.random.seed(0)  # noqa: NPY002 - nnU-Net's workers draw from the global state
        cases = self.cases()
        first, second, third = (cases.load_case("a") for _ in range(3))
        assert first[0] is second[0]
        assert first[0].shape != third[0].shape or (first[0] != third[0]).any()
        image, segmentation, _, properties = first
        assert image.shape == segmentation.shape
        assert set(np.unique(segmentation)) <= {0, 1, 2, 3}
        assert (image.min(), image.max()) >= (0, 0)
        assert image.max() <= 2
        for value, places in properties["class_locations"].items():
            assert (segmentation[tuple(places.T)] == value).all()

    def test_the_same_seed_draws_the_same(self):
        drawn = []
        for _ in range(2):
            np.random.seed(5)  # noqa: NPY002
            drawn.append(self.cases().load_case("a")[0])
        np.testing.assert_array_equal(*drawn)

    def test_axes_are_those_of_the_plans(self):
        straight, turned = self.cases().options.spacing_mm, self.cases(transpose=(2, 0, 1)).options.spacing_mm
        assert straight == (5, 3, 4)  # x, y, z of z, y, x
        assert turned == (4, 5, 3)  # the arrays' axes are x, z, y

    def test_other_labels_are_refused(self):
        assert kind_of_labels(dataset_labels("spine")) == "spine"
        with pytest.raises(InputError, match="labels of one of"):
            kind_of_labels({"background": 0, "tumour": 1})


def test_most_patches_of_the_starter_may_lie_anywhere(boxes):
    trainer = get_trainer_from_args("1", "3d_fullres", 0, "StarterTrainer_1epochs", PLANS, device=torch.device("cpu"))
    trainer.initialize()
    loader = trainer.get_dataloaders()[0].data_loader
    assert loader.oversample_foreground_percent == 0.35
    assert loader.get_do_oversample == loader._probabilistic_oversampling
