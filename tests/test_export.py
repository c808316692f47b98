"""Export of logits: the label maps of stock nnU-Net voxel for voxel, whatever the heads, grids, axes and ties are."""

import tracemalloc

import numpy as np
import pytest
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from scipy import ndimage
from tiny_models import tiny_plans, write_tiny_model

from nnunet_spine.geometry import reorient
from nnunet_spine.inference import export
from nnunet_spine.inference.export import export_bytes, probabilities_of, reading_of, segmentation_of
from nnunet_spine.inference.model_networks import make_predictor
from nnunet_spine.inference.model_reading import read_model
from nnunet_spine.io.nifti import write_nifti

REGIONS = {"labels": {"background": 0, "all": [1, 2, 3], "two": [2, 3], "one": 3}, "regions_class_order": [1, 2, 3]}
ANISOTROPIC, ISOTROPIC = [6.0, 1.5, 1.5], [1.5, 1.5, 1.5]


def classes(number: int) -> dict:
    return {"labels": {"background": 0, **{f"class {i}": i for i in range(1, number)}}}


class Case:
    """Plans, labels and properties of an image that was cropped, transposed and resampled.

    Args:
        spacing: of the plans.
        new_shape: of the image after cropping; None: that of the logits.
        options: other entries of the plans' resampling of probabilities.
    """

    def __init__(self, dataset_json, shape, new_shape=None, *, spacing=ISOTROPIC, transpose=(0, 1, 2), **options):
        plans = tiny_plans(spacing=spacing)
        plans |= {"transpose_forward": list(transpose), "transpose_backward": np.argsort(transpose).tolist()}
        plans["configurations"]["3d_fullres"]["resampling_fn_probabilities_kwargs"] |= options
        self.plans = PlansManager(plans)
        self.configuration = self.plans.get_configuration("3d_fullres")
        self.labels = self.plans.get_label_manager(dataset_json)
        self.shape, new_shape = shape, new_shape or shape
        self.properties = {
            "spacing": [1.0, 0.8, 1.2],
            "shape_after_cropping_and_before_resampling": tuple(new_shape),
            "shape_before_cropping": tuple(n + 3 for n in new_shape),
            "bbox_used_for_cropping": [[i, i + n] for i, n in enumerate(new_shape)],
        }

    def logits(self, kind: str, dtype=np.float16) -> np.ndarray:
        rng = np.random.default_rng(3)
        shape = (self.labels.num_segmentation_heads, *self.shape)
        values = rng.normal(0, 6, shape)
        if kind == "smooth":
            values = ndimage.gaussian_filter(values, (0, 2, 2, 2)) * 10
        elif kind == "ties":
            values = np.round(values)
        elif kind == "near":
            values *= 2e-7  # around the smallest numbers of float16
        return values.astype(dtype)

    def stock(self, logits, **options):
        known = self.plans, self.configuration, self.labels, self.properties
        return convert_predicted_logits_to_segmentation_with_correct_shape(logits, *known, **options)

    def ours(self, logits, **options):
        return segmentation_of(logits, self.plans, self.configuration, self.labels, self.properties, **options)

    def check(self, logits, **options):
        expected, found = self.stock(torch.from_numpy(np.array(logits))), self.ours(logits, **options)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(found, expected)


GRIDS = {
    "up": ((12, 15, 9), (19, 31, 22), (0, 1, 2)),
    "mixed": ((12, 15, 9), (7, 31, 9), (2, 0, 1)),
    "flat": ((1, 20, 20), (5, 11, 23), (1, 2, 0)),
    "same": ((12, 15, 9), (12, 15, 9), (1, 0, 2)),
}


@pytest.fixture
def only_ours(monkeypatch):
    """Nothing is left to nnU-Net's own function."""

    def refuse(*args, **kwargs):
        raise AssertionError("left to nnU-Net")

    monkeypatch.setattr(export, "convert_predicted_logits_to_segmentation_with_correct_shape", refuse)


@pytest.mark.parametrize("kind", ["smooth", "noise", "ties", "near"])
@pytest.mark.parametrize("dataset_json", [classes(2), classes(5), REGIONS], ids=["two", "five", "regions"])
@pytest.mark.parametrize("spacing", [ISOTROPIC, ANISOTROPIC], ids=["3d", "separate z"])
@pytest.mark.parametrize("grid", GRIDS)
def test_label_maps_are_those_of_stock(kind, dataset_json, spacing, grid, only_ours):
    shape, new_shape, transpose = GRIDS[grid]
    case = Case(dataset_json, shape, new_shape, spacing=spacing, transpose=transpose)
    case.check(case.logits(kind))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("spacing", [ISOTROPIC, ANISOTROPIC], ids=["3d", "separate z"])
