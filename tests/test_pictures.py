import os
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from nnunet_spine import files, geometry, pictures, scores
from nnunet_spine.anatomy import BY_NAME, lookup_table
from nnunet_spine.errors import InputError

SPACING_MM = np.array([2.0, 1.5, 3.0])
AFFINE = np.array([[2.0, 0, 0, -60], [0, 1.5, 0, -40], [0, 0, 3.0, 500], [0, 0, 0, 1.0]])
SHAPE = (60, 70, 60)
NAMES = ("T11", "T12", "T13", "L1", "L2")


def spine():
    """A CT and label map, RAS: five bodies of 28 x 21 x 24 mm that wander to the right, with a spinous process each."""
    image, labels = np.full(SHAPE, -100, np.int16), np.zeros(SHAPE, np.uint8)
    for k, name in enumerate(reversed(NAMES)):
        x, z = 12 + 6 * k, 2 + 11 * k
        labels[x : x + 14, 30:44, z : z + 8] = BY_NAME[name].nnunet_id
        labels[x + 6 : x + 8, 10:24, z : z + 4] = BY_NAME[name].nnunet_id
    image[labels > 0] = 500
    return image, labels


HEIGHT_PX = 360


def picture(tmp_path, *args, **options):
    pictures.case_picture(*args, tmp_path / "case.png", height_px=HEIGHT_PX, **options)
    return (matplotlib.image.imread(tmp_path / "case.png")[..., :3] * 255).round().astype(int)


def has_color(pixels, name):
    """Whether outlines of a level are there: more pixels than its written name could have."""
    return bool((np.abs(pixels - np.array(BY_NAME[name].color)).sum(-1) < 80).sum() > 40)


class TestBodies:
    def test_lie_in_the_thick_part(self):
        _, labels = spine()
        points = pictures.body_points(labels, SPACING_MM)
        assert set(points) == {BY_NAME[name].nnunet_id for name in NAMES}
        np.testing.assert_allclose(points[BY_NAME["L2"].nnunet_id], [18.5, 36.5, 5.5], atol=0.2)

    def test_fragments_are_left_out(self):
        _, labels = spine()
        labels[0, 0, 0] = BY_NAME["C1"].nnunet_id
        assert BY_NAME["C1"].nnunet_id not in pictures.body_points(labels, SPACING_MM)

    def test_none(self):
        assert pictures.body_points(np.zeros((3, 4, 5), np.uint8), SPACING_MM) == {}


class TestCuts:
    @pytest.fixture
    def points(self):
        return {24: np.array([10.0, 20, 5]), 20: np.array([30.0, 25, 45]), 22: np.array([16.0, 23, 25])}

    def test_curved_cut_passes_through_the_points(self, points):
        across = pictures.cut_positions(points, (50, 50, 51), pictures.SAGITTAL, curved=True)
        assert across.shape == (51,)
        np.testing.assert_allclose(across[[0, 5, 15, 25, 35, 45, 50]], [10, 10, 13, 16, 23, 30, 30])

    def test_plane_cut_passes_through_the_median(self, points):
        across = pictures.cut_positions(points, (50, 50, 51), pictures.CORONAL, curved=False)
        assert set(across) == {23.0}

    def test_middle_without_points(self):
        assert set(pictures.cut_positions({}, (50, 51, 9), pictures.SAGITTAL, curved=True)) == {24.5}
        assert set(pictures.cut_positions({}, (50, 51, 9), pictures.CORONAL, curved=False)) == {25.0}


