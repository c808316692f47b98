import matplotlib.image
import numpy as np
import pytest

from nnunet_spine import geometry, pictures, scores
from nnunet_spine.anatomy import BY_NAME, lookup_table
from nnunet_spine.errors import InputError
from nnunet_spine.io import nifti

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


def cubes(names):
    """A label map with a cube of 8 voxels per name, from head to foot; None leaves a gap."""
    labels = np.zeros((12, 12, 12 * len(names)), np.uint8)
    for k, name in enumerate(reversed(names)):
        if name:
            labels[2:10, 2:10, 12 * k + 2 : 12 * k + 10] = BY_NAME[name].nnunet_id
    return labels


class TestMarks:
    def score(self, prediction, reference):
        return scores.score_case(prediction, reference, np.eye(4))

    def texts(self, score):
        return {name: text for name, (text, _) in pictures.prediction_notes(score).items()}

    def test_nothing_is_wrong(self):
        score = self.score(cubes(["T12", "L1"]), cubes(["T12", "L1"]))
        assert self.texts(score) == {"T12": "T12", "L1": "L1"}
        assert all(kind is None for _, kind in pictures.prediction_notes(score).values())

    def test_low_dice_is_never_rounded_up(self):
        prediction, reference = cubes(["T12", "L1"]), cubes(["T12", "L1"])
        prediction[:, :, 14:18] = 0  # half of T12: 2 * 256 / (256 + 512)
        assert self.texts(self.score(prediction, reference)) == {"T12": "T12 0.66", "L1": "L1"}

    def test_wrong_and_surplus_names(self):
        score = self.score(cubes(["C7", "T12", "T13", "L1"]), cubes([None, "T12", "L1", "L2"]))
        assert self.texts(score) == {"C7": "+C7", "T12": "T12", "T13": "T13 (is L1)", "L1": "L1 (is L2)"}

    def test_one_name_for_two_vertebrae(self):
        reference, prediction = cubes(["T12", "L1", "L2"]), cubes(["T12", "L1", "L1"])
        assert self.texts(self.score(prediction, reference)) == {"T12": "T12", "L1": "L1 (also L2)"}

    def test_centre_too_far_off(self):
        prediction = cubes([None, None, "L1"])
        score = scores.score_centres(prediction, np.eye(4), {BY_NAME["L1"].nnunet_id: (5.5, 5.5, 31.0)})
        assert self.texts(score) == {"L1": "L1 26 mm"}

    def test_notes_stand_in_the_prediction_only(self):
        reference, prediction = cubes(["T12", "L1", "L2"]), cubes([None, "L1", "L2"])
        prediction[prediction == BY_NAME["L2"].nnunet_id] = BY_NAME["L5"].nnunet_id
        score = self.score(prediction, reference)
        t12, l1, l2, l5 = (BY_NAME[name].nnunet_id for name in ("T12", "L1", "L2", "L5"))
        spot, beside = pictures.Spot(3.0, 4.0), pictures.Spot(3.0, 4.0, met=False)
        missed_at = {t12: spot, l2: spot}
        wrong = pictures.level_names("prediction", {l1: beside, l5: spot}, score, missed_at)
        assert [n.text for n in wrong] == ["[L1]", "L5 (is L2)", "no T12"]  # L2 is not missed but misnamed
        assert [kind.example for kind in pictures.legend(wrong)] == ["T5 (is T6)", "no T5", "[T5]"]
        for shown, given in (("reference", score), ("prediction", None)):
            plain = pictures.level_names(shown, {l1: spot, l5: spot}, given, missed_at)
            assert [n.text for n in plain] == ["L1", "L5"]
            assert pictures.legend(plain) == []

    def test_a_shift_is_said(self):
        names = ["T12", "L1", "L2", "L3"]
        score = self.score(cubes([*names[1:], "L4"]), cubes(names))
        assert "named 1 level too caudal" in pictures.describe(score)


class TestProjection:
    def test_the_label_in_front_hides_those_behind(self):
        labels = np.zeros((3, 5, 2), np.uint8)
        labels[0, 1], labels[0, 3], labels[1, 0] = 20, 21, 22
        seen = pictures.frontmost(labels, slice(0, 5))
        assert seen[:, 0].tolist() == [21, 22, 0]
        assert pictures.frontmost(labels, slice(0, 3))[:, 0].tolist() == [20, 22, 0]

    def test_brightest_voxel_inside_the_slab(self):
        image = np.arange(10).reshape(1, 10, 1)
        assert pictures.brightest(image, slice(2, 6)).tolist() == [[5]]

    def test_slab_holds_the_labels_and_a_margin(self):
        labels = np.zeros((4, 40, 4), np.uint8)
        labels[1, 12:20, 1] = 20
        assert pictures.slab([labels], 40, 2.0) == slice(7, 25)
        assert pictures.slab([labels], 40, 0.5) == slice(0, 40)
        assert pictures.slab([np.zeros_like(labels)], 40, 2.0) == pictures.slab([], 40, 2.0) == slice(0, 40)


