"""CSI2014: what nobody wrote down about it is found out for each scan, and ends in the same vertebrae and places."""

import json

import numpy as np
import pytest
from csi2014_tree import LEVELS, SHAPE, example, vertebra_slabs, write_case
from verse_tree import load_case, run_convert

from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.dataset_conversion.csi2014 import find_scans
from nnunet_spine.dataset_conversion.intensities import find_offset
from nnunet_spine.dataset_conversion.manifest import read_manifest
from nnunet_spine.errors import InputError


def convert(tmp_path, *options):
    run_convert("csi2014", tmp_path / "src", "-d", "7", "-o", tmp_path / "raw", "--split", "training", *options)
    return tmp_path / "raw" / "Dataset007_CSI2014"


def rows_of(dataset):
    return {row["case"]: row for row in read_manifest(dataset / "manifest.csv")}


def assert_true_places(dataset, case, points_lps, split="Tr"):
    """Centroids by the written mask and by the centroid file, both against the truth."""
    _, label, centroids = load_case(dataset, case, split)
    array = np.asarray(label.dataobj)
    found = {v["name"]: v["mask_centroid_mm"] for v in centroids["vertebrae"]}
    assert set(found) == set(points_lps)
    for name, (x, y, z) in points_lps.items():
        index = np.argwhere(array == BY_NAME[name].nnunet_id).mean(0)
        world = label.affine @ [*index, 1]
        np.testing.assert_allclose(world[:3], (-x, -y, z), atol=0.01)
        np.testing.assert_allclose(found[name], (-x, -y, z), atol=0.01)


CODINGS = {
    "head to foot": {},
    "foot to head": {"ascending": True},
    "plain numbers": {"hundreds": False},
    "plain, foot to head": {"hundreds": False, "ascending": True},
    "parts of vertebrae": {"parts": True},
    "slices from the head": {"stored_down": True},
    "slices from the head, foot to head": {"stored_down": True, "ascending": True, "parts": True},
    "label header elsewhere": {"label_offset": (0.0, 0.0, 0.0)},
    "12 bit": {"add": 1024},
}


def test_every_coding_ends_in_the_same_places(tmp_path):
    made = {
        f"case{k}": write_case(tmp_path / "src", f"case{k}", **coding) for k, coding in enumerate(CODINGS.values(), 1)
    }
    dataset = convert(tmp_path)
    rows = rows_of(dataset)
    assert len(rows) == len(CODINGS)
    for case, truth in made.items():
        assert rows[case]["labels_after"].split() == LEVELS
        assert_true_places(dataset, case, truth.points)
    assert "in hundreds" in rows["case1"]["flags"]
    assert "value 1 is the highest" in rows["case1"]["flags"]
    assert "value 17 is the highest" in rows["case2"]["flags"]
    assert "voxel for voxel" in rows["case8"]["flags"]


def test_grey_values_become_hounsfield_units_with_the_evidence(tmp_path):
    _, hu = vertebra_slabs()
    for case, add in (("case1", 0), ("case2", 1024), ("case3", 1000)):
        write_case(tmp_path / "src", case, add=add)
    dataset = convert(tmp_path)
    for case in ("case1", "case2"):
        np.testing.assert_array_equal(np.asarray(load_case(dataset, case)[0].dataobj), hu)
    # 1000 leaves air of -1012 to -1000 at the end of the scale, which clips it there.
    np.testing.assert_array_equal(np.asarray(load_case(dataset, "case3")[0].dataobj), np.maximum(hu, -1000))
    rows = rows_of(dataset)
    assert "HU = value" not in rows["case1"]["flags"]
    assert "HU = value - 1024: lowest value 12, air at" in rows["case2"]["flags"]
    assert "HU = value - 1000: lowest value 0, air at" in rows["case3"]["flags"]