class TestFrame:
    frame = pictures.Frame(np.array([[0, 0, 0], [9, 19, 29]]), np.array([1.0, 2.0, 3.0]), px_per_mm=2.0)

    def test_panels_have_true_proportions(self):
        assert self.frame.size(pictures.SAGITTAL) == (180, 80)
        assert self.frame.size(pictures.CORONAL) == (180, 20)

    def test_superior_up_and_anterior_or_right_to_the_left(self):
        for view, high in ((pictures.SAGITTAL, 19), (pictures.CORONAL, 9)):
            position = self.frame.positions(view, np.full(30, 4.0))
            assert np.all(np.diff(position[2], axis=0) < 0)
            assert np.all(np.diff(position[view.along], axis=1) < 0)
            assert np.all(position[view.across] == 4.0)
            assert np.abs(position[view.along] - high).min() < 0.5
            assert position[view.along].max() < high + 0.5
            assert position[view.along].min() > -0.5

    @pytest.mark.parametrize("view", pictures.VIEWS)
    def test_pixel_undoes_positions(self, view):
        position = self.frame.positions(view, np.full(30, 4.0))
        assert self.frame.pixel(view, position[:, 31, 7]) == pytest.approx((31, 7))


class TestPixels:
    def test_window(self):
        rgb = pictures.overlay(np.array([[-2000.0, -300, 450, 1200, 3000, np.nan]]), None)
        assert rgb[0, :, 0].tolist() == [0, 0, 128, 255, 255, 0]
        assert rgb.dtype == np.uint8

    def test_outline_is_stronger_than_fill(self):
        labels = np.zeros((5, 5), np.uint8)
        labels[1:4, 1:4] = BY_NAME["L1"].nnunet_id
        rgb = pictures.overlay(np.full((5, 5), -300.0), labels)
        color = np.array(BY_NAME["L1"].color)
        np.testing.assert_array_equal(rgb[2, 2], np.rint(pictures.FILL_ALPHA * color))
        np.testing.assert_array_equal(rgb[1, 1], np.rint(pictures.OUTLINE_ALPHA * color))
        assert not rgb[0, 0].any()

    def test_neighbours_are_outlined_against_each_other(self):
        assert pictures.outline(np.array([[1, 1, 1, 2, 2, 2]] * 5))[2].tolist() == [
            True,
            False,
            True,
            True,
            False,
            True,
        ]


class TestNames:
    def test_beside_the_leftmost_large_piece(self):
        panel = np.zeros((20, 20), np.uint8)
        panel[2:5, 6:9] = 20  # body
        panel[1:6, 12:16] = 20  # spinous process
        panel[15, 2] = 20  # fragment
        panel[8:10, 3:6] = 21
        assert pictures.left_edges(panel) == {20: (3.0, 6.0), 21: (8.5, 3.0)}
        assert pictures.left_edges(np.zeros((4, 4), np.uint8)) == {}

    def test_spread(self):
        np.testing.assert_allclose(pictures.spread(np.array([30.0, 10, 12, 50]), 4), [30, 9, 13, 50])
        np.testing.assert_allclose(pictures.spread(np.array([5.0, 5, 5]), 10), [-5, 5, 15])
        assert len(pictures.spread(np.array([]), 4)) == 0

    def test_spread_within_bounds(self):
        np.testing.assert_allclose(pictures.spread(np.array([0.0, 1, 30]), 10, 2, 50), [2, 12, 30])
        np.testing.assert_allclose(pictures.spread(np.array([10.0, 48, 50]), 10, 2, 50), [10, 40, 50])
        np.testing.assert_allclose(pictures.spread(np.array([1.0, 1, 1]), 10, 2, 5), [2, 12, 22])

    def test_errors_are_marked_in_the_prediction_only(self):
        _, reference = spine()
        prediction = reference.copy()
        prediction[reference == BY_NAME["T13"].nnunet_id] = BY_NAME["L5"].nnunet_id
        score = scores.score_case(prediction, reference, AFFINE)
        spot = (3.0, 4.0, True)
        spots = {
            "reference": {BY_NAME["T12"].nnunet_id: spot, BY_NAME["T13"].nnunet_id: spot},
            "prediction": {BY_NAME["T12"].nnunet_id: (3.0, 4.0, False), BY_NAME["L5"].nnunet_id: spot},
        }
        assert [n.text for n in pictures.level_names(spots, "reference", score)] == ["T12", "T13"]
        assert [n.text for n in pictures.level_names(spots, "prediction", score)] == ["(T12)", "L5 ✗", "no T13"]
        assert [n.text for n in pictures.level_names(spots, "prediction", None)] == ["(T12)", "L5"]


