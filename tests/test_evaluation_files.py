"""What evaluation reads: names, label tables, grids, centroid files."""

import json

import numpy as np
import pytest
from cube_spine import AFFINE, LEVELS_SEEN, centre_mm, spine, write

from nnunet_spine import evaluation, geometry
from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.errors import InputError
from nnunet_spine.evaluation.grids import LabelMap, isotropic_grid
from nnunet_spine.evaluation.points import Grid
from nnunet_spine.io.label_ids import NNUNET, TOTALSEGMENTATOR, VERSE, table_of_names


class TestNames:
    @pytest.mark.parametrize(
        ("name", "case"),
        [
            ("case_7.nii.gz", "case_7"),
            ("case_7.nii", "case_7"),
            ("case_7_0000.nii.gz", "case_7"),
            ("case_7_seg.nii.gz", "case_7"),
            ("1.3.6.1.4.nii.gz", "1.3.6.1.4"),
            ("sub-verse004_seg-vert_msk.nii.gz", "verse004"),
            ("sub-verse004_seg-subreg_ctd.json", "verse004"),
            ("sub-verse004_ct.nii.gz", "verse004"),
            ("sub-verse004.nii.gz", "verse004"),
            ("verse004.nii.gz", "verse004"),
            ("sub-verse405_split-verse258_dir-ax_seg-vert_msk.nii.gz", "verse405_verse258"),
            ("verse405_verse258_CT-sag_seg.nii.gz", "verse405_verse258"),
            ("verse405_verse258.nii.gz", "verse405_verse258"),
            ("GL003_iso-ctd.json", "gl003"),
            ("verse090_ctd.json", "verse400_verse090"),
        ],
    )
    def test_files_of_one_case_have_one_name(self, name, case):
        assert evaluation.case_name(name) == case

    def test_masks_win_over_images_beside_them(self, tmp_path):
        for name in ("verse014.nii.gz", "verse014_seg.nii.gz", "a_0000.nii.gz", "a.nii.gz"):
            write(tmp_path / "ref" / name)
        write(tmp_path / "pred" / "verse014.nii.gz")
        write(tmp_path / "pred" / "a.nii.gz")
        pairs = evaluation.pair(tmp_path / "pred", [tmp_path / "ref"], images=tmp_path / "ref")
        assert [c.mask.name for c in pairs.cases] == ["a.nii.gz", "verse014_seg.nii.gz"]
        assert pairs.cases[1].image.name == "verse014.nii.gz"

    def test_subject_folders_are_searched_and_both_kinds_of_reference_found(self, tmp_path):
        folder = tmp_path / "derivatives" / "sub-verse004"
        write(folder / "sub-verse004_seg-vert_msk.nii.gz")
        (folder / "sub-verse004_seg-subreg_ctd.json").write_text(
            '[{"label": 20, "X": 1, "Y": 1, "Z": 1}]', encoding="utf-8"
        )
        (folder / "notes.json").write_text('{"reader": "A"}', encoding="utf-8")
        write(tmp_path / "pred" / "verse004.nii.gz")
        place = tmp_path / "derivatives"
        (case,) = evaluation.pair(tmp_path / "pred", [place]).cases
        assert (case.mask.parent, case.points) == (folder, None)  # masks have centres of their own
        (case,) = evaluation.pair(tmp_path / "pred", [place], centroids=place).cases
        assert case.mask.parent == case.points.parent == folder
        case.mask.unlink()
        (case,) = evaluation.pair(tmp_path / "pred", [place]).cases
        assert (case.mask, case.points.parent) == (None, folder)

    def test_unpaired_cases_are_listed(self, tmp_path):
        for folder, names in {"pred": "ab", "ref": "bc"}.items():
            for name in names:
                write(tmp_path / folder / f"{name}.nii.gz")
        pairs = evaluation.pair(tmp_path / "pred", [tmp_path / "ref"])
        assert [c.case for c in pairs.cases] == ["b"]
        assert list(pairs.without_prediction) == ["c"]
        assert list(pairs.without_reference) == ["a"]

    def test_two_files_belong_together_whatever_their_names(self, tmp_path):
        prediction, reference = write(tmp_path / "out.nii.gz"), write(tmp_path / "truth_seg.nii.gz")
        (case,) = evaluation.pair(prediction, [reference]).cases
        assert (case.case, case.mask) == ("out", reference)

    def test_several_single_files_are_paired_by_name(self, tmp_path):
        prediction = write(tmp_path / "b.nii.gz")
        references = [write(tmp_path / f"{case}_seg.nii.gz") for case in "ab"]
        (case,) = evaluation.pair(prediction, references).cases
        assert (case.case, case.mask) == ("b", references[1])

    def test_no_name_in_common_shows_both_sides(self, tmp_path):
        write(tmp_path / "pred" / "x1.nii.gz")
        write(tmp_path / "ref" / "case1.nii.gz")
        with pytest.raises(InputError, match=r"x1 here, case1 there"):
            evaluation.pair(tmp_path / "pred", [tmp_path / "ref"])

    @pytest.mark.parametrize(
        ("names", "message"),
        [(["a.nii", "a.nii.gz"], "a is there twice"), (["notes.txt"], "no .nii.gz"), ([], "no .nii.gz")],
    )
    def test_folders_that_cannot_be_used(self, tmp_path, names, message):
        (tmp_path / "pred").mkdir()
        for name in names:
            (write if "nii" in name else lambda p: p.write_text("", encoding="utf-8"))(tmp_path / "pred" / name)
        write(tmp_path / "ref" / "a.nii.gz")
        with pytest.raises(InputError, match=message):
            evaluation.pair(tmp_path / "pred", [tmp_path / "ref"])

    def test_the_same_case_in_two_reference_folders(self, tmp_path):
        for folder in ("pred", "ref1", "ref2"):
            write(tmp_path / folder / "a.nii.gz")
        with pytest.raises(InputError, match="a is also in"):
            evaluation.pair(tmp_path / "pred", [tmp_path / "ref1", tmp_path / "ref2"])