def test_offset_is_said_where_nothing_shows_it(tmp_path):
    """Air and padding out of view: soft tissue alone tells that there is an offset."""
    tissue = np.random.default_rng(0).normal(1064, 15, (20, 20, 20)).astype(np.int16)
    tissue[5:8] = 1500
    assert find_offset(tissue).value == 0  # nothing of it is 500 above the lowest value: unknown, and said by "hu"
    tissue[0, 0] = 30
    assert find_offset(tissue).value == 1024
    write_case(tmp_path / "src", "case1", add=1024)
    dataset = convert(tmp_path, "--hu-offset", "1000")
    assert "1000 subtracted as the user said" in rows_of(dataset)["case1"]["flags"]
    with pytest.raises(InputError, match="--hu-offset many"):
        find_scans([tmp_path / "src"], hu_offset="many")


def test_upside_down_scans_stop_and_are_turned_on_request(tmp_path):
    """Slices from head to foot under a header that does not know: the vertebrae seem to shrink downwards."""
    made = write_case(tmp_path / "src", "case1", stored_down=True, header_knows=False)
    with pytest.raises(InputError, match=r"1 of 1 cases cannot be used .*vertebrae shrink from head to foot"):
        convert(tmp_path)
    dataset = convert(tmp_path, "--flip-slices", "case1")
    assert rows_of(dataset)["case1"]["labels_after"].split() == LEVELS
    assert_true_places(dataset, "case1", made.points)
    with pytest.raises(InputError, match="--flip-slices case7: no such case"):
        find_scans([tmp_path / "src"], flip_slices=["case7"])


def test_another_number_of_vertebrae_needs_a_word(tmp_path):
    made = write_case(tmp_path / "src", "case1", n=16)
    with pytest.raises(InputError, match=r"16 vertebrae in the mask; expected 17 \(T1 to L5\)"):
        convert(tmp_path)
    dataset = convert(tmp_path, "--first-level", "case1=T1")
    assert_true_places(dataset, "case1", made.points)
    with pytest.raises(InputError, match="--first-level T14"):
        find_scans([tmp_path / "src"], first_level=["T14"])


def test_levels_from_a_table(tmp_path):
    write_case(tmp_path / "src", "case1", n=3, parts=True)
    table = tmp_path / "levels.csv"
    table.write_text("case;value;level\r\ncase1;100;l3\r\ncase1;200;L4\r\ncase1;300;L5\r\n", encoding="utf-16")
    dataset = convert(tmp_path, "--levels", table)
    row = rows_of(dataset)["case1"]
    assert row["labels_after"] == "L3 L4 L5"
    assert "by the user's table" in row["flags"]
    table.write_text("case,value,level\ncase1,100,L3\ncase1,200,L4\n", encoding="utf-8")
    with pytest.raises(InputError, match="the table of levels has no value 301"):
        run_convert("csi2014", tmp_path / "src", "-d", "8", "-o", tmp_path / "raw", "--split", "training",
                    "--levels", table)  # fmt: skip


def test_a_speck_of_another_value_is_noise(tmp_path):
    write_case(tmp_path / "src", "case1")
    path = tmp_path / "src" / "case1_label.raw"
    values = np.fromfile(path, "<i2").reshape(SHAPE, order="F")
    values[0, 0, 0] = 1800
    path.write_bytes(values.tobytes(order="F"))
    assert "value 1800 removed as noise (1 voxels)" in rows_of(convert(tmp_path))["case1"]["flags"]


def test_tables_that_move_are_a_new_dataset(tmp_path):
    write_case(tmp_path / "src", "case1", n=16)
    convert(tmp_path, "--first-level", "T1")
    with pytest.raises(InputError, match=r"exists and differs in: .*made_of"):
        convert(tmp_path, "--first-level", "T2")