@pytest.mark.parametrize("grid", GRIDS)
def test_interpolated_logits_are_those_of_stock_to_the_last_bit(dtype, spacing, grid):
    shape, new_shape, transpose = GRIDS[grid]
    case = Case(classes(3), shape, new_shape, spacing=spacing, transpose=transpose)
    logits = case.logits("noise", dtype)
    reading = reading_of(logits, case.plans, case.configuration, case.labels, case.properties)
    turned = [case.properties["spacing"][axis] for axis in transpose]
    expected = case.configuration.resampling_fn_probabilities(logits.copy(), new_shape, spacing, turned)
    every = np.meshgrid(*map(np.arange, new_shape), indexing="ij")
    np.testing.assert_array_equal(reading.at(tuple(every)), expected)
    few = tuple(np.random.default_rng(0).integers(n // 2, n, 20) for n in new_shape)  # of a part that starts within
    np.testing.assert_array_equal(reading.at(few), expected[(slice(None), *few)])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_order_zero_and_float32(dtype, only_ours):
    for options in ({"order": 0}, {"force_separate_z": True}, {"force_separate_z": False}):
        case = Case(classes(4), (8, 11, 13), (17, 9, 20), spacing=ANISOTROPIC, **options)
        case.check(case.logits("noise", dtype))


def test_threads_slabs_and_portions_change_nothing(only_ours, monkeypatch):
    case = Case(classes(6), (10, 12, 14), (23, 25, 17))
    for slab, points, threads in ((1, 7, 1), (500, 1000, 3), (10**9, 10**9, 2)):
        monkeypatch.setattr(export, "_SLAB_VOXELS", slab)
        monkeypatch.setattr(export, "_POINTS", points)
        case.check(case.logits("smooth"), threads=threads)


def test_logits_may_stay_on_disk_or_be_a_view(tmp_path, only_ours):
    case = Case(classes(5), (10, 12, 14), (15, 18, 21))
    logits = case.logits("smooth")
    np.save(tmp_path / "logits.npy", logits)
    case.check(np.load(tmp_path / "logits.npy", mmap_mode="r"))
    padded = np.pad(logits, ((0, 0), (2, 1), (3, 0), (1, 4)))
    case.check(padded[:, 2:-1, 3:, 1:-4])
    expected = case.stock(logits.copy())
    np.testing.assert_array_equal(case.ours(torch.from_numpy(logits)), expected)


def test_more_labels_than_a_byte_holds(only_ours):
    case = Case(classes(300), (5, 6, 7), (8, 9, 10))
    case.check(case.logits("noise"))
    assert case.ours(case.logits("noise")).dtype == np.uint16


@pytest.mark.parametrize("options", [{"order": 3}, {"order_z": 1}], ids=["splines", "linear z"])
def test_other_resampling_is_left_to_nnunet(options):
    case = Case(classes(3), (6, 7, 8), (9, 11, 10), spacing=ANISOTROPIC, **options)
    case.check(case.logits("smooth"))


def test_logits_that_are_not_finite_are_left_to_nnunet():
    case = Case(classes(3), (6, 7, 8), (9, 11, 10))
    for value in (np.nan, np.inf, -np.inf):
        logits = case.logits("smooth")
        logits[1, 2, 3, 4] = value
        case.check(logits)


@pytest.mark.parametrize("dataset_json", [classes(4), REGIONS], ids=["classes", "regions"])
@pytest.mark.parametrize("options", [{}, {"order": 3}], ids=["ours", "nnU-Net's"])
def test_probabilities_are_those_of_stock(dataset_json, options, tmp_path):
    case = Case(dataset_json, (8, 9, 10), (12, 17, 15), transpose=(2, 0, 1), **options)
    logits = case.logits("smooth")
    expected, probabilities = case.stock(torch.from_numpy(logits.copy()), return_probabilities=True)
    known = case.plans, case.configuration, case.labels, case.properties
    found, ours = probabilities_of(logits, *known, tmp_path / "p.npy", threads=2)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(ours, probabilities, atol=1e-6)
    assert ours.dtype == probabilities.dtype


@pytest.mark.parametrize("reader", ["NibabelIOWithReorient", "SimpleITKIO"])
def test_from_a_turned_scan_through_a_network(tmp_path, reader, only_ours):
    plans = tiny_plans(spacing=[2.0, 1.5, 1.7])
    plans |= {"image_reader_writer": reader, "transpose_forward": [1, 2, 0], "transpose_backward": [2, 0, 1]}
    model = read_model(write_tiny_model(tmp_path / "model", plans=plans))
    predictor = make_predictor(model.only_member(), torch.device("cpu"), allow_tqdm=False)
    image = np.zeros((24, 20, 28), np.int16)
    image[4:, 3:-2, :-6] = np.random.default_rng(0).normal(100, 300, (20, 15, 22))
    write_nifti(tmp_path / "a_0000.nii.gz", *reorient(image, np.diag([1.1, 1.3, 2.2, 1.0]), "PIR"))
    known = predictor.plans_manager, predictor.configuration_manager
    data, _, properties = (
        known[1]
        .preprocessor_class(verbose=False)
        .run_case([str(tmp_path / "a_0000.nii.gz")], None, *known, predictor.dataset_json)
    )
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data))
    known = (*known, predictor.label_manager, properties)
    expected = convert_predicted_logits_to_segmentation_with_correct_shape(logits.clone(), *known)
    np.testing.assert_array_equal(segmentation_of(logits, *known, threads=2), expected)
    assert len(np.unique(expected)) > 1


@pytest.mark.parametrize(
    ("number", "shape", "new_shape", "kind"),
    [(4, (30, 96, 96), (40, 320, 320), "smooth"), (26, (20, 128, 128), (30, 200, 200), "smooth")],
    ids=["large image", "many classes"],
)
def test_memory_is_what_is_said(number, shape, new_shape, kind, only_ours):
    case = Case(classes(number), shape, new_shape)
    logits = case.logits(kind)
    known = case.plans, case.configuration, case.labels, case.properties["spacing"]
    tracemalloc.start()
    case.ours(logits)
    peak = tracemalloc.get_traced_memory()[1] + logits.nbytes
    tracemalloc.stop()
    assert 0.75 < export_bytes(shape, new_shape, *known) / peak < 1.25
