import tracemalloc

import numpy as np
import pytest
from scipy import ndimage

from nnunet_spine import cli
from nnunet_spine.geometry import reorient, to_index, to_world
from nnunet_spine.io.files import read_json, write_json
from nnunet_spine.io.nifti import read_nifti, write_nifti
from nnunet_spine.spine_map.fusion import (
    CaseScores,
    FusionParameters,
    attention_at,
    best_parameters,
    fuse,
    score_case,
)

SHAPE = (48, 40, 64)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
AFFINE[:3, 3] = -40, 12, 5
GENTLE = FusionParameters(4, 0.1)
CELL = np.array([4, 8, 8])  # voxels of a cell of the map
MAP_AFFINE = AFFINE @ np.block([[np.diag(CELL), (CELL[:, None] - 1) / 2], [np.zeros((1, 3)), 1]])


def scan() -> tuple[np.ndarray, np.ndarray]:
    """A spine of three labels, the share of it in every cell, and a blob of one of the labels far from it."""
    spine = np.zeros(SHAPE, np.uint8)
    for label, z in ((1, 8), (2, 26), (3, 44)):
        spine[18:30, 14:26, z : z + 14] = label
    cells = (spine > 0).reshape(12, 4, 5, 8, 8, 8).mean((1, 3, 5)).astype(np.float32)
    return spine, cells


def with_blob(spine: np.ndarray) -> np.ndarray:
    segmentation = spine.copy()
    segmentation[2:7, 2:7, 2:7] = 2
    return segmentation


@pytest.mark.parametrize("codes", ["RAS", "PIR", "LAS"])
@pytest.mark.parametrize("map_codes", ["RAS", "IPL"])
def test_a_far_blob_goes_and_the_spine_stays(codes, map_codes):
    spine, cells = scan()
    segmentation, affine = reorient(with_blob(spine), AFFINE, codes)
    attention, map_affine = reorient(cells, MAP_AFFINE, map_codes)
    before = segmentation.copy()
    fused = fuse(segmentation, affine, attention, map_affine, GENTLE)
    assert not fused.skipped
    assert fused.outside == pytest.approx(125 / (125 + 3 * 12 * 12 * 14))
    np.testing.assert_array_equal(reorient(fused.segmentation, affine, "RAS")[0], spine)
    np.testing.assert_array_equal(segmentation, before)


def test_binary_masks_and_any_type():
    spine, cells = scan()
    for dtype in (bool, np.int16, np.float32):
        fused = fuse((with_blob(spine) > 0).astype(dtype), AFFINE, cells, MAP_AFFINE, GENTLE)
        assert fused.segmentation.dtype == dtype
        np.testing.assert_array_equal(fused.segmentation, (spine > 0).astype(dtype))


def test_a_map_that_would_remove_most_is_not_believed():
    spine, cells = scan()
    wrong = np.zeros_like(cells)
    wrong[0, 0, 0] = 1
    fused = fuse(with_blob(spine), AFFINE, wrong, MAP_AFFINE, FusionParameters(sigma_mm=4))
    assert fused.skipped
    assert fused.outside > 0.6
    np.testing.assert_array_equal(fused.segmentation, with_blob(spine))


def test_nothing_segmented():
    _, cells = scan()
    fused = fuse(np.zeros(SHAPE, np.uint8), AFFINE, cells, MAP_AFFINE, FusionParameters())
    assert (fused.outside, fused.skipped, fused.segmentation.any()) == (0.0, False, False)


def test_trilinear_between_cell_centres():
    attention = np.zeros((2, 1, 1), np.float32)
    attention[1] = 1
    affine = np.diag([4.0, 4.0, 4.0, 1.0])  # centres at x = 0 and 4 mm
    x = np.array([-9, -1, 0, 1, 2, 4, 5, 12])
    voxels = (x, np.zeros_like(x), np.zeros_like(x))
    values = attention_at(attention, affine, voxels, np.eye(4), 0)
    np.testing.assert_allclose(values, [0, 0, 0, 0.25, 0.5, 1, 1, 0], atol=1e-6)