class TestLabelTables:
    def test_every_level_of_every_table_arrives(self):
        for table in (NNUNET, VERSE, TOTALSEGMENTATOR):
            values = sorted(table.levels)
            mask = np.array(values, np.uint8).reshape(1, 1, -1)
            assert table.to_ids(mask) == []
            assert mask.ravel().tolist() == [BY_NAME[table.levels[v]].nnunet_id for v in values]

    def test_known_values_by_hand(self):
        assert (NNUNET.levels[26], VERSE.levels[28]) == ("T13", "T13")
        ids = {27: "L5", 31: "L1", 32: "T12", 43: "T1", 44: "C7", 50: "C1"}
        assert {v: TOTALSEGMENTATOR.levels[v] for v in ids} == ids

    def test_what_is_no_vertebra_becomes_background_and_is_named(self):
        mask = np.array([0, 25, 26, 27, 90], np.uint8).reshape(1, 1, -1)
        assert TOTALSEGMENTATOR.to_ids(mask) == ["sacrum", "S1", "structure 90"]
        assert mask.ravel().tolist() == [0, 0, 0, BY_NAME["L5"].nnunet_id, 0]

    def test_unknown_values_say_where_they_are_known(self):
        with pytest.raises(InputError, match=r"label 28 is not in the table nnunet \(T13 in verse, L4 in total"):
            NNUNET.to_ids(np.full((1, 1, 1), 28, np.uint8))

    def test_dataset_json(self, tmp_path):
        path = tmp_path / "dataset.json"
        path.write_text(
            json.dumps({"labels": {"background": 0, "vertebrae_L5": 1, "L4": 2, "sacrum": 3}}), encoding="utf-8"
        )
        table = evaluation.find_table(path)
        assert (table.levels, table.others) == ({1: "L5", 2: "L4"}, {3: "sacrum"})
        path.write_text(
            json.dumps({"labels": {"0": "background", "1": "L5"}}), encoding="utf-8"
        )  # as nnU-Net 1 wrote it
        assert evaluation.find_table(path).levels == {1: "L5"}

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ({"background": 0, "liver": 1}, "no vertebra among the labels background, liver"),
            ({"background": 0, "L1": [1, 2]}, "no label table"),
            ({"background": 0, "L1": 1, "vertebrae_L1": 2}, "labels 1 and 2 are both L1"),
        ],
    )
    def test_dataset_json_without_a_level_for_each_value(self, tmp_path, labels, message):
        (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}), encoding="utf-8")
        with pytest.raises(InputError, match=message):
            evaluation.find_table(tmp_path / "dataset.json")

    def test_ignore_label_is_no_part_of_the_table(self, tmp_path):
        """Models trained with one never predict it; a mask that holds it cannot be scored."""
        path = tmp_path / "dataset.json"
        path.write_text(json.dumps({"labels": {"background": 0, "L1": 1, "ignore": 2}}), encoding="utf-8")
        table = evaluation.find_table(path)
        assert (table.levels, table.others) == ({1: "L1"}, {})
        with pytest.raises(InputError, match="label 2 is not in the table"):
            table.to_ids(np.full((2, 2, 2), 2, np.uint8))

    def test_unknown_name(self):
        with pytest.raises(InputError, match="nnunet, verse, totalsegmentator, regions, spine, vertebra, auto"):
            evaluation.find_table("ctspine")

    @pytest.mark.parametrize(
        ("values", "name"),
        [
            ([{1, 2}, {20, 25}], "nnunet"),  # the same in VerSe
            ([{18, 19, 28, 20}, {5, 6}], "verse"),
            ([{5, 27, 28}, {29, 110}], "totalsegmentator"),
            ([{27, 117}], "totalsegmentator"),
        ],
    )
    def test_values_find_the_one_table_that_fits_the_folder(self, values, name):
        assert evaluation.recognise_table(values).name == name

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ([{19, 20, 26}], "fit the tables nnunet and verse"),  # T13, or a sacrum
            ([{1, 5, 28}], "fit no known table"),  # T13 without neighbours, or L4 alone
            ([{19, 20, 27, 28}], "verse and totalsegmentator"),
            ([{5, 27, 28, 29, 90}], "version 2 from version 1"),
            ([{200}], "fit no known table"),
            ([{1}, {1}], r"may be levels \(nnunet\) or regions or spine or vertebra"),
            ([{2}, {2, 3}], r"may be levels \(nnunet\) or regions"),
        ],
    )
    def test_values_that_are_not_certain_are_refused(self, values, message):
        with pytest.raises(InputError, match=message):
            evaluation.recognise_table(values)

    def test_without_any_value_every_table_is_as_good(self):
        assert evaluation.recognise_table([set(), set()]) == NNUNET

    @pytest.mark.parametrize(
        ("text", "kind", "name"),
        [("L5", "vertebrae", "L5"), ("vertebra t13", "vertebrae", "T13"), ("L4 vertebra", "vertebrae", "L4"),
         ("vertebrae_C1", "vertebrae", "C1"),
         ("lumbar", "regions", "lumbar"), ("Cervical spine", "regions", "cervical"), ("spine", "spine", "spine"),
         ("vertebra", "vertebra", "vertebra")],
    )  # fmt: skip
    def test_names_of_other_programs(self, text, kind, name):
        table = table_of_names({0: "background", 7: text, 8: "disc_L4_L5", 9: "rib_left_1"}, "x")
        assert (table.kind, table.levels, set(table.others)) == (kind, {7: name}, {8, 9})