class TestLayout:
    def test_rows_are_centred_below_each_other(self):
        (height, width), corners = pictures.layout([[(100, 700), (100, 500)], [(90, 200)]])
        assert width == 1200 + pictures.sheet.GAP_PX
        top = pictures.sheet.HEADER_PX + pictures.sheet.HEADING_PX
        below = top + 100 + pictures.sheet.HEADING_PX
        assert corners == [[(top, 0), (top, 700 + pictures.sheet.GAP_PX)], [(below, (width - 200) // 2)]]
        assert height == below + 90 + pictures.sheet.FOOTER_PX


class TestCase:
    def test_shows_every_level_on_both_sides(self, tmp_path):
        image, reference = spine()
        prediction = reference.copy()
        prediction[reference == BY_NAME["T13"].nnunet_id] = BY_NAME["L5"].nnunet_id
        pixels = picture(tmp_path, image, reference, prediction, AFFINE, title="case $1_a")
        # 120 x 105 x 180 mm, shown in two rows of sagittal, coronal, projection: the height is the limit
        scale = HEIGHT_PX / (2 * 180)
        sagittal, coronal = (round(180 * scale), round(105 * scale)), (round(180 * scale), round(120 * scale))
        size, corners = pictures.layout([[sagittal, coronal, coronal]] * 2)
        assert pixels.shape[:2] == size
        for row, has, lacks in ((0, "T13", "L5"), (1, "L5", "T13")):
            for (top, left), (h, w) in zip(corners[row], (sagittal, coronal, coronal), strict=True):
                panel = pixels[top : top + h, left : left + w]
                assert all(has_color(panel, name) for name in ("T11", "T12", has, "L1", "L2"))
                assert not has_color(panel, lacks)

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
        figure = pictures.case_figure(image, None, labels, affine, height_px=240)
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())[..., 0].astype(int)
        side = (pixels.shape[0] - pictures.layout([[(0, 0)]])[0][0],) * 2
        _, (corners,) = pictures.layout([[side] * 3])
        for k, (top, left) in enumerate(corners):
            panel = pixels[top : top + side[0], left : left + side[1]]
            bright, dark = panel[0, 0], panel[side[0] // 4, side[1] // 2]
            assert bright > dark or k == 2  # the projection sees the bright front all over
            assert (panel[:6] == bright).all()
            assert (panel[: side[0] // 2, :6] == bright).all()  # side letter and scale bar are below

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
        width, height = pictures.case_figure(image, None, labels, AFFINE).canvas.get_width_height()
        assert width > pictures.sheet.MIN_WIDTH_PX
        assert height < width  # 180 mm of vertebrae, not 1380 mm of scan

    @pytest.mark.parametrize("curved", [True, False])
    def test_curved_cut_keeps_a_scoliotic_spine_in_view(self, tmp_path, monkeypatch, curved):
        monkeypatch.setattr(pictures.figure, "level_names", lambda *_: [])  # names and centres have colours, too
        monkeypatch.setattr(pictures.figure, "_centre_marks", lambda *_: [])
        image, labels = spine()
        pixels = picture(tmp_path, image, None, labels, AFFINE, curved=curved)
        height = pixels.shape[0] - pictures.layout([[(0, 0)]])[0][0]
        widths = [round(mm * height / 180) for mm in (105, 120, 120)]
        sagittal = pixels[:, : pictures.layout([[(height, w) for w in widths]])[1][0][1][1]]
        assert has_color(sagittal, "T13")
        assert has_color(sagittal, "L2") == has_color(sagittal, "T11") == curved

    def test_reference_of_centres_only(self, tmp_path):
        image, labels = spine()
        whole = scores.score_case(labels, labels, AFFINE)
        centres = {BY_NAME[v.name].nnunet_id: v.reference_centre_mm for v in whole.vertebrae}
        score = scores.score_centres(labels, AFFINE, centres)
        with_centres = picture(tmp_path, image, None, labels, AFFINE, score=score)
        assert with_centres.shape != picture(tmp_path, image, None, labels, AFFINE).shape  # has the reference's panels
        picture(tmp_path, image, None, np.zeros_like(labels), AFFINE, score=score)

    def test_without_an_image(self, tmp_path):
        _, labels = spine()
        pixels = picture(tmp_path, None, labels, labels, AFFINE)
        assert all(has_color(pixels, name) for name in NAMES)
        with pytest.raises(InputError, match="neither"):
            pictures.case_figure(None, None, None, AFFINE)

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
        nifti.write_nifti(tmp_path / "case_1_0000.nii.gz", image, AFFINE)
        nifti.write_nifti(tmp_path / "case_1.nii.gz", labels, AFFINE)
        return tmp_path

    def test_writes_a_picture(self, case):
        labels = case / "case_1.nii.gz"
        target = case / "new" / "case_1.png"
        pictures.case_picture_from_files(case / "case_1_0000.nii.gz", labels, target, reference_path=labels)
        assert matplotlib.image.imread(target).ndim == 3
        assert [p.name for p in target.parent.iterdir()] == ["case_1.png"]

    def test_without_an_image(self, case):
        labels = case / "case_1.nii.gz"
        pictures.case_picture_from_files(None, labels, case / "a.png", reference_path=labels)
        assert (case / "a.png").is_file()
        with pytest.raises(InputError, match="neither"):
            pictures.case_picture_from_files(None, None, case / "b.png")

    def test_grids_must_agree(self, case):
        moved = AFFINE.copy()
        moved[2, 3] += 1
        nifti.write_nifti(case / "moved.nii.gz", spine()[1], moved)
        with pytest.raises(InputError, match="mm apart") as caught:
            pictures.case_picture_from_files(case / "case_1_0000.nii.gz", case / "moved.nii.gz", case / "a.png")
        assert caught.value.path == case / "moved.nii.gz"

    def test_real_scan(self, tmp_path, real_data):
        folder = real_data / "ct"
        mask, affine = nifti.read_nifti(folder / "sub-tptbox_seg-vert_msk.nii.gz")
        labels = lookup_table("verse", "nnunet")[mask].astype(np.uint8)
        nifti.write_nifti(tmp_path / "labels.nii.gz", labels, affine)
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