@pytest.mark.parametrize("sigma_mm", [4.0, 8.0, 12.0])
def test_smoothing_is_that_of_the_upsampled_map(sigma_mm):
    """Against the definition: up-sampled to the scan first, then a Gaussian over the whole scan."""
    _, cells = scan()
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
    index = np.moveaxis(to_index(MAP_AFFINE, to_world(AFFINE, np.moveaxis(grid, 0, -1))), -1, 0)
    upsampled = ndimage.map_coordinates(cells, index, order=1, mode="nearest")
    expected = ndimage.gaussian_filter(upsampled, sigma_mm / 2, mode="nearest")
    values = attention_at(cells, MAP_AFFINE, grid.reshape(3, -1), AFFINE, sigma_mm)
    np.testing.assert_allclose(values, expected.ravel(), atol=0.015)


def test_a_small_sigma_refines_no_finer_than_the_scan():
    attention, affine = np.random.default_rng(0).random((6, 5, 7)), np.diag([16.0, 16.0, 8.0, 1.0])
    scan = np.diag([4.0, 4.0, 4.0, 1.0])
    voxels = np.nonzero(np.ones((24, 20, 14)))
    exact = attention_at(attention, affine, voxels, scan, 0.0)
    tracemalloc.start()
    fine = attention_at(attention, affine, voxels, scan, 0.05)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6
    assert np.abs(fine - exact).mean() < 0.03


def test_parameters_are_scored_and_the_best_is_found():
    spine, cells = scan()
    scores = score_case(with_blob(spine), AFFINE, cells, MAP_AFFINE, spine)
    n = 3 * 12 * 12 * 14
    assert scores.without == pytest.approx(2 * n / (2 * n + 125))
    assert len(scores.fused) == 18
    for parameters, dice in scores.fused.items():
        fused = fuse(with_blob(spine), AFFINE, cells, MAP_AFFINE, parameters).segmentation
        kept = int((fused > 0).sum())
        assert dice == pytest.approx(2 * int(((fused > 0) & (spine > 0)).sum()) / (kept + n))
    tuned = best_parameters([scores])
    assert tuned.dice == 1
    assert tuned.dice_without == scores.without
    assert tuned.parameters.threshold == 0.05  # of equals, what removes least


def test_scores_with_the_guard_ignored_voxels_and_empty_cases():
    spine, cells = scan()
    ignored = np.where(with_blob(spine) != spine, 9, spine).astype(np.uint8)
    assert score_case(with_blob(spine), AFFINE, cells, MAP_AFFINE, ignored, ignore_label=9).without == 1
    nothing = np.zeros_like(spine)
    assert score_case(nothing, AFFINE, cells, MAP_AFFINE, nothing).without == 1
    assert score_case(spine, AFFINE, np.zeros_like(cells), MAP_AFFINE, spine).fused[FusionParameters()] == 1  # guard


def test_the_mean_over_cases_decides():
    a, b = FusionParameters(4, 0.1), FusionParameters(8, 0.1)
    cases = [CaseScores(0.5, {a: 0.9, b: 0.8}), CaseScores(0.7, {a: 0.6, b: 0.8})]
    tuned = best_parameters(cases)
    assert (tuned.parameters, tuned.dice, tuned.dice_without) == (b, pytest.approx(0.8), pytest.approx(0.6))
    with pytest.raises(ValueError, match="no cases"):
        best_parameters([])


@pytest.mark.parametrize("values", [(-1, 0.1), (8, 1.5), (float("nan"), 0.1)])
def test_bad_parameters(values):
    with pytest.raises(ValueError, match=r"sigma (-1|nan) mm; expected 0 or more|threshold 1.5; expected a share"):
        FusionParameters(*values)


@pytest.fixture
def model(tmp_path):
    """A model folder with two validation cases, maps and references; the second case has no map."""
    spine, cells = scan()
    folder = tmp_path / "model"
    write_json(folder / "dataset.json", {"labels": {"background": 0, "L1": 1, "L2": 2, "L3": 3}})
    for case, codes in (("a", "RAS"), ("b", "PIR")):
        write_nifti(folder / "fold_0" / "validation" / f"{case}.nii.gz", *reorient(with_blob(spine), AFFINE, codes))
        write_nifti(tmp_path / "labels" / f"{case}.nii.gz", *reorient(spine, AFFINE, codes))
    write_nifti(tmp_path / "maps" / "a_attention.nii.gz", cells, MAP_AFFINE)
    return folder