def oblique(affine, degrees=20.0):
    turn = np.eye(4)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn[:2, :2] = [[c, -s], [s, c]]
    return turn @ affine


class TestGrids:
    def test_same_grid_within_a_tenth_of_a_millimetre(self):
        moved = AFFINE.copy()
        moved[0, 3] += 0.09
        out = evaluation.to_grid(LabelMap(spine(), moved), spine().shape, AFFINE)
        assert out.notes == ()
        np.testing.assert_array_equal(out.labels, spine())

    @pytest.mark.parametrize("codes", ["LPS", "PIR", "SAR"])
    @pytest.mark.parametrize("base", [AFFINE, oblique(AFFINE)], ids=["straight", "oblique"])
    def test_other_axis_order_is_turned_without_loss(self, codes, base):
        turned, affine = geometry.reorient(spine(), base, codes)
        out = evaluation.to_grid(LabelMap(turned, affine), spine().shape, base)
        np.testing.assert_array_equal(out.labels, spine())
        (note,) = out.notes
        assert note == f"prediction reoriented from {codes} to RAS"

    def test_finer_grid_keeps_volume_and_centres(self):
        fine = np.repeat(np.repeat(np.repeat(spine(), 2, 0), 2, 1), 2, 2)
        affine = AFFINE.copy()
        affine[:3, :3] /= 2
        affine[:3, 3] -= 1.25
        out = evaluation.to_grid(LabelMap(fine, affine), spine().shape, AFFINE)
        np.testing.assert_array_equal(out.labels, spine())
        assert out.notes[0].startswith("prediction resampled by nearest neighbour from 16x16x52 voxels of 2.5x2.5x2.5")
        back = evaluation.to_grid(LabelMap(spine(), AFFINE), fine.shape, affine)
        np.testing.assert_array_equal(back.labels, fine)

    def test_oblique_target(self):
        target = oblique(AFFINE, 3.0)
        out = evaluation.to_grid(LabelMap(spine(), AFFINE), spine().shape, target)
        index = np.argwhere(out.labels == BY_NAME["L1"].nnunet_id)
        np.testing.assert_allclose(geometry.to_world(target, index).mean(0), centre_mm("L1"), atol=2.5)
        assert "check its header" in out.notes[0]  # same number of voxels elsewhere

    def test_part_outside_is_stated(self):
        affine = AFFINE.copy()
        affine[2, 3] += 6 * 5  # the target begins one level higher: L2 is lost
        out = evaluation.to_grid(LabelMap(spine(), AFFINE), (8, 8, 30), affine)
        assert "25 % of its labelled volume lies outside" in out.notes[0]
        assert set(np.unique(out.labels)) == {0, *(BY_NAME[n].nnunet_id for n in ("T11", "T12", "L1"))}

    def test_other_world_frame(self):
        away = AFFINE.copy()
        away[:3, 3] += 1000
        for labels in (spine(), np.zeros_like(spine())):
            with pytest.raises(InputError, match="different world frame"):
                evaluation.to_grid(LabelMap(labels, away), spine().shape, AFFINE)

    def test_volumes_touch_but_no_label_is_inside(self):
        aside = AFFINE.copy()
        aside[0, 3] += 6 * 5  # overlap of two voxels without a label
        with pytest.raises(InputError, match="no label lies inside"):
            evaluation.to_grid(LabelMap(spine(), aside), spine().shape, AFFINE)

    def test_isotropic_grid_has_the_same_centre(self):
        affine = np.diag([0.5, 2.0, 3.0, 1.0])
        shape, iso = isotropic_grid((21, 11, 5), affine, 1.0)
        assert shape == (10, 22, 15)  # rint(10.5) = 10: from face to face, as VerSe's script
        np.testing.assert_allclose(geometry.spacing_mm(iso), 1.0)
        np.testing.assert_allclose(geometry.to_world(iso, [4.5, 10.5, 7]), geometry.to_world(affine, [10, 5, 2]))