class TestCase:
    def test_shows_every_level_on_both_sides(self, tmp_path):
        image, reference = spine()
        prediction = reference.copy()
        prediction[reference == BY_NAME["T13"].nnunet_id] = BY_NAME["L5"].nnunet_id
        pixels = picture(tmp_path, image, reference, prediction, AFFINE, title="case $1_a")
        height, width, _ = pixels.shape
        size_mm = SHAPE * SPACING_MM
        scale = pictures.cuts.MAX_ASPECT * HEIGHT_PX / (2 * size_mm[0] + 2 * size_mm[1])  # here the width is the limit
        assert height == round(scale * size_mm[2]) + pictures.HEADER_PX
        assert width == pictures.MIN_WIDTH_PX  # wide enough for the title, panels in the middle
        coronal, sagittal = (round(mm * scale) for mm in size_mm[:2])
        left = (width - 2 * (sagittal + coronal) - 3 * pictures.GAP_PX) // 2
        body = pixels[pictures.HEADER_PX :, left:]
        assert not pixels[pictures.HEADER_PX :, :left].any()
        truth, predicted = body[:, :sagittal], body[:, sagittal + pictures.GAP_PX : 2 * sagittal + pictures.GAP_PX]
        assert all(has_color(truth, name) for name in NAMES)
        assert all(has_color(predicted, name) for name in ("T11", "T12", "L5", "L1", "L2"))
        assert not has_color(truth, "L5")
        assert not has_color(predicted, "T13")

    @pytest.mark.parametrize("codes", ["LPS", "PIR", "ASL"])
    def test_axis_order_does_not_matter(self, tmp_path, codes):
        image, labels = spine()
        expected = picture(tmp_path, image, labels, labels, AFFINE)
        turned, affine = geometry.reorient(image, AFFINE, codes)
        labels, _ = geometry.reorient(labels, AFFINE, codes)
        pixels = picture(tmp_path, turned, labels, labels, affine)
        assert (pixels != expected).any(-1).mean() < 0.002  # the coarse grid for the bodies starts elsewhere

    @pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR"])
    def test_anterior_and_right_are_left_and_superior_is_up(self, codes):
        image, labels = np.zeros((3, 20, 20, 20), np.int16)[:2]
        image[-2:], image[:, -2:], image[:, :, -2:] = 1000, 1000, 1000
        labels = labels.astype(np.uint8)
        image, affine = geometry.reorient(image, np.eye(4), codes)
        labels, _ = geometry.reorient(labels, np.eye(4), codes)
        figure = pictures.case_figure(image, None, labels, affine, height_px=40)
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())[pictures.HEADER_PX :, :, 0].astype(int)
        left = (pictures.MIN_WIDTH_PX - 80 - pictures.GAP_PX) // 2
        sagittal, coronal = pixels[:, left : left + 40], pixels[:, left + 40 + pictures.GAP_PX :][:, :40]
        for panel in (sagittal, coronal):
            assert panel.shape == (40, 40)
            bright, dark = panel[0, 0], panel[10, 20]
            assert bright > dark
            assert (panel[:2] == bright).all()
            assert (panel[:15, :2] == bright).all()  # side letter and scale bar are below
            assert (panel[5:15, 5:] == dark).all()

    @pytest.mark.parametrize("maps", ["prediction", "reference", "neither", "both empty"])
    def test_without_some_labels(self, tmp_path, maps):
        image, labels = spine()
        reference = {"reference": labels, "both empty": np.zeros_like(labels)}.get(maps)
        prediction = {"prediction": labels, "both empty": np.zeros_like(labels)}.get(maps)
        pixels = picture(tmp_path, image, reference, prediction, AFFINE, title=maps)
        assert has_color(pixels, "T12") == (maps in ("prediction", "reference"))

    def test_long_volume_is_framed_around_the_vertebrae(self):
        image, labels = (np.pad(a, ((0, 0), (0, 0), (0, 400))) for a in spine())
        labels[0, 0, -1] = BY_NAME["C1"].nnunet_id  # a fragment far away
        figure = pictures.case_figure(image, None, labels, AFFINE)
        assert figure.canvas.get_width_height()[0] > pictures.MIN_WIDTH_PX

    @pytest.mark.parametrize("curved", [True, False])
    def test_curved_cut_keeps_a_scoliotic_spine_in_view(self, tmp_path, monkeypatch, curved):
        monkeypatch.setattr(pictures.figure, "level_names", lambda *_: [])  # names have colours, too
        image, labels = spine()
        pixels = picture(tmp_path, image, None, labels, AFFINE, curved=curved)
        sagittal = pixels[:, : pictures.MIN_WIDTH_PX // 2 - 10]
        assert has_color(sagittal, "T13")
        assert has_color(sagittal, "L2") == has_color(sagittal, "T11") == curved

    def test_shapes_must_agree(self, tmp_path):
        image, labels = spine()
        with pytest.raises(InputError, match="same grid"):
            pictures.case_picture(image, labels[1:], labels, AFFINE, tmp_path / "case.png")
        with pytest.raises(InputError, match="three axes"):
            pictures.case_picture(image[0], None, None, AFFINE, tmp_path / "case.png")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("dtype", [">i2", np.uint8, np.float16, np.float64])
    def test_images_of_any_type(self, dtype):
        image, labels = (a[::4, ::4, ::4] for a in spine())
        pictures.case_figure(image.astype(dtype), None, labels.astype(np.int64), AFFINE, height_px=50)


class TestFiles:
    @pytest.fixture
    def case(self, tmp_path):
        image, labels = spine()
        files.write_nifti(tmp_path / "case_1_0000.nii.gz", image, AFFINE)
        files.write_nifti(tmp_path / "case_1.nii.gz", labels, AFFINE)
        return tmp_path

    def test_writes_a_picture(self, case):
        labels = case / "case_1.nii.gz"
        target = case / "new" / "case_1.png"
        pictures.case_picture_from_files(case / "case_1_0000.nii.gz", labels, target, reference_path=labels)
        assert matplotlib.image.imread(target).ndim == 3
        assert [p.name for p in target.parent.iterdir()] == ["case_1.png"]

    def test_grids_must_agree(self, case):
        moved = AFFINE.copy()
        moved[2, 3] += 1
        files.write_nifti(case / "moved.nii.gz", spine()[1], moved)
        with pytest.raises(InputError, match="mm apart") as caught:
            pictures.case_picture_from_files(case / "case_1_0000.nii.gz", case / "moved.nii.gz", case / "a.png")
        assert caught.value.path == case / "moved.nii.gz"

    def test_real_scan(self, tmp_path):
        if "NNUNET_SPINE_TEST_DATA" not in os.environ:
            pytest.skip("NNUNET_SPINE_TEST_DATA is not set to the folder with ct/sub-tptbox_ct.nii.gz")
        folder = Path(os.environ["NNUNET_SPINE_TEST_DATA"]) / "ct"
        mask, affine = files.read_nifti(folder / "sub-tptbox_seg-vert_msk.nii.gz")
        labels = lookup_table("verse", "nnunet")[mask].astype(np.uint8)
        files.write_nifti(tmp_path / "labels.nii.gz", labels, affine)
        pictures.case_picture_from_files(
            folder / "sub-tptbox_ct.nii.gz", tmp_path / "labels.nii.gz", tmp_path / "a.png"
        )
        pixels = matplotlib.image.imread(tmp_path / "a.png")[..., :3] * 255
        assert all(has_color(pixels, name) for name in ("L2", "L3", "L4"))


def test_leaves_matplotlib_as_it_was(tmp_path):
    before = dict(matplotlib.rcParams)
    image, labels = spine()
    picture(tmp_path, image, labels, labels, AFFINE)
    assert dict(matplotlib.rcParams) == before