def fuse_arguments(model, *more: str) -> list[str]:
    source, root = model / "fold_0" / "validation", model.parent
    return ["fuse", "-i", str(source), "-a", str(root / "maps"), "-o", str(root / "out"), *more]


def tune_arguments(model, *more: str) -> list[str]:
    root = model.parent
    return ["tune-fusion", "-m", str(model), "-a", str(root / "maps"), "-r", str(root / "labels"), *more]


def test_commands_tune_and_fuse_and_list_what_failed(model, capsys):
    assert cli.main(tune_arguments(model)) == 1
    captured = capsys.readouterr()
    assert "mean Dice 1.0000 on 1 case," in captured.out
    assert captured.err.startswith("nnunet-spine tune-fusion: b: ")
    assert "b_attention.nii.gz: no such file" in captured.err
    tuned = read_json(model / "fusion.json")
    assert (tuned["threshold"], tuned["mean_dice"], tuned["cases"]) == (0.05, 1.0, 1)
    assert tuned["mean_dice_without_fusion"] < 1

    assert cli.main(fuse_arguments(model, "--parameters", str(model / "fusion.json"))) == 1
    captured = capsys.readouterr()
    assert "1 of 2 cases" in captured.out
    assert "b_attention.nii.gz: no such file" in captured.err
    out = model.parent / "out"
    assert [f.name for f in out.iterdir()] == ["a.nii.gz"]
    fused, affine = read_nifti(out / "a.nii.gz")
    np.testing.assert_array_equal(fused, scan()[0])
    np.testing.assert_array_equal(affine, AFFINE)
    assert fused.dtype == np.uint8


def test_commands_without_failures(model, capsys):
    (model / "fold_0" / "validation" / "b.nii.gz").unlink()
    assert cli.main(tune_arguments(model)) == 0
    assert cli.main(fuse_arguments(model, "--sigma", "4", "--threshold", "0.1")) == 0
    assert "sigma 4 mm, threshold 0.1" in capsys.readouterr().out


def test_command_warns_where_the_map_is_not_believed(model, capsys):
    (model / "fold_0" / "validation" / "b.nii.gz").unlink()
    write_nifti(model.parent / "maps" / "a_attention.nii.gz", np.zeros((3, 3, 3), np.float32), MAP_AFFINE)
    assert cli.main(fuse_arguments(model)) == 0
    assert "a: 100% of the foreground lies outside the map: left as it is" in capsys.readouterr().err
    np.testing.assert_array_equal(read_nifti(model.parent / "out" / "a.nii.gz")[0], with_blob(scan()[0]))


def test_references_of_another_grid_are_not_compared(model, capsys):
    write_nifti(model.parent / "labels" / "a.nii.gz", scan()[0], np.eye(4))
    assert cli.main(tune_arguments(model)) == 2
    error = capsys.readouterr().err
    assert "corners up to" in error
    assert "no case could be used" in error
    assert not (model / "fusion.json").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--sigma", "-1"], "fuse: sigma -1 mm; expected 0 or more"),
        (["--threshold", "1.5"], "fuse: threshold 1.5; expected a share of spine from 0 to 1"),
        (["--parameters", "{model}/fusion.json", "--sigma", "4"], "--parameters together with --sigma"),
        (["--parameters", "{model}/dataset.json"], "no fusion parameters"),
        (["--parameters", "{model}/nosuch.json"], "no such file"),
        (["-a", "{model}/nosuch"], "no such folder"),
        (["-i", "{model}"], "no segmentations"),
        (["-o", "{model}/fold_0/validation"], "is the folder of segmentations"),
        (["-o", "{model}/../maps"], "is the folder of maps"),
    ],
)
def test_bad_arguments_are_one_line(model, capsys, more, message):
    assert cli.main(fuse_arguments(model, *(word.format(model=model) for word in more))) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