def verse_points(frame: str) -> list[dict]:
    """Centroids of `spine()` as VerSe's files write them, by hand: RAS, 8 x 8 x 26 voxels of 5 mm."""
    out = []
    for name in LEVELS_SEEN:
        x, y, z = np.linalg.solve(AFFINE[:3, :3], centre_mm(name) - AFFINE[:3, 3])
        right, anterior, superior = 5 * x, 5 * (7 - y), 5 * (25 - z)  # mm from the left, anterior, superior face
        values = {
            "voxel": (x, y, z),
            "verse19": (superior, anterior, 5 * (7 - x)),  # mm from the right face
            "verse20": (anterior, superior, right),
        }[frame]
        out.append({"label": BY_NAME[name].verse_id, **dict(zip("XYZ", map(float, values), strict=True))})
    return out


MASK = LabelMap(spine(), AFFINE)


def own_points(labels=None, affine=AFFINE):
    """A centroid file with a direction element, made on a mask: body centres as voxels."""
    labels = spine() if labels is None else labels
    out = [{"direction": list(geometry.axis_codes(affine))}]
    for name in LEVELS_SEEN:
        index = np.argwhere(labels == BY_NAME[name].nnunet_id).mean(0)
        out.append({"label": BY_NAME[name].verse_id, **dict(zip("XYZ", index.tolist(), strict=True))})
    return out