def test_what_lies_beyond_the_labels_is_ignored_on_request(tmp_path):
    made = write_case(tmp_path / "src", "case1", gap=10)
    dataset = convert(tmp_path, "--unlabelled", "ignore")
    labels = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))["labels"]
    assert labels["ignore"] == 27
    array = np.asarray(load_case(dataset, "case1")[1].dataobj)
    number, _ = vertebra_slabs(gap=10)
    assert np.array_equal((array > 0) & (array < 27), number > 0)
    # The top of T1 is slice 71; 2 mm (one slice) around it stay background, the rest above is ignored.
    assert (array[..., 74:] == 27).all()
    assert (array[10, 6, 72] == 0) & (array[10, 6, 73] == 27)
    assert (array[1, 1, 71], array[1, 1, 60]) == (27, 0)  # beside T1 too, below its middle not
    assert not (array[..., :60] == 27).any()  # below L5 there is the sacrum, background everywhere
    assert rows_of(dataset)["case1"]["labels_after"].split() == [*LEVELS, "ignore"]
    assert "ignored beyond T1" in rows_of(dataset)["case1"]["flags"]
    assert_true_places(dataset, "case1", made.points)


@pytest.mark.parametrize("how", ["keep", "drop", "ignore"])
def test_vertebrae_at_the_border_of_the_field_of_view(tmp_path, how):
    """T1 reaches the uppermost slice: cut, unlike vertebrae whose processes reach a side."""
    write_case(tmp_path / "src", "case1", gap=-2)
    dataset = convert(tmp_path, "--border", how)
    row, array = rows_of(dataset)["case1"], np.asarray(load_case(dataset, "case1")[1].dataobj)
    assert row["border"] == "T1"
    assert (BY_NAME["T1"].nnunet_id in array) == (how == "keep")
    assert (27 in array) == (how == "ignore")
    names = [v["name"] for v in load_case(dataset, "case1")[2]["vertebrae"]]
    assert names == (LEVELS if how == "keep" else LEVELS[1:])
    done = {"keep": "kept", "drop": "made background", "ignore": "ignored"}[how]
    assert f"cut by the field of view: T1, {done}" in row["flags"]


class TestGroupsAndPresets:
    @pytest.fixture
    def twenty_five(self, tmp_path):
        """Ten public scans, five healthy and five osteoporotic ones for the test; as empty files, names count."""
        (tmp_path / "src").mkdir()
        groups = {f"case{n}": "osteoporotic" if n > 25 else "healthy" for n in [*range(1, 11), *range(21, 31)]}
        for case in groups:
            for name in (f"{case}.mhd", f"{case}_label.mhd"):
                (tmp_path / "src" / name).write_bytes(b"")
        path = tmp_path / "groups.csv"
        path.write_text("case,group\n" + "".join(f"{c},{g}\n" for c, g in groups.items()), encoding="utf-8")
        return tmp_path / "src", path

    def test_splits_of_sekuboyina(self, twenty_five):
        source, groups = twenty_five
        found = find_scans([source], groups=groups, preset="sekuboyina")
        counts = {}
        for scan in found.scans:
            counts[scan.split, scan.cohort] = counts.get((scan.split, scan.cohort), 0) + 1
        assert counts == {
            ("training", "csi2014 healthy"): 9, ("validation", "csi2014 healthy"): 1,
            ("test", "csi2014 healthy"): 5, ("test", "csi2014 osteoporotic"): 5,
        }  # fmt: skip
        assert find_scans([source], groups=groups, preset="sekuboyina") == found

    def test_splits_of_masuzawa(self, twenty_five):
        source, groups = twenty_five
        scans = find_scans([source], groups=groups, preset="masuzawa").scans
        assert {scan.split for scan in scans} == {"test"}
        assert (len(scans), {scan.cohort for scan in scans}) == (15, {"csi2014 healthy"})

    def test_what_does_not_fit_is_said(self, twenty_five):
        source, groups = twenty_five
        with pytest.raises(InputError, match="--preset without --groups"):
            find_scans([source], preset="masuzawa")
        (source / "case30.mhd").unlink()
        (source / "case30_label.mhd").unlink()
        with pytest.raises(InputError, match="case30: no such case"):
            find_scans([source], groups=groups)
        groups.write_text(groups.read_text(encoding="utf-8").replace("case30,osteoporotic\n", ""), encoding="utf-8")
        with pytest.raises(InputError, match=r"4 osteoporotic test scans; the preset needs .*5 osteoporotic"):
            find_scans([source], groups=groups, preset="sekuboyina")