class TestPoints:
    @pytest.mark.parametrize(("frame", "kind"), [("voxel", "body"), ("verse19", "body"), ("verse20", "mask")])
    @pytest.mark.parametrize("beside", [evaluation.points_beside_mask, evaluation.points_beside_prediction])
    def test_every_frame_of_verse(self, tmp_path, frame, kind, beside):
        header = [{"direction": ["R", "A", "S"]}] if frame == "voxel" else []
        path = tmp_path / "a_ctd.json"
        path.write_text(json.dumps(header + verse_points(frame)), encoding="utf-8")
        points = beside(path, MASK)
        assert points.frame == frame
        found = points.by_kind[kind]
        assert found.keys() == {BY_NAME[n].nnunet_id for n in LEVELS_SEEN}
        for name in LEVELS_SEEN:
            np.testing.assert_allclose(found[BY_NAME[name].nnunet_id], centre_mm(name))

    def test_points_that_fit_nowhere(self, tmp_path):
        path = tmp_path / "a_ctd.json"
        path.write_text(json.dumps([{"label": 20, "X": 400, "Y": 400, "Z": 400}]), encoding="utf-8")
        with pytest.raises(InputError, match="no known frame"):
            evaluation.points_beside_mask(path, MASK)

    def test_our_own_files_hold_both_kinds_in_world_coordinates(self, tmp_path):
        entry = {"name": "T13", "label": 26, "body_centre_mm": [1, 2, 3], "mask_centroid_mm": [1, -8, 3]}
        path = tmp_path / "a.json"
        path.write_text(json.dumps({"case": "a", "frame": "RAS mm", "vertebrae": [entry]}), encoding="utf-8")
        points = evaluation.points_beside_mask(path, MASK)
        assert points.by_kind["body"][26].tolist() == [1, 2, 3]
        assert points.by_kind["mask"][26].tolist() == [1, -8, 3]

    def check(self, points):
        for name in LEVELS_SEEN:
            np.testing.assert_allclose(points.by_kind["body"][BY_NAME[name].nnunet_id], centre_mm(name), atol=1e-6)

    def test_voxels_belong_to_the_ct_whatever_the_grid_of_the_prediction(self, tmp_path):
        path = tmp_path / "a_ctd.json"
        path.write_text(json.dumps(own_points()), encoding="utf-8")
        fine, affine = np.kron(spine(), np.ones((2, 2, 2), np.uint8)), AFFINE.copy()
        affine[:3, :3] /= 2
        affine[:3, 3] -= 1.25
        cropped = LabelMap(spine()[1:, 2:, 5:], AFFINE.copy())
        cropped.affine[:3, 3] += 5 * np.array([1, 2, 5])
        turned, turned_affine = geometry.reorient(spine(), AFFINE, "LPS")
        ct = Grid(spine().shape, AFFINE, "the CT")
        for prediction in (LabelMap(fine, affine), cropped, LabelMap(turned, turned_affine)):
            self.check(evaluation.points_beside_prediction(path, prediction, ct))
        for prediction in (LabelMap(fine, affine), cropped):  # where without the CT the numbers are other places
            with pytest.raises(InputError, match=r"which is not given.*Give the CT with -i"):
                evaluation.points_beside_prediction(path, prediction)
        # turned only, the direction element tells; every point lies in its label, and that is said
        found = evaluation.points_beside_prediction(path, LabelMap(turned, turned_affine))
        self.check(found)
        assert "read on the prediction's grid" in found.notes[0]
        wrong = LabelMap(np.roll(spine(), 6, 2), AFFINE)  # a level too high, on the right grid
        with pytest.raises(InputError, match="--points-grid prediction"):
            evaluation.points_beside_prediction(path, wrong)
        self.check(evaluation.points_beside_prediction(path, wrong, trusted=True))

    def test_voxels_outside_the_ct(self, tmp_path):
        path = tmp_path / "a_ctd.json"
        path.write_text(json.dumps(own_points()), encoding="utf-8")
        with pytest.raises(InputError, match="1 of its 4 points lie outside the CT"):
            evaluation.points_beside_prediction(path, MASK, Grid((8, 8, 20), AFFINE, "the CT"))

    def test_points_are_held_against_the_mask(self, tmp_path):
        path = tmp_path / "a_ctd.json"
        fine, affine = np.kron(spine(), np.ones((2, 2, 2), np.uint8)), AFFINE.copy()
        affine[:3, :3] /= 2
        affine[:3, 3] -= 1.25
        path.write_text(json.dumps(own_points()), encoding="utf-8")
        with pytest.raises(InputError, match="% of its points lie in their labels"):
            evaluation.points_beside_mask(path, LabelMap(fine, affine))
        self.check(evaluation.points_beside_mask(path, LabelMap(fine, affine), Grid(spine().shape, AFFINE, "the CT")))


class TestPoiFiles:
    """TPTBox's forms, all of the same points."""

    def body(self):
        return {n: np.argwhere(spine() == BY_NAME[n].nnunet_id).mean(0) for n in LEVELS_SEEN}

    def forms(self):
        points, header = self.body(), {"direction": ["R", "A", "S"], "zoom": [5, 5, 5], "shape": [8, 8, 26]}
        lps = np.diag([-1, -1, 1])
        world = {n: AFFINE[:3, :3] @ x + AFFINE[:3, 3] for n, x in points.items()}
        numbers = {str(BY_NAME[n].verse_id): {"50": x.tolist(), "41": [0, 0, 0]} for n, x in points.items()}
        named = {n: {"Vertebra_Corpus": x.tolist(), "Arcus_Vertebrae": [0, 0, 0]} for n, x in points.items()}
        coded = [
            {"label": 256 * part + BY_NAME[n].verse_id, **dict(zip("XYZ", (x + shift).tolist(), strict=True))}
            for part, shift in ((41, 3), (50, 0)) for n, x in points.items()
        ]  # fmt: skip
        own = {"origin": AFFINE[:3, 3].tolist(), "rotation": np.eye(3).tolist()}
        return {
            "numbers": [header, numbers],
            "names": [{**header, "format": "POI"}, named],
            "coded labels": [header, *coded],
            "text labels": [header] + [{"label": n.replace("T", "TH"), "X": x[0], "Y": x[1], "Z": x[2]}
                                       for n, x in points.items()],
            "with its own geometry": [{**header, **own}, numbers],
            "world": [{"format": "POI_GLOBAL", "coordinate_system": "nib"},
                      {n: {"50": x.tolist()} for n, x in world.items()}],
            "world of ITK": [{"format": "POI_GLOBAL", "coordinate_system": "itk"},
                             {n: {"50": (lps @ x).tolist()} for n, x in world.items()}],
        }  # fmt: skip

    def test_every_form(self, tmp_path):
        path = tmp_path / "a.json"
        for form, content in self.forms().items():
            path.write_text(json.dumps(content), encoding="utf-8")
            points = evaluation.points_beside_mask(path, MASK).by_kind["body"]
            assert len(points) == 4, form
            for name in LEVELS_SEEN:
                np.testing.assert_allclose(points[BY_NAME[name].nnunet_id], centre_mm(name), err_msg=form)

    def test_a_grid_that_the_file_states_must_be_the_image_s(self, tmp_path):
        path = tmp_path / "a.json"
        content = self.forms()["numbers"]
        content[0]["zoom"] = [1, 1, 1]
        path.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(InputError, match="8x8x26 voxels of 1x1x1 mm, not of 8x8x26 voxels of 5x5x5 mm"):
            evaluation.points_beside_mask(path, MASK)
        path.write_text(json.dumps(self.forms()["with its own geometry"]), encoding="utf-8")
        other = LabelMap(np.kron(spine(), np.ones((2, 2, 2), np.uint8)), AFFINE @ np.diag([0.5, 0.5, 0.5, 1]))
        assert evaluation.points_beside_prediction(path, other).frame == "world"  # needs no grid at all

    @pytest.mark.parametrize(
        ("content", "message"),
        [([{"vert_label": "20", "50": "(1, 2, 3)"}], "outdated form"),
         ([{"direction": ["R", "A", "S"]}, {"20": {"41": [1, 2, 3]}}], "without points of vertebral bodies")],
    )  # fmt: skip
    def test_what_cannot_be_used_is_named(self, tmp_path, content, message):
        path = tmp_path / "a.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(InputError, match=message):
            evaluation.points_beside_mask(path, MASK)