def test_pairs_in_any_format_and_what_is_left_over(tmp_path):
    example(tmp_path)
    import SimpleITK

    for ending in ("mha", "nrrd", "nii.gz"):
        for name in ("case1", "case1_label"):
            image = SimpleITK.ReadImage(str(tmp_path / "training" / f"{name}.mhd"))
            (tmp_path / "more").mkdir(exist_ok=True)
            number = {"mha": 31, "nrrd": 32, "nii.gz": 33}[ending]
            SimpleITK.WriteImage(image, str(tmp_path / "more" / f"{name.replace('1', str(number))}.{ending}"))
    (tmp_path / "more" / "case40_label.mha").write_bytes(b"")
    (tmp_path / "more" / "case41.mha").write_bytes(b"")
    found = find_scans([tmp_path])
    assert [scan.case for scan in found.scans] == ["case1", "case10", "case2", "case21", "case31", "case32", "case33"]
    assert [(problem.case, problem.found) for problem in found.problems] == [("case40", "mask without an image")]
    assert [path.name for path in found.left_out] == ["case40_label.mha", "case41.mha"]


def test_scores_of_healthy_and_osteoporotic_scans_in_the_tables_of_the_publications(tmp_path, capsys):
    """Sekuboyina's Table 2 and Masuzawa's Table 1: one perfect scan, one without its lower half."""
    import nibabel as nib

    from nnunet_spine.cli import main

    for case in ("case1", "case2", "case21", "case26"):
        write_case(tmp_path / "src" / ("test" if len(case) > 5 else "training"), case, gap=3)
    groups = tmp_path / "groups.csv"
    groups.write_text(
        "case,group\ncase1,healthy\ncase2,healthy\ncase21,healthy\ncase26,osteoporotic\n", encoding="utf-8"
    )
    run_convert("csi2014", tmp_path / "src", "-d", "7", "-o", tmp_path / "raw", "--groups", groups,
                "--unlabelled", "ignore", "--border", "ignore")  # fmt: skip
    dataset = tmp_path / "raw" / "Dataset007_CSI2014"
    assert {row["cohort"] for row in rows_of(dataset).values()} == {"csi2014 healthy", "csi2014 osteoporotic"}
    assert 27 in np.asarray(load_case(dataset, "case1")[1].dataobj)
    (tmp_path / "pred").mkdir()
    for case in ("case21", "case26"):
        image = nib.load(dataset / "labelsTs" / f"{case}.nii.gz")
        array = np.asarray(image.dataobj).copy()
        assert 27 not in array  # a reference stays as it was published
        if case == "case26":
            array[array > BY_NAME["T8"].nnunet_id] = 0
        nib.save(nib.Nifti1Image(array, image.affine), tmp_path / "pred" / f"{case}.nii.gz")
    two_groups = tmp_path / "test_groups.csv"
    two_groups.write_text("case,group\ncase21,healthy\ncase26,osteoporotic\n", encoding="utf-8")
    argv = ["evaluate", "-p", tmp_path / "pred", "-g", dataset / "labelsTs", "-o", tmp_path / "ev", "-np", "1"]
    assert main([*map(str, argv), "--groups", str(two_groups), "--quiet"]) == 0
    tables = "\n".join(p.read_text(encoding="utf-8") for p in sorted((tmp_path / "ev").rglob("*.md")))
    table2 = tables[tables.index("Layout of Sekuboyina et al., Table 2") :]
    rows = [line for line in table2.splitlines() if line.startswith("|")]
    assert "healthy" in rows[0]
    assert "osteoporotic" in rows[0]
    assert "100.0" in rows[2]
    number, _ = vertebra_slabs(gap=3)
    upper = int(((number > 0) & (number <= 8)).sum())
    dice = 200 * upper / (upper + int((number > 0).sum()))
    assert f"{dice:.1f}" in rows[2]
    assert "Layout of Masuzawa et al., segmentation" in tables
